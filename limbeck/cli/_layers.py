"""`limbeck layers`: what is inside the two models, and which modules could be compared."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.markup import escape
from rich.table import Table

from limbeck._interrupt import interrupt_ends
from limbeck.cli._bars import Bars
from limbeck.cli._common import (
    OutOption,
    RecipeArgument,
    SetOption,
    end,
    is_first_process,
    out,
    read_recipe,
)


def layers(recipe: RecipeArgument, set_: SetOption = None, out_: OutOption = None) -> None:
    """List the modules of teacher and students with their shapes, and propose taps.

    The teacher is trained, or loaded, as by `run`, which goes on from there.
    """
    loaded = read_recipe(recipe, set_)
    with interrupt_ends(end):
        from limbeck.pipeline import find_layers

    with Bars() as bars:
        found = find_layers(loaded, out_ or Path("runs") / loaded.name, progress=bars)
    if not is_first_process():
        return
    _print_list("teacher", found.teacher)
    for name, own in found.students.items():
        as_what = "as a control here was trained" if found.trained[name] else "not trained yet"
        _print_list(f"student {name}, {as_what}", own)
        _print_proposals(name, found.proposals[name])
    out.print(
        "Left out: the models' own answers, modules that give what the one around or after them "
        "gives, and what functions compute, which cannot be tapped.",
        soft_wrap=True,
    )


def _print_list(title: str, found: Sequence[Any]) -> None:
    out.print(f"[bold]{escape(title)}[/bold]")
    table = Table("module", "kind", "one sample", "parameters", box=None, pad_edge=False)
    for layer in found:
        numbers = str(layer.shape), f"{layer.parameters:,}"
        table.add_row(escape(layer.path), escape(layer.kind), *numbers)
    out.print(table)
    out.print()


def _print_proposals(name: str, proposals: Sequence[Any]) -> None:
    if not proposals:
        out.print(f"No module of student {escape(name)} is like one of the teacher's in kind.")
        return
    table = Table(
        "student's module",
        "shape",
        "teacher's module",
        "shape",
        "CKA",
        box=None,
        pad_edge=False,
    )
    pairs = []
    for one in proposals:
        table.add_row(
            escape(one.student.path),
            str(one.student.shape),
            escape(one.teacher.path),
            str(one.teacher.shape),
            f"{one.alignment:.2f}",
        )
        pairs.append(f'{{ student = "{one.student.path}", teacher = "{one.teacher.path}" }}')
    out.print(f"[bold]proposed for student {escape(name)}[/bold]")
    out.print(table)
    out.print(f"taps = [{', '.join(pairs)}]", markup=False, soft_wrap=True)
