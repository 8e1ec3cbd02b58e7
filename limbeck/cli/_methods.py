"""The command about methods: the list of them and of what stands beside one, and a card."""

from collections.abc import Mapping
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from limbeck._interrupt import interrupt_ends
from limbeck.cli._common import end, out


def methods(
    name: Annotated[
        str | None, typer.Argument(help="Show the card of this one, or of what stands beside one.")
    ] = None,
) -> None:
    """List the distillation methods, or show the card of one: when to use it, its options."""
    with interrupt_ends(end):
        from limbeck.methods import find_beside, find_method, name_here

    if name is None:
        _list()
        return
    if (other := find_beside(name)) is not None:
        _show(name, other.line, other.facts)
        return
    name = name_here(name) or name
    method = find_method(name)
    _show(name, method.card.line, method.facts)
    if method.options.model_fields:
        table = _table("option", "default", "what it is")
        for option, default, text in method.option_rows:
            table.add_row(option, escape(default), escape(text))
        out.print("")
        out.print(table)


def _list() -> None:
    from limbeck.methods import BESIDE, every_method

    table = _table("method", "what it is", "needs", "cost")
    for known, each in every_method().items():
        needs = ", ".join(each.needs)
        table.add_row(known, escape(each.card.line), needs, each.card.cost_factor)
    out.print(table)
    out.print(
        "\ncost: the time of its loss alone, by that of cross-entropy or, of features, of squared "
        "error, to about a factor of two; a card says more."
    )
    out.print("\nBeside a method, in \\[distil] and elsewhere; `limbeck methods KEY` says more:\n")
    table = _table("key in a recipe", "what it is", "paper")
    for other in BESIDE.values():
        paper = f"{other.paper.authors} ({other.paper.year})"
        table.add_row(", ".join(other.keys), escape(other.line), paper)
    out.print(table)


def _show(name: str, line: str, facts: Mapping[str, str]) -> None:
    out.print(f"[bold]{escape(name)}[/bold]: {escape(line)}")
    table = Table(show_header=False, box=None, pad_edge=False)
    for what, value in facts.items():
        table.add_row(what, escape(value))
    out.print(table)


def _table(*columns: str) -> Table:
    return Table(*columns, box=None, pad_edge=False)
