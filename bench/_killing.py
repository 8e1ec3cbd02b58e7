"""Kill captures at random moments with SIGKILL, and count what that cost.

A trial begins a capture in a process of its own, kills it, looks at what is left, and begins it
again, several times, until it is left to finish. Blocks and shards are small here, so that a
capture passes every moment there is (the state file, blocks, shards, the manifest, the unpacked
copy, and the salvage of what the kill before left) within some tenths of a second.

What a kill may cost is exact. A process is at most one batch ahead of its store: the batch that the
teacher is asked about, and the one that is being encoded, may be lost, and before these the rows
that are not in a whole block yet, encoded or not, fewer than `BLOCK_ROWS`. So one kill of one
process costs at most `BLOCK_ROWS - 1 + 2 * BATCH` samples, and what a codec learns from, if it
learns.
"""

import multiprocessing
import os
import random
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor, nn

from limbeck._errors import LimbeckError, StorageError, TargetsError
from limbeck.data import ArraySamples
from limbeck.signals import Dense, Head
from limbeck.targets import Processes, TransferSet, capture
from limbeck.targets.asking import _learn as learning
from limbeck.targets.format import _shard_writer as shard_writer
from limbeck.teachers import Teacher

SAMPLES, CLASSES, BATCH, BLOCK_ROWS, FITTED_ROWS = 2000, 10, 64, 200, 256
SHARD_BYTES = 6000
COST = BLOCK_ROWS - 1 + 2 * BATCH
"""Samples that the kill of one process may cost, at most."""
REFUSED = 3
"""Exit status of a capture that met another process in its folder."""
PATIENCE = 120
"""Seconds that a capture is waited for; it takes less than one, unless the machine is busy."""
HEAD = Head(space="categorical", size=CLASSES)
_FORKSERVER = multiprocessing.get_context("forkserver")
_FORKSERVER.set_forkserver_preload(["limbeck.targets", "limbeck.teachers", "pandas"])  # slow ones


class Counted(nn.Module):
    """A teacher that knows every sample by its number, and notes which it was asked about."""

    def __init__(self, notes: Path) -> None:
        super().__init__()
        drawn = torch.randn(SAMPLES, CLASSES, generator=torch.Generator().manual_seed(0))
        self.register_buffer("answers", 3 * drawn)
        self._notes = notes

    def forward(self, inputs: Tensor) -> Tensor:
        numbers = inputs[:, 0].long()
        with self._notes.open("ab", buffering=0) as file:
            file.write(numbers.numpy().astype(np.int32).tobytes())
        return self.answers[numbers]


@dataclass(frozen=True, kw_only=True)
class Kind:
    """What is captured, and by how many processes."""

    codec: str
    options: Mapping[str, Any] = field(default_factory=dict)
    count: int = 1
    learned: int = 0
    """Samples that the codec learns from."""

    @property
    def cost(self) -> int:
        """Samples that one kill, of all its processes, may cost."""
        return self.count * COST + self.learned


KINDS = (
    Kind(codec="dense16"),
    Kind(codec="topk", options={"k": 3}),
    Kind(codec="selected", learned=FITTED_ROWS),
    Kind(codec="threshold", options={"tau": 0.1}, learned=FITTED_ROWS),
    Kind(codec="dense16", count=2),
    Kind(codec="threshold", options={"tau": 0.1}, learned=FITTED_ROWS, count=2),
)


@dataclass(kw_only=True)
class Outcome:
    """What was found in one trial."""

    kind: Kind
    kills: int = 0
    """Of captures that had not ended."""
    faults: list[str] = field(default_factory=list)
    """Openings and captures that failed, in words."""
    wrong: int = 0
    missing: int = 0
    twice: int = 0
    left_over: int = 0
    """Files that stay when all is done, and belong to no transfer set."""
    moments: list[str] = field(default_factory=list)
    """What there was after each kill, in words."""
    asked_again: list[int] = field(default_factory=list)
    """Samples that were asked about again after each kill."""


def samples() -> ArraySamples:
    """Samples whose content is their number."""
    return ArraySamples(torch.arange(SAMPLES, dtype=torch.float32)[:, None], {})


def work(
    folder: Path, notes: Path, kind: Kind, index: int, wait: Callable[[], Any], begun: Any
) -> None:
    """What is killed: capture, then read from an unpacked copy."""
    torch.set_num_threads(1)
    shard_writer.BLOCK_ROWS, shard_writer.SHARD_BYTES = BLOCK_ROWS, SHARD_BYTES
    learning.FITTED_ROWS = FITTED_ROWS
    begun.send_bytes(b"!")
    try:
        capture(
            Teacher(Counted(notes), [HEAD]),
            samples(),
            folder,
            codec=kind.codec,
            codec_options=kind.options,
            batch_size=BATCH,
            processes=Processes(index=index, count=kind.count, wait=wait),
        )
        TransferSet(folder, reading="mapped").read(torch.arange(5))
    except StorageError as error:
        if "another process is writing" not in str(error):
            raise
        os._exit(REFUSED)


