"""The command line: parse, call, print. Nothing else prints, and `--help` does not load torch."""

import os
import sys

from limbeck._interrupt import interrupt_ends

STOPPED = 130
"""The exit code after Ctrl-C."""
_STOPPED_LINE = "stopped. What was reached is kept: run the same command again to go on."


def _end() -> None:
    """Stop at once: while libraries are imported nothing is half written."""
    os.write(2, f"\n{_STOPPED_LINE}\n".encode())
    os._exit(STOPPED)


with interrupt_ends(_end):
    import webbrowser
    from collections.abc import Sequence
    from pathlib import Path
    from typing import Annotated, Any

    import typer
    from rich.console import Console
    from rich.markup import escape
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )
    from rich.table import Table

    from limbeck._errors import (
        Interrupted,
        LimbeckError,
        OptionError,
        RecipeError,
        did_you_mean,
    )

app = typer.Typer(
    invoke_without_command=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Distil a large trained model into a small one, and prove what the teaching was worth.",
)
targets_app = typer.Typer(
    invoke_without_command=True, help="Make and look at a transfer set: what a teacher said."
)
app.add_typer(targets_app, name="targets")

out = Console(highlight=False)
err = Console(stderr=True, highlight=False)

RecipeArgument = Annotated[str, typer.Argument(help="A shipped recipe's name, or a TOML file.")]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="SECTION.KEY=VALUE", help="Change one value of the recipe."),
]
TargetsArgument = Annotated[str, typer.Argument(metavar="DIR", help="Its folder, or URL.")]
OutOption = Annotated[
    Path | None, typer.Option("--out", metavar="DIR", help="The run's folder [runs/RECIPE].")
]


@app.command()
def run(recipe: RecipeArgument, set_: SetOption = None, out_: OutOption = None) -> None:
    """Teach, store the targets, train control and student, measure: from teacher to verdict.

    Run it again, and only what changed is done again; stopped anywhere, it goes on from there.
    """
    with interrupt_ends(_end):
        from limbeck.pipeline import run as run_pipeline
        from limbeck.recipe_file import load_recipe

    loaded = load_recipe(recipe, set_ or [])
    folder = out_ or Path("runs") / loaded.name
    with _Bars() as bars:
        report = run_pipeline(loaded, folder, progress=bars)
    if _is_first_process():
        _print_report(report)
        out.print(f"report: {folder / 'report.html'}", soft_wrap=True)


@app.command()
def doctor(recipe: RecipeArgument, set_: SetOption = None) -> None:
    """Put one batch through everything a recipe says, and stop on what would go wrong."""
    with interrupt_ends(_end):
        from limbeck.doctor import examine
        from limbeck.recipe_file import load_recipe

    findings = examine(load_recipe(recipe, set_ or []))
    for title, columns, rows in findings.tables:
        table = Table(*columns, title=title, title_justify="left", title_style="bold")
        for row in rows:
            table.add_row(*(escape(cell) for cell in row))
        out.print(table)
    for note in findings.notes:
        out.print(escape(note))
    for warning in findings.warnings:
        out.print(f"[yellow]warning:[/yellow] {escape(warning)}", soft_wrap=True)
    for fault in findings.faults:
        err.print(f"[red]fault:[/red] {escape(fault)}", soft_wrap=True)
    if findings.faults:
        raise typer.Exit(2)
    but = " but for the warning" if findings.warnings else ""
    out.print(f"[green]Everything that was looked at is in order{but}.[/green]")


@app.command()
def report(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A run's folder.")],
    open_: Annotated[bool, typer.Option("--open", help="Show the page in a browser.")] = False,
) -> None:
    """Make a run's page again from its result files."""
    with interrupt_ends(_end):
        from limbeck.report import write_page
        from limbeck.results import read_results

    found, _ = read_results(folder)
    page = write_page(folder)
    _print_report(found)
    out.print(f"report: {page}", soft_wrap=True)
    if open_:
        webbrowser.open(page.resolve().as_uri())


@app.command()
def recipes(
    name: Annotated[str | None, typer.Argument(help="Show this one whole, as TOML.")] = None,
) -> None:
    """List the recipes that come with Limbeck, or show one."""
    with interrupt_ends(_end):
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


@targets_app.command()
def make(
    recipe: RecipeArgument,
    set_: SetOption = None,
    out_: OutOption = None,
    engine: Annotated[str, typer.Option(help="Where the teacher is asked: here, or ray.")] = "here",
) -> None:
    """Train or load the teacher of a recipe, ask it once, and keep what it says.

    Stopped anywhere, it goes on from there; `limbeck run` with the same --out goes on from it.
    """
    with interrupt_ends(_end):
        from limbeck.pipeline import make_targets
        from limbeck.recipe_file import load_recipe

    loaded = load_recipe(recipe, set_ or [])
    folder = out_ or Path("runs") / loaded.name
    with _Bars() as bars:
        targets = make_targets(loaded, folder, engine=engine, progress=bars)
    if _is_first_process():
        _print_made(targets)


