"""The commands about runs: run, doctor, report, recipes."""

import webbrowser
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from limbeck._errors import RecipeError, did_you_mean
from limbeck._interrupt import interrupt_ends
from limbeck.cli._bars import Bars
from limbeck.cli._common import (
    OutOption,
    RecipeArgument,
    SetOption,
    end,
    err,
    is_first_process,
    out,
    read_recipe,
)


def run(recipe: RecipeArgument, set_: SetOption = None, out_: OutOption = None) -> None:
    """Teach, store the targets, train control and student, measure: from teacher to verdict.

    Run it again, and only what changed is done again; stopped anywhere, it goes on from there.
    """
    loaded = read_recipe(recipe, set_)
    with interrupt_ends(end):
        from limbeck.pipeline import run as run_pipeline

    folder = out_ or Path("runs") / loaded.name
    with Bars() as bars:
        report = run_pipeline(loaded, folder, progress=bars)
    if is_first_process():
        _print_report(report, heard=bars.warned)
        out.print(f"report: {folder / 'report.html'}", soft_wrap=True)


def doctor(recipe: RecipeArgument, set_: SetOption = None) -> None:
    """Put one batch through everything a recipe says, and stop on what would go wrong."""
    loaded = read_recipe(recipe, set_)
    with interrupt_ends(end):
        from limbeck.doctor import examine

    findings = examine(loaded)
    for title, columns, rows in findings.tables:
        table = Table(*columns, title=title, title_justify="left", title_style="bold")
        for row in rows:
            table.add_row(*(escape(cell) for cell in row))
        out.print(table)
    for note in findings.notes:
        out.print(escape(note), soft_wrap=True)
    for warning in findings.warnings:
        out.print(f"[yellow]warning:[/yellow] {escape(warning)}", soft_wrap=True)
    for fault in findings.faults:
        err.print(f"[red]fault:[/red] {escape(fault)}", soft_wrap=True)
    if findings.faults:
        raise typer.Exit(2)
    but = " but for the warning" if findings.warnings else ""
    out.print(f"[green]Everything that was looked at is in order{but}.[/green]")


def report(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A run's folder.")],
    open_: Annotated[bool, typer.Option("--open", help="Show the page in a browser.")] = False,
) -> None:
    """Make a run's page again from its result files."""
    with interrupt_ends(end):
        from limbeck.report import write_page
        from limbeck.results import read_results

    found, _ = read_results(folder)
    page = write_page(folder)
    _print_report(found)
    out.print(f"report: {page}", soft_wrap=True)
    if open_:
        webbrowser.open(page.resolve().as_uri())


def recipes(
    name: Annotated[str | None, typer.Argument(help="Show this one whole, as TOML.")] = None,
) -> None:
    """List the recipes that come with Limbeck, or show one."""
    with interrupt_ends(end):
        from limbeck.recipe_file import load_recipe, shipped

    if name is not None:
        texts = dict(shipped())
        if name not in texts:
            meant = did_you_mean(name, texts)
            raise RecipeError(
                f"no recipe called {name!r} comes with Limbeck.{meant} `limbeck recipes` lists "
                "them."
            )
        out.print(texts[name].rstrip(), markup=False, soft_wrap=True)
        return
    table = Table("recipe", "what it is", box=None, pad_edge=False)
    for known, _ in shipped():
        table.add_row(known, escape(load_recipe(known).description))
    out.print(table)


def _print_report(report: Any, *, heard: Sequence[str] = ()) -> None:
    """The models of a run, a row each, warnings not `heard` yet, and each student's verdict."""
    higher = "higher" if report.metric.higher_is_better else "lower"
    table = Table(
        "model",
        f"{report.metric.name} ({higher} is better)",
        "parameters",
        "FLOPs",
        "ms, batch 1",
        box=None,
        pad_edge=False,
        header_style="bold",
    )
    rows = [("teachers together" if report.teachers else "teacher", report.models["teacher"])]
    rows += [(f"teacher {name}", model) for name, model in report.teachers.items()]
    rows += [(f"assistant {name}", model) for name, model in report.assistants.items()]
    for name, result in report.students.items():
        rows += [(f"control {name}", result.control), (f"student {name}", result.student)]
    for name, model in rows:
        score = f"{model.score.mean:.4f}"
        if model.score.std is not None:
            score += f" ± {model.score.std:.4f} (n = {len(model.score.values)})"
        table.add_row(
            escape(name),
            score,
            _or_dash(model.parameters, "{:,}"),
            _or_dash(model.flops_per_example, "{:,}"),
            "-" if model.latency_ms is None else f"{model.latency_ms.batch_1:.3f}",
        )
    out.print(table)
    for warning in (each for each in report.warnings if each not in heard):
        out.print(f"[yellow]warning:[/yellow] {escape(warning)}", soft_wrap=True)
    out.print()
    for name, result in report.students.items():
        if result.begins:
            out.print(escape(f"{name} began with {result.begins}."), soft_wrap=True)
        whose = f"{name}: " if len(report.students) > 1 else ""
        sentence = escape(whose + result.verdict.sentence)
        out.print(f"[bold]{sentence}[/bold]", soft_wrap=True)


def _or_dash(value: int | None, form: str) -> str:
    return "-" if value is None else form.format(value)
