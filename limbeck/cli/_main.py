"""All commands by name, one command line of them, and the code that it ends with."""

import sys
from collections.abc import Callable, Sequence
from typing import Annotated

import typer
from rich.markup import escape

from limbeck._errors import Interrupted, LimbeckError
from limbeck.cli._common import STOPPED, STOPPED_LINE, err, out
from limbeck.cli._layers import layers
from limbeck.cli._methods import methods
from limbeck.cli._prove import prove
from limbeck.cli._runs import doctor, recipes, report, run
from limbeck.cli._targets import convert, curve, import_, inspect, make, merge, verify
from limbeck.cli._tune import tune

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
RUNS: tuple[Callable[..., None], ...] = (
    run,
    tune,
    doctor,
    layers,
    prove,
    report,
    recipes,
    methods,
)
TARGETS: tuple[Callable[..., None], ...] = (make, curve, inspect, verify, convert, merge)
for command in RUNS:
    app.command()(command)
for command in TARGETS:
    targets_app.command()(command)
targets_app.command("import")(import_)


@targets_app.callback()
def _targets_help(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        out.print(context.get_help(), markup=False)


def _version(wanted: bool) -> None:
    if wanted:
        from limbeck import __version__

        out.print(f"limbeck {__version__}")
        raise typer.Exit


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
        err.print(f"\n{STOPPED_LINE}", soft_wrap=True)
    return code if isinstance(code, int) else 0
