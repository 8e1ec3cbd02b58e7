"""The command about methods: the list of them, and one's card."""

from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from limbeck._interrupt import interrupt_ends
from limbeck.cli._common import end, out


def methods(
    name: Annotated[str | None, typer.Argument(help="Show the card of this one.")] = None,
) -> None:
    """List the distillation methods, or show the card of one: when to use it, its options."""
    with interrupt_ends(end):
        from limbeck.methods import every_method, find_method

    if name is None:
        table = Table("method", "what it is", "needs", box=None, pad_edge=False)
        for known, each in every_method().items():
            table.add_row(known, escape(each.card.line), ", ".join(each.needs))
        out.print(table)
        return
    method = find_method(name)
    out.print(f"[bold]{escape(name)}[/bold]: {escape(method.card.line)}")
    table = Table(show_header=False, box=None, pad_edge=False)
    for what, value in method.facts.items():
        table.add_row(what, escape(value))
    out.print(table)
    if method.options.model_fields:
        table = Table("option", "default", "what it is", box=None, pad_edge=False)
        for option, default, text in method.option_rows:
            table.add_row(option, escape(default), escape(text))
        out.print("")
        out.print(table)
