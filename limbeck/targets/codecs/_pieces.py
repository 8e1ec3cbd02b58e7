"""Rows a few at a time: as many as a processor's cache holds, or as keep a device busy."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from limbeck.targets.codecs._codec import Arrays, Column

_ENTRIES = 1 << 20
_DEVICE_ENTRIES = 1 << 26


def spans(values: Tensor) -> Iterator[slice]:
    """Where each lot of rows lies; one of no rows where there are none."""
    entries = _ENTRIES if values.device.type == "cpu" else _DEVICE_ENTRIES
    step = max(1, entries // values.shape[-1])
    for start in range(0, max(len(values), 1), step):
        yield slice(start, start + step)


def smaller(pieces: Iterable[Tensor]) -> Iterator[Tensor]:
    """The same rows in pieces of that size."""
    for piece in pieces:
        for span in spans(piece):
            yield piece[span]


def joined(parts: Sequence[Mapping[str, NDArray[Any]]], columns: Mapping[str, Column]) -> Arrays:
    """The parts of several lots of rows as those of one, in the types that they are stored in."""
    if len(parts) == 1:
        whole = parts[0]
    else:
        whole = {name: np.concatenate([part[name] for part in parts]) for name in columns}
    return {name: whole[name].astype(column.dtype, copy=False) for name, column in columns.items()}
