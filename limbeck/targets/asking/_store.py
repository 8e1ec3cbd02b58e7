"""Encode and write what the teacher said: while it answers more, or between its answers."""

import time
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor

from limbeck.targets.encoding._encoder import Encoder
from limbeck.targets.format._index import Keys
from limbeck.targets.format._shard_writer import ShardWriter

LOT_NUMBERS = 1 << 20
"""Numbers, about, that are encoded together: of small answers those of several batches."""
LOT_SECONDS = 1.0
"""What a slow teacher said is encoded after so long, however little it is."""
Answers = Mapping[str, Tensor]


@contextmanager
def storing(encoder: Encoder, writer: ShardWriter, *, beside: bool) -> Iterator["Store"]:
    """A store of answers; when it is left everything is written, after an error or Ctrl-C too.

    With a processor to spare, a thread encodes one batch while the teacher answers the next.
    Without one the two would keep each other waiting, for torch's threads spin where they wait, and
    that costs three times what encoding does: then answers are collected until they fill a block,
    and the teacher waits. Either way a kill costs no more than the open block and two batches.

    Args:
        encoder: Makes columns of answers.
        writer: Makes shards of columns.
        beside: Whether there is a processor to spare.
    """
    with writer, ThreadPoolExecutor(1, "limbeck-targets") as thread:
        store = Store(encoder, writer, thread if beside else None)
        try:
            yield store
        finally:
            store.finish()


class Store:
    """Answers into shards; see `storing`."""

    def __init__(
        self, encoder: Encoder, writer: ShardWriter, thread: ThreadPoolExecutor | None
    ) -> None:
        self._encoder = encoder
        self._writer = writer
        self._thread = thread
        self._pending: Future[None] | None = None
        self._lot = _Lot()

    @property
    def so_far(self) -> int:
        """Bytes on disk, those of the open shard too."""
        return self._writer.written + self._writer.open_bytes

    @property
    def written(self) -> int:
        """Bytes of the shards that are whole."""
        return self._writer.written

    def put(self, keys: Keys, view: int, answers: Answers) -> None:
        """Take a batch of answers.

        Raises:
            ModelError: An answer, this one or one before, was not what it must be.
            StorageError: It could not be written.
        """
        if not self._lot.fits(view, answers):
            self._hand_over()
        self._lot.add(keys, view, answers)
        full = self._lot.is_full(self._writer.room)
        if self._thread is not None or not full:
            self._lot.copy_last()
        if self._thread is not None or full:
            self._hand_over()

    def finish(self) -> None:
        """Store what there is; raises what `put` raises."""
        self._hand_over()
        self._wait()

    def _hand_over(self) -> None:
        """Store the lot, or let the thread do so once it has stored the one before."""
        self._wait()
        lot, self._lot = self._lot, _Lot()
        if not lot.keys:
            return
        if self._thread is None:
            self._store(lot)
        else:
            self._pending = self._thread.submit(self._store, lot)

    def _wait(self) -> None:
        if self._pending is not None:
            self._pending.result()

    def _store(self, lot: "_Lot") -> None:
        keys = np.concatenate(lot.keys)
        for columns, faithfulness in self._encoder.encode(keys, lot.view, lot.joined()):
            self._writer.add(columns, faithfulness)


class _Lot:
    """Answers of one view and shape, that are encoded together."""

    def __init__(self) -> None:
        self.keys: list[Keys] = []
        self.view = 0
        self._answers: list[Answers] = []
        self._rows = self._numbers = 0
        self._begun = 0.0

    def fits(self, view: int, answers: Answers) -> bool:
        """Whether these go with what is there."""
        return not self.keys or (
            view == self.view and _row_shapes(answers) == _row_shapes(self._answers[0])
        )

    def add(self, keys: Keys, view: int, answers: Answers) -> None:
        """Take a batch."""
        if not self.keys:
            self.view, self._begun = view, time.monotonic()
        self.keys.append(keys)
        self._answers.append(answers)
        self._rows += max(rows.shape[:-1].numel() for rows in answers.values())
        self._numbers += sum(rows.numel() for rows in answers.values())

    def copy_last(self) -> None:
        """Hold a copy of the last batch: a model may answer the next in the same memory."""
        self._answers[-1] = {name: rows.clone() for name, rows in self._answers[-1].items()}

    def is_full(self, rows: int) -> bool:
        """Whether there are so many rows, or numbers enough, or it has waited long enough."""
        waited = time.monotonic() - self._begun
        return self._rows >= rows or self._numbers >= LOT_NUMBERS or waited >= LOT_SECONDS

    def joined(self) -> Answers:
        """Those of all batches, by head."""
        if len(self._answers) == 1:
            return self._answers[0]
        return {name: torch.cat([one[name] for one in self._answers]) for name in self._answers[0]}


def _row_shapes(answers: Answers) -> dict[str, torch.Size]:
    return {name: rows.shape[1:] for name, rows in answers.items()}
