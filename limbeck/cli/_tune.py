"""`limbeck tune`: the basics of a recipe, found on validation data."""

import statistics
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from limbeck._interrupt import interrupt_ends
from limbeck.cli._bars import Bars
from limbeck.cli._common import OutOption, RecipeArgument, SetOption, end, out, read_recipe


def tune(
    recipe: RecipeArgument,
    trials: Annotated[
        int | None, typer.Option("--trials", metavar="N", help="How many settings to try in all.")
    ] = None,
    minutes: Annotated[
        float | None, typer.Option("--minutes", metavar="M", help="For how long, about.")
    ] = None,
    set_: SetOption = None,
    out_: OutOption = None,
) -> None:
    """Search method, temperature, weights, learning rate and length, on validation data alone.

    Every trial learns from the same stored rows. Stopped anywhere, the same command goes on; with
    more trials, it tries more. It ends with a recipe that can be run.
    """
    loaded = read_recipe(recipe, set_)
    with interrupt_ends(end):
        from limbeck.pipeline import tune as search

    folder = out_ or Path("runs") / loaded.name
    with Bars() as bars:
        found = search(loaded, folder, trials=trials, minutes=minutes, progress=bars)
    _print(found)
    out.print(f"trials: {found.page}", soft_wrap=True)
    out.print(f"recipe: {found.path}", soft_wrap=True)
    out.print(f"next:   limbeck run {found.path} --out {folder}", soft_wrap=True)


def _print(found: Any) -> None:
    seeds = len(found.finalists[0].scores)
    columns = ("", "method", "T", "labels", "rate", "epochs", f"validation (n = {seeds})")
    table = Table(*columns, box=None, pad_edge=False)
    for one in (*found.finalists, *found.controls):
        candidate, control = one.candidate, one.what.startswith("control")
        spread = f" ± {statistics.stdev(one.scores):.4f}" if len(one.scores) > 1 else ""
        table.add_row(
            one.what,
            "" if control else escape(candidate.method),
            "" if control else f"{candidate.temperature:.3g}",
            "" if control else f"{candidate.hard_weight:.2f}",
            f"{candidate.learning_rate:.2g}",
            str(candidate.epochs),
            f"{one.mean:.4f}{spread}",
        )
    out.print(table)
    if not found.helps:
        out.print("Nothing that was tried is better than the student from labels alone.")
