"""What all commands share: where they print, what several of them take, how they end."""

import os

from limbeck._interrupt import interrupt_ends

STOPPED = 130
"""The exit code after Ctrl-C."""
STOPPED_LINE = (
    "stopped. Nothing is half written: the same command goes on from what it kept, if anything."
)


def end() -> None:
    """Stop at once: while libraries are imported nothing is half written."""
    os.write(2, f"\n{STOPPED_LINE}\n".encode())
    os._exit(STOPPED)


with interrupt_ends(end):
    from collections.abc import Sequence
    from pathlib import Path
    from typing import TYPE_CHECKING, Annotated, Any

    import typer
    from rich.console import Console

if TYPE_CHECKING:
    from limbeck.recipe import Recipe

out = Console(highlight=False)
err = Console(stderr=True, highlight=False)

RecipeArgument = Annotated[str, typer.Argument(help="A shipped recipe's name, or a TOML file.")]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="SECTION.KEY=VALUE", help="Change one value of the recipe."),
]
OutOption = Annotated[
    Path | None,
    typer.Option("--out", metavar="DIR", help="The run's folder; runs/RECIPE if left out."),
]


def read_recipe(named: str, set_: Sequence[str] | None) -> "Recipe":
    """The recipe. A fault in it is told before torch is imported, which takes seconds."""
    with interrupt_ends(end):
        from limbeck.recipe_file import load_recipe

    return load_recipe(named, set_ or [])


def options_of(flag: str, given: Sequence[str]) -> dict[str, Any]:
    """Each KEY=VALUE of a flag; a value is TOML, or else a string.

    Raises:
        OptionError: There is no =, or a number or truth value is typed as TOML does not write it.
    """
    from limbeck._errors import OptionError
    from limbeck.recipe_file import as_toml, read_value

    options = {}
    for each in given:
        key, equals, value = each.partition("=")
        if not equals:
            raise OptionError(f"{flag} takes KEY=VALUE, got {each!r}.")
        if way_out := as_toml(value):
            raise OptionError(f"{flag} takes KEY=VALUE as TOML has it, got {each!r}.{way_out}")
        options[key.strip()] = read_value(value)
    return options


def is_first_process() -> bool:
    """Whether this is the process that prints, under torchrun."""
    return os.environ.get("RANK", "0") == "0"
