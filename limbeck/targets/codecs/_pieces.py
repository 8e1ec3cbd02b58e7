"""Rows a few at a time: as many as a processor's cache holds, or as keep a device busy."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from limbeck.targets.codecs._codec import Arrays, Column, Values

_ENTRIES = 1 << 20
_DEVICE_ENTRIES = 1 << 26


def entries_at_once(device: torch.device) -> int:
    """About so many numbers: few enough for a processor's cache, or enough for a device."""
    return _ENTRIES if device.type == "cpu" else _DEVICE_ENTRIES


def tensor_of(values: Values) -> Tensor:
    """The same rows in float32, without a gradient; in the same memory where that can be."""
    if isinstance(values, Tensor):
        return values.detach().float()
    return torch.from_numpy(np.require(values, np.float32, ["C", "W"]))


def spans(values: Tensor) -> Iterator[slice]:
    """Where each lot of rows lies; one of no rows where there are none."""
    step = max(1, entries_at_once(values.device) // values.shape[-1])
    for start in range(0, max(len(values), 1), step):
        yield slice(start, start + step)


def smaller(pieces: Iterable[Values]) -> Iterator[Tensor]:
    """The same rows in pieces of that size."""
    for piece in map(tensor_of, pieces):
        for span in spans(piece):
            yield piece[span]


def joined(parts: Sequence[Mapping[str, NDArray[Any]]], columns: Mapping[str, Column]) -> Arrays:
    """The parts of several lots of rows as those of one, in the types that they are stored in."""
    if len(parts) == 1:
        whole = parts[0]
    else:
        whole = {name: np.concatenate([part[name] for part in parts]) for name in columns}
    return {name: whole[name].astype(column.dtype, copy=False) for name, column in columns.items()}
