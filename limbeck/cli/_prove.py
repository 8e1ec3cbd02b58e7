"""`limbeck prove`: what holds of a user's own loss, what breaks, and where."""

from typing import TYPE_CHECKING, Annotated, Any, cast

import typer
from rich.markup import escape

from limbeck._interrupt import interrupt_ends
from limbeck.cli._common import end, options_of, out

if TYPE_CHECKING:
    from limbeck.signals import Space


def prove(
    loss: Annotated[
        str,
        typer.Argument(
            metavar="MODULE:LOSS",
            help="A function of (student_logits, teacher_logits), a module, or what makes one.",
        ),
    ],
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="An option of the loss: temperature=4."),
    ] = None,
    teacher_first: Annotated[
        bool | None,
        typer.Option(
            "--teacher-first/--student-first", help="The order, if no name of an argument says it."
        ),
    ] = None,
    space: Annotated[
        str, typer.Option(help="How rows compare: categorical, binary or real.")
    ] = "categorical",
    expect: Annotated[
        str | None, typer.Option(help="forward or reverse: the KL divergence that it shall be.")
    ] = None,
) -> None:
    """Measure what must hold of your own distillation loss, and show where it breaks.

    Ends with 0 if all holds that should, with 1 if something breaks.
    """
    with interrupt_ends(end):
        from limbeck.proofs import prove as prove_loss

    proof = prove_loss(
        loss,
        options=options_of("--set", set_ or []),
        space=cast("Space", space),  # a wrong one is refused in words
        teacher_first=teacher_first,
        expect=expect,
    )
    _print(proof)
    raise typer.Exit(0 if proof.holds else 1)


def _print(proof: Any) -> None:
    out.print(f"[bold]{escape(proof.call)}[/bold]: {escape(proof.returns)}.", soft_wrap=True)
    out.print(escape(proof.kind), soft_wrap=True)
    for fact in proof.properties:
        if fact.holds:
            line = f"[green]holds[/green]   {escape(fact.name)}"
        elif fact.breaks:
            line = f"[red]BREAKS[/red]  {escape(fact.name)}"
        else:
            line = f"[cyan]note[/cyan]    {escape(f'{fact.name}: {fact.otherwise}')}"
        out.print(line, soft_wrap=True)
    for note in proof.notes:
        out.print(f"[cyan]note[/cyan]    {escape(note)}", soft_wrap=True)
    if proof.breaks:
        out.print("\nWhat breaks, each in the smallest case, below these lines:")
        out.print(f"\n{proof.definition}", markup=False, soft_wrap=True)
    for fact in proof.breaks:
        out.print(f"\n[red]{escape(fact.name)}[/red]: {escape(fact.otherwise)}", soft_wrap=True)
        if fact.counterexample:
            out.print(f"\n{fact.counterexample}", markup=False, soft_wrap=True)
    colour = "red" if proof.breaks else "green"
    out.print(f"\n[{colour}]{proof.verdict}[/{colour}]")
