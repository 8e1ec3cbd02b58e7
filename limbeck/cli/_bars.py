"""Progress bars on a terminal."""

from time import monotonic
from typing import Any

from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from limbeck.cli._common import is_first_process, out

_SECONDS = 30.0
"""Between two lines about the same work, where there is no terminal to draw a bar on."""


class Bars:
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
            disable=not out.is_terminal or not is_first_process(),
            refresh_per_second=5,
        )
        self._task: Any = None
        self.warned: list[str] = []
        """What was warned of."""
        self._in_lines = not out.is_terminal and is_first_process()
        self._said_at = 0.0

    def __enter__(self) -> "Bars":
        self._bars.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._bars.stop()

    def start(self, name: str, total: int) -> None:
        """Begin a bar; the one before it goes."""
        if self._in_lines:
            out.print(name)  # so that a log shows that it goes on
            self._said_at = monotonic()
        if self._task is not None:
            self._bars.remove_task(self._task)
        self._task = self._bars.add_task(name, total=total, numbers="")

    def advance(self, steps: int, **numbers: float) -> None:
        """Move the bar."""
        self._bars.advance(self._task, steps)
        if numbers:  # a step that says nothing new leaves what was said
            shown = "  ".join(f"{name} {value:.4g}" for name, value in numbers.items())
            self._bars.update(self._task, numbers=shown)
        if self._in_lines and monotonic() - self._said_at >= _SECONDS:
            task = self._bars.tasks[0]
            line = f"{task.description}: {task.completed:g} of {task.total:g}"
            out.print(escape(f"{line}, {task.fields['numbers']}".rstrip(", ")), soft_wrap=True)
            self._said_at = monotonic()

    def say(self, message: str) -> None:
        """Print a line that stays."""
        self._bars.console.print(escape(message), soft_wrap=True)

    def warn(self, message: str) -> None:
        """Print a line that stays, and stands out."""
        self.warned.append(message)
        self._bars.console.print(f"[yellow]warning:[/yellow] {escape(message)}", soft_wrap=True)
