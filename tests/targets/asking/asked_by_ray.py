"""A teacher that Ray's workers can import: it writes down what it is asked."""

import os
import signal
import time
from pathlib import Path

import numpy as np

import limbeck.targets.format._shard_writer as shard_writer
from limbeck._errors import ModelError
from tests.targets.conftest import logits_of


class Noted:
    """Answers as `logits_of`, and appends to `log` how many samples each process is asked about.

    Args:
        log: The file.
        killed: Kill the first worker that has been asked `killed` times; 0 for none.
        stop_after: Times after which it is interrupted; 0 for never.
        refuse: Raise an error instead of answering.
    """

    __qualname__ = "noted"

    def __init__(
        self, log: Path, *, killed: int = 0, stop_after: int = 0, refuse: bool = False
    ) -> None:
        self._home = os.getpid()
        self._log = log
        self._killed = killed
        self._stop_after = stop_after
        self._refuse = refuse
        self._times = 0

    def __call__(self, inputs: np.ndarray) -> np.ndarray:
        if os.getpid() != self._home:
            shard_writer.SHARD_SECONDS = 0.0  # in a worker, each batch is a shard
        if self._refuse:
            raise ModelError("it would rather not say. Ask another.")
        if self._stop_after and self._times == self._stop_after:
            raise KeyboardInterrupt
        self._times += 1
        with self._log.open("a") as file:
            file.write(f"{os.getpid()} {len(inputs)}\n")
        mark = self._log.with_suffix(".killed")
        if self._times == self._killed and not mark.exists():
            mark.touch()
            time.sleep(0.5)  # what was put before is whole by now
            os.kill(os.getpid(), signal.SIGKILL)
        return np.stack([logits_of(each) for each in inputs])

    def noted(self) -> list[tuple[int, int]]:
        """Process and samples of each time it was asked."""
        lines = self._log.read_text().splitlines()
        return [tuple(map(int, line.split())) for line in lines]
