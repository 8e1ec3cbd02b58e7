"""The stored parts of the rows of many samples, and some of them, in any order."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from limbeck.targets.codecs import Arrays, Column

Part = NDArray[Any]


class Columns:
    """The parts of one head, of `samples` samples with `rows` rows each.

    Args:
        columns: What the parts are.
        parts: By name: `(samples * rows, width)`, or `(numbers,)` where rows differ in length. In
            memory or mapped from a file; nothing is copied.
        rows: How many rows each sample has.
    """

    def __init__(self, columns: Mapping[str, Column], parts: Arrays, rows: int) -> None:
        self._columns = columns
        self._fixed = {
            name: parts[name].reshape(-1, rows * column.width)
            for name, column in columns.items()
            if column.counted_by is None
        }
        self._flat = {name: parts[name] for name in columns if name not in self._fixed}
        counting = {column.counted_by for column in columns.values() if column.counted_by}
        self._ends = {
            name: np.cumsum(self._fixed[name].sum(axis=1, dtype=np.int64)) for name in counting
        }
        self._rows = rows

    def __len__(self) -> int:
        """How many samples."""
        return len(next(iter(self._fixed.values())))

    def take(self, samples: NDArray[np.int64]) -> Arrays:
        """The parts of these samples, in this order: `(samples * rows, width)`, or flat."""
        spans = {name: _spans(ends, samples) for name, ends in self._ends.items()}
        taken: dict[str, Part] = {}
        for name, column in self._columns.items():
            counted_by = column.counted_by
            if counted_by is None:
                taken[name] = self._fixed[name].take(samples, axis=0).reshape(-1, column.width)
            else:
                taken[name] = self._flat[name].take(spans[counted_by])
        return taken

    def all(self) -> Arrays:
        """The parts of every sample, as they lie."""
        fixed = {
            name: part.reshape(-1, self._columns[name].width) for name, part in self._fixed.items()
        }
        return fixed | self._flat


def _spans(ends: NDArray[np.int64], samples: NDArray[np.int64]) -> NDArray[np.int64]:
    """Where the numbers of these samples lie in a flat part, one after the other."""
    last = ends.take(samples)
    lengths = last - np.where(samples > 0, ends.take(samples - 1, mode="wrap"), 0)
    before = np.cumsum(lengths) - lengths
    return np.repeat(last - lengths - before, lengths) + np.arange(int(lengths.sum()))


def joined(pieces: Sequence[Arrays]) -> dict[str, Part]:
    """The parts of several lots of rows as those of one."""
    return {name: np.concatenate([piece[name] for piece in pieces]) for name in pieces[0]}
