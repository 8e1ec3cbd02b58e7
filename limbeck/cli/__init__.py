"""The command line: parse, call, print. Nothing else prints, and `--help` does not load torch."""

from limbeck._interrupt import interrupt_ends
from limbeck.cli._common import end

with interrupt_ends(end):
    from limbeck.cli._main import main as main
    from limbeck.cli._main import run_arguments as run_arguments

__all__ = ["main", "run_arguments"]
