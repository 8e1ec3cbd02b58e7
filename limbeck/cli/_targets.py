"""The commands about transfer sets: limbeck targets make, inspect, verify, ..."""

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from limbeck._errors import OptionError
from limbeck._interrupt import interrupt_ends
from limbeck.cli._bars import Bars
from limbeck.cli._common import (
    OutOption,
    RecipeArgument,
    SetOption,
    end,
    is_first_process,
    options_of,
    out,
    read_recipe,
)

NewOption = Annotated[str, typer.Option("--out", metavar="DIR", help="A new folder, or its URL.")]
TargetsArgument = Annotated[str, typer.Argument(metavar="DIR", help="Its folder, or URL.")]


def make(
    recipe: RecipeArgument,
    set_: SetOption = None,
    out_: OutOption = None,
    engine: Annotated[str, typer.Option(help="Where the teacher is asked: here, or ray.")] = "here",
) -> None:
    """Train or load the teacher of a recipe, ask it once, and keep what it says.

    Stopped anywhere, it goes on from there; `limbeck run` with the same --out goes on from it.
    """
    loaded = read_recipe(recipe, set_)
    with interrupt_ends(end):
        from limbeck.pipeline import make_targets

    folder = out_ or Path("runs") / loaded.name
    with Bars() as bars:
        made = make_targets(loaded, folder, engine=engine, progress=bars)
    if is_first_process():
        for targets in made:
            _print_made(targets)
        report = folder / "report.json"
        latest = max((one.folder / "manifest.json").stat().st_mtime for one in made)
        if report.is_file() and report.stat().st_mtime < latest:
            out.print(f"The report in {folder} is of other targets: `limbeck run` renews it.")


def inspect(
    folder: TargetsArgument,
) -> None:
    """Say what a transfer set holds: of whom, of what, how faithful, and one row in words."""
    with interrupt_ends(end):
        from limbeck.targets import TransferSet, describe

    table = Table("what", "value", box=None, pad_edge=False)
    for what, value in describe(TransferSet(folder)).items():
        table.add_row(what, escape(str(value)))
    out.print(table)


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
    with interrupt_ends(end):
        from limbeck import _format as form
        from limbeck.targets import TransferSet

    found = TransferSet(folder)
    found.verify()
    card = found.card
    out.print(
        f"[green]whole:[/green] {form.counted(len(found.manifest.shards), 'shard')}, "
        f"{card.rows} rows, {card.bytes} bytes; every checksum holds, and every row can be read.",
        soft_wrap=True,
    )
    if live:
        with interrupt_ends(end):
            from limbeck.pipeline import compare_targets

        near = compare_targets(folder, run_ or Path(folder).resolve().parent, limit=live)
        measured = "" if near.mean_kl is None else f", KL {near.mean_kl:.3g} nats a row"
        out.print(
            f"[green]live:[/green] the teacher says the same of {near.rows} rows: the largest "
            f"difference is {near.difference:.3g}{measured}.",
            soft_wrap=True,
        )


def merge(
    folders: Annotated[list[str], typer.Argument(metavar="DIR...", help="What to merge.")],
    out_: NewOption,
) -> None:
    """Make one transfer set of several that differ in their samples only."""
    with interrupt_ends(end):
        from limbeck.targets import merge as merge_sets

    _print_made(merge_sets(out_, folders))


def convert(
    folder: TargetsArgument,
    out_: Annotated[
        str | None, typer.Option("--out", metavar="DIR", help="A new folder, or its URL.")
    ] = None,
    codec: Annotated[str, typer.Option(help="The codec of the new transfer set.")] = "dense16",
    option: Annotated[
        list[str] | None, typer.Option(metavar="KEY=VALUE", help="An option of the codec.")
    ] = None,
    parquet: Annotated[
        str | None, typer.Option(metavar="FILE", help="Write decoded rows there instead.")
    ] = None,
) -> None:
    """Store the rows of a transfer set in another codec, or decoded as Parquet."""
    with interrupt_ends(end):
        from limbeck.targets import convert as convert_set
        from limbeck.targets import to_parquet

    if out_ is not None and out_.endswith((".parquet", ".parq")):
        raise OptionError(
            f"--out takes a folder, got {out_}. For a file of rows, give --parquet {out_}."
        )
    if (out_ is None) == (parquet is None):
        raise OptionError("convert takes --out DIR, or --parquet FILE. Give one of them.")
    if parquet is not None:
        out.print(f"{parquet}: {to_parquet(folder, parquet)} lines", soft_wrap=True)
    elif out_ is not None:
        with Bars() as bars:
            made = convert_set(
                folder,
                out_,
                codec=codec,
                codec_options=options_of("--option", option or []),
                progress=bars,
            )
        _print_made(made)


def import_(
    layout: Annotated[str, typer.Argument(help="distillkit, megatron or tinyvit.")],
    path: Annotated[Path, typer.Argument(help="Where the other tool's cache lies.")],
    out_: NewOption,
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
    option: Annotated[
        list[str] | None, typer.Option(metavar="KEY=VALUE", help="An option of the layout.")
    ] = None,
) -> None:
    """Make a transfer set of what another tool cached."""
    with interrupt_ends(end):
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
            options=options_of("--option", option or []),
        )
    )


def curve(
    recipe: RecipeArgument,
    set_: SetOption = None,
    out_: Annotated[
        Path | None,
        typer.Option("--out", metavar="DIR", help="The run's folder; runs/RECIPE if left out."),
    ] = None,
) -> None:
    """Try every codec on a recipe's teacher, and draw bytes a row against what is lost."""
    loaded = read_recipe(recipe, set_)
    with interrupt_ends(end):
        from limbeck.pipeline import draw_curve

    with Bars() as bars:
        tried, taken, page = draw_curve(loaded, out_ or Path("runs") / loaded.name, progress=bars)
    for one in tried:
        out.print(escape(f"{one}{'   taken' if one is taken else ''}"), soft_wrap=True)
    out.print(f"curve: {page}", soft_wrap=True)


def _print_made(targets: Any) -> None:
    card = targets.card
    out.print(
        f"targets: {targets.folder}: {card.rows} rows, {card.bytes / 1e6:.4g} MB, "
        f"{card.bytes_per_row:.1f} bytes a row",
        soft_wrap=True,
    )