def start(folder: Path, notes: Path, kind: Kind) -> list[Any]:
    """The processes of one capture, begun."""
    wait = _FORKSERVER.Barrier(kind.count).wait if kind.count > 1 else int
    started = []
    for index in range(kind.count):
        ours, theirs = _FORKSERVER.Pipe(duplex=False)
        arguments = (folder, notes, kind, index, wait, theirs)
        process = _FORKSERVER.Process(target=work, args=arguments, daemon=True)
        process.start()
        theirs.close()
        started.append((process, ours))
    for process, ours in started:
        if not ours.poll(PATIENCE):
            process.kill()
            raise TimeoutError(f"a process of {folder} did not begin in {PATIENCE} s")
        ours.recv_bytes()
    return [process for process, _ in started]


class Trials:
    """Trials of one kind: the capture that was never killed, and how long that takes.

    Args:
        kind: What is captured.
        folder: Where all is kept; empty.
    """

    def __init__(self, kind: Kind, folder: Path) -> None:
        self._kind = kind
        self._folder = folder
        folder.mkdir(parents=True)
        for name in ("first", "whole"):  # the first one also waits for the server of forks
            processes = start(folder / name, folder / "notes", kind)
            begun = time.monotonic()
            for process in processes:
                process.join()
            self._seconds = time.monotonic() - begun
        self._rows = _rows(TransferSet(folder / "whole"))

    def run(self, seed: int, *, kills: int = 4) -> Outcome:
        """Kill a capture up to so many times, then let it finish."""
        draw, outcome = random.Random(seed), Outcome(kind=self._kind)
        folder = self._folder / f"trial-{seed}"
        notes = self._folder / f"notes-{seed}"
        asked = []
        for _ in range(draw.randint(1, kills)):
            notes.write_bytes(b"")
            processes = start(folder, notes, self._kind)
            time.sleep(draw.random() ** 2 * self._seconds)  # sooner rather than after its end
            outcome.kills += any(process.is_alive() for process in processes)
            self._kill(processes, draw, folder, outcome)
            outcome.moments.append(_moment(folder))
            asked.append(_noted(notes))
            self._look(folder, outcome)
        notes.write_bytes(b"")
        for process in start(folder, notes, self._kind):
            process.join(PATIENCE)
            if process.exitcode != 0:
                outcome.faults.append(f"the last capture ended with {process.exitcode}")
        asked.append(_noted(notes))
        later: set[int] = set()
        for numbers in reversed(asked):
            outcome.asked_again.insert(0, len(numbers & later))
            later |= numbers
        outcome.asked_again.pop()
        if not self._look(folder, outcome):
            outcome.faults.append("the last capture left no whole transfer set")
        outcome.left_over = sum(path.is_file() for path in folder.glob(".*.part"))
        return outcome

    def _kill(
        self, processes: list[Any], draw: random.Random, folder: Path, outcome: Outcome
    ) -> None:
        """One first; if another lives on, nobody may begin to write until it is gone too."""
        draw.shuffle(processes)
        for number, process in enumerate(processes):
            process.kill()
            process.join()
            if number + 1 < len(processes) and draw.random() < 0.5:
                kind = Kind(codec=self._kind.codec, options=self._kind.options)
                (rival,) = start(folder, self._folder / "notes", kind)
                rival.join(PATIENCE)
                if rival.exitcode not in (0, REFUSED):
                    outcome.faults.append(f"a rival ended with {rival.exitcode}")

    def _look(self, folder: Path, outcome: Outcome) -> bool:
        """Whether it opens; it must, or say that it is not whole."""
        try:
            targets = TransferSet(folder)
        except TargetsError as error:
            if not re.search("holds no whole transfer set|there is no such folder", str(error)):
                outcome.faults.append(str(error))
            return False
        except (LimbeckError, OSError, ValueError, LookupError) as error:
            outcome.faults.append(f"{type(error).__name__}: {error}")
            return False
        outcome.twice += _twice(folder)
        found = _rows(targets)
        outcome.missing += SAMPLES - len(found)
        outcome.wrong += int((found != self._rows).any(axis=1).sum())
        return True


def _rows(targets: TransferSet) -> np.ndarray:
    """`(samples, ...)`: all that is stored of each sample, in the order of the samples."""
    rows = targets.read(targets.positions(samples().keys))[HEAD.name]
    if isinstance(rows, Dense):
        return rows.values.numpy()
    parts = (rows.ids, rows.probabilities, rows.tail[:, None])
    return np.concatenate([part.numpy().astype(np.float64) for part in parts], axis=1)


def _twice(folder: Path) -> int:
    """Rows too many, counted by a plain reader of the shards."""
    tables = [pa.ipc.open_file(path).read_all() for path in folder.glob("shard-*.arrow")]
    keys = np.concatenate([table["key"].to_numpy() for table in tables])
    return len(keys) - len(np.unique(keys))


def _moment(folder: Path) -> str:
    """The furthest thing that was begun."""
    for pattern, words in {
        ".unpacked-????????????????": "unpacked copy",
        ".unpacked-*": "unpacked copy begun",
        "manifest.json": "manifest",
        ".manifest.json.*": "manifest begun",
        ".shard-*": "open shard",
        "shard-*": "shard",
        "state-*": "state",
        ".state-*": "state begun",
    }.items():
        if any(folder.glob(pattern)):
            return words
    return "nothing"


def _noted(notes: Path) -> set[int]:
    raw = notes.read_bytes()
    return set(np.frombuffer(raw[: len(raw) // 4 * 4], dtype=np.int32).tolist())