@targets_app.command()
def inspect(
    folder: TargetsArgument,
) -> None:
    """Say what a transfer set holds: of whom, of what, how faithful, and one row in words."""
    with interrupt_ends(_end):
        from limbeck.targets import TransferSet, describe

    table = Table("what", "value", box=None, pad_edge=False)
    for what, value in describe(TransferSet(folder)).items():
        table.add_row(what, escape(str(value)))
    out.print(table)


@targets_app.command()
def verify(
    folder: TargetsArgument,
    live: Annotated[
        int,
        typer.Option("--live", metavar="N", min=0, help="Ask the teacher about N samples again."),
    ] = 0,
    run_: Annotated[
        Path | None,
        typer.Option("--run", metavar="DIR", help="The run whose teacher that is [DIR/..]."),
    ] = None,
) -> None:
    """Check every shard of a transfer set against its checksum, and decode every row."""
    with interrupt_ends(_end):
        from limbeck.targets import TransferSet

    found = TransferSet(folder)
    found.verify()
    card = found.card
    out.print(
        f"[green]whole:[/green] {len(found.manifest.shards)} shards, {card.rows} rows, "
        f"{card.bytes} bytes; every checksum holds, and every row can be read."
    )
    if live:
        with interrupt_ends(_end):
            from limbeck.pipeline import compare_targets

        near = compare_targets(folder, run_ or Path(folder).resolve().parent, limit=live)
        measured = "" if near.mean_kl is None else f", KL {near.mean_kl:.3g} nats a row"
        out.print(
            f"[green]live:[/green] the teacher says the same of {near.rows} rows: the largest "
            f"difference is {near.difference:.3g}{measured}."
        )


@targets_app.command()
def merge(
    out_: Annotated[str, typer.Argument(metavar="OUT", help="A new folder, or its URL.")],
    folders: Annotated[list[str], typer.Argument(metavar="DIR...", help="What to merge.")],
) -> None:
    """Make one transfer set of several that differ in their samples only."""
    with interrupt_ends(_end):
        from limbeck.targets import merge as merge_sets

    _print_made(merge_sets(out_, folders))


@targets_app.command()
def convert(
    folder: TargetsArgument,
    out_: Annotated[
        str | None, typer.Argument(metavar="[OUT]", help="A new folder, or its URL.")
    ] = None,
    codec: Annotated[str, typer.Option(help="The codec of the new transfer set.")] = "dense16",
    options: Annotated[
        list[str] | None, typer.Option(metavar="KEY=VALUE", help="An option of the codec.")
    ] = None,
    parquet: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write decoded rows there instead.")
    ] = None,
) -> None:
    """Store the rows of a transfer set in another codec, or decoded as Parquet."""
    with interrupt_ends(_end):
        from limbeck.targets import convert as convert_set
        from limbeck.targets import to_parquet

    if (out_ is None) == (parquet is None):
        raise OptionError("convert takes OUT, or --parquet FILE. Give one of them.")
    if parquet is not None:
        out.print(f"{parquet}: {to_parquet(folder, parquet)} lines", soft_wrap=True)
    elif out_ is not None:
        with _Bars() as bars:
            made = convert_set(
                folder, out_, codec=codec, codec_options=_options_of(options or []), progress=bars
            )
        _print_made(made)


@targets_app.command("import")
def import_(
    layout: Annotated[str, typer.Argument(help="distillkit, megatron or tinyvit.")],
    path: Annotated[Path, typer.Argument(help="Where the other tool's cache lies.")],
    out_: Annotated[str, typer.Argument(metavar="OUT", help="A new folder, or its URL.")],
    data: Annotated[
        str,
        typer.Option(
            metavar="PACKAGE.MODULE:FUNCTION",
            help="Gives the inputs that were asked about, in the order of the cache.",
        ),
    ],
    classes: Annotated[int, typer.Option(help="Of the head, or the size of the vocabulary.")],
    head: Annotated[str, typer.Option(help="The head's name.")] = "label",
    teacher: Annotated[str, typer.Option(help="Whose rows they are, for people.")] = "unknown",
    options: Annotated[
        list[str] | None, typer.Option(metavar="KEY=VALUE", help="An option of the layout.")
    ] = None,
) -> None:
    """Make a transfer set of what another tool cached."""
    with interrupt_ends(_end):
        from limbeck._errors import DataError
        from limbeck._lookup import call_function, import_function
        from limbeck.data import samples
        from limbeck.targets.importers import import_set

    function = import_function("--data", data, DataError)
    _print_made(
        import_set(
            layout,
            path,
            out_,
            samples=samples(call_function("--data", data, function, {}, DataError)),
            classes=classes,
            head=head,
            teacher=teacher,
            options=_options_of(options or []),
        )
    )


