"""The checkpoint of a pass: to go on after a kill, to the same weights."""

import time
from collections.abc import Sequence
from pathlib import Path

from limbeck._checkpoint import load_checkpoint, save_checkpoint
from limbeck._progress import Progress
from limbeck.train._lane import Lane

CHECKPOINT_SECONDS = 30.0
"""Seconds of work that a kill may cost."""


class Resume:
    """Where a pass stands, kept in a file now and then.

    Args:
        lanes: Who learns.
        path: The file; None keeps nothing.
        of: A fingerprint of the pass: a checkpoint of another one is not gone on from.
        writes: Whether this process writes the file; every one reads it.
    """

    def __init__(self, lanes: Sequence[Lane], path: Path | None, of: str, *, writes: bool) -> None:
        self._lanes = lanes
        self._path = path
        self._of = of
        self._writes = writes
        self._before = 0.0
        self._begun = self._saved = time.monotonic()

    def seconds(self) -> float:
        """Time spent on the pass, over all continuations."""
        return self._before + time.monotonic() - self._begun

    def is_due(self) -> bool:
        """Whether a kill would cost more than `CHECKPOINT_SECONDS`."""
        return self._path is not None and time.monotonic() - self._saved > CHECKPOINT_SECONDS

    def save(self, epoch: int, step: int) -> None:
        """Keep that `step` of `epoch` comes next, and everything it depends on."""
        self._saved = time.monotonic()
        if self._path is None or not self._writes:
            return
        position = {"of": self._of, "epoch": epoch, "step": step, "seconds": self.seconds()}
        lanes = {lane.learner.name: lane.state() for lane in self._lanes}
        save_checkpoint(self._path, {"position": position, "lanes": lanes})

    def restore(self, progress: Progress) -> tuple[int, int]:
        """Go back to what was saved; the epoch and step to go on from."""
        state = None if self._path is None else load_checkpoint(self._path)
        if state is None:
            return 0, 0
        position = state["position"]
        if position["of"] != self._of:
            progress.warn(
                f"{self._path} is of other models, samples or settings: training begins anew."
            )
            return 0, 0
        for lane in self._lanes:
            lane.restore(state["lanes"][lane.learner.name])
        self._before = position["seconds"]
        return position["epoch"], position["step"]

    def remove(self) -> None:
        """The pass is over: forget it."""
        if self._path is not None and self._writes:
            self._path.unlink(missing_ok=True)

    def farewell(self, title: str) -> str:
        """What to tell a user who stopped the pass of this title."""
        if self._path is None:
            return f"stopped in {title}. Nothing was kept."
        return (
            f"stopped in {title}. What was reached is kept: run the same command "
            "again to go on from here."
        )