@targets_app.command()
def curve(
    recipe: RecipeArgument,
    set_: SetOption = None,
    out_: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="The run's folder [runs/RECIPE].")
    ] = None,
) -> None:
    """Try every codec on a recipe's teacher, and draw bytes a row against what is lost."""
    with interrupt_ends(_end):
        from limbeck.pipeline import draw_curve
        from limbeck.recipe_file import load_recipe

    loaded = load_recipe(recipe, set_ or [])
    with _Bars() as bars:
        tried, taken, page = draw_curve(loaded, out_ or Path("runs") / loaded.name, progress=bars)
    for one in tried:
        out.print(escape(f"{one}{'   taken' if one is taken else ''}"), soft_wrap=True)
    out.print(f"curve: {page}", soft_wrap=True)


def _version(wanted: bool) -> None:
    if wanted:
        from limbeck import __version__

        out.print(f"limbeck {__version__}")
        raise typer.Exit


@targets_app.callback()
def _targets_help(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        out.print(context.get_help(), markup=False)


@app.callback()
def _options(
    context: typer.Context,
    version: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    if context.invoked_subcommand is None:
        out.print(context.get_help(), markup=False)


def main() -> None:
    """Run the command line: 0 when all went well, 2 for a clear error, 130 when stopped."""
    sys.exit(run_arguments(sys.argv[1:]))


def run_arguments(arguments: Sequence[str]) -> int:
    """Run one command line, and give its exit code; nothing of ours is raised."""
    try:
        code = app(list(arguments), prog_name="limbeck", standalone_mode=False)
    except Interrupted as error:
        err.print(f"\n{escape(str(error))}", soft_wrap=True)
        return STOPPED
    except LimbeckError as error:
        err.print(f"[red]error:[/red] {escape(str(error))}", soft_wrap=True)
        return 2
    except typer.TyperException as error:
        err.print(f"[red]error:[/red] {escape(error.format_message())}", soft_wrap=True)
        err.print("`limbeck --help` lists the commands, `limbeck COMMAND --help` their options.")
        return 2
    except KeyboardInterrupt:  # before typer is there to catch it
        code = STOPPED
    if code == STOPPED:  # what typer makes of Ctrl-C
        err.print(f"\n{_STOPPED_LINE}", soft_wrap=True)
    return code if isinstance(code, int) else 0


def _is_first_process() -> bool:
    """Whether this is the process that prints, under torchrun."""
    return os.environ.get("RANK", "0") == "0"


class _Bars:
    """Progress bars on a terminal; plain lines elsewhere."""

    def __init__(self) -> None:
        self._bars = Progress(
            TextColumn("{task.description:<24}"),
            BarColumn(bar_width=None),
            MofNCompleteColumn(),
            TextColumn("{task.fields[numbers]:<14}"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=out,
            transient=True,
            disable=not out.is_terminal or not _is_first_process(),
            refresh_per_second=5,
        )
        self._task: Any = None

    def __enter__(self) -> "_Bars":
        self._bars.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._bars.stop()

    def start(self, name: str, total: int) -> None:
        """Begin a bar; the one before it goes."""
        if self._task is not None:
            self._bars.remove_task(self._task)
        self._task = self._bars.add_task(name, total=total, numbers="")

    def advance(self, steps: int, **numbers: float) -> None:
        """Move the bar."""
        self._bars.advance(self._task, steps)
        if numbers:  # a step that says nothing new leaves what was said
            shown = "  ".join(f"{name} {value:.4g}" for name, value in numbers.items())
            self._bars.update(self._task, numbers=shown)

    def say(self, message: str) -> None:
        """Print a line that stays."""
        self._bars.console.print(escape(message), soft_wrap=True)

    def warn(self, message: str) -> None:
        """Print a line that stays, and stands out."""
        self._bars.console.print(f"[yellow]warning:[/yellow] {escape(message)}", soft_wrap=True)


def _print_made(targets: Any) -> None:
    card = targets.card
    out.print(
        f"targets: {targets.folder}: {card.rows} rows, {card.bytes / 1e6:.4g} MB, "
        f"{card.bytes_per_row:.1f} bytes a row",
        soft_wrap=True,
    )


def _options_of(given: Sequence[str]) -> dict[str, Any]:
    """Each KEY=VALUE; a value is TOML, or else a string."""
    from limbeck.recipe_file import read_value

    options = {}
    for each in given:
        key, equals, value = each.partition("=")
        if not equals:
            raise OptionError(f"--options takes KEY=VALUE, got {each!r}.")
        options[key.strip()] = read_value(value)
    return options


def _print_report(report: Any) -> None:
    """The models of a run, a row each, and each student's verdict."""
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
    rows = [("teacher", report.models["teacher"])]
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
    for warning in report.warnings:
        out.print(f"[yellow]warning:[/yellow] {escape(warning)}", soft_wrap=True)
    out.print()
    for name, result in report.students.items():
        whose = f"{name}: " if len(report.students) > 1 else ""
        out.print(f"[bold]{escape(whose + result.verdict.sentence)}[/bold]")


def _or_dash(value: int | None, form: str) -> str:
    return "-" if value is None else form.format(value)
