"""Where rows are, as a caller says it: looked at before anything is read there."""

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from limbeck._errors import OptionError
from limbeck.targets.format._index import Keys

Positions: TypeAlias = Tensor | NDArray[np.integer[Any]] | Sequence[int]
"""`(samples,)`: whole numbers, as `TransferSet.positions` gives them."""


def checked_positions(given: Positions, samples: int) -> NDArray[np.int64]:
    """Positions among so many samples, `(samples,)`.

    Raises:
        OptionError: They are none.
    """
    wanted = f"positions must be whole numbers from 0 to {samples - 1}, (samples,)"
    found = np.asarray(given)
    if found.ndim != 1 or (found.size and found.dtype.kind not in "iu"):
        raise OptionError(
            f"{wanted}, got {found.dtype} {found.shape}. Take those that positions(keys) gives."
        )
    places: NDArray[np.int64] = found.astype(np.int64, copy=False)
    beyond = (places < 0) | (places >= samples)
    if beyond.any():
        raise OptionError(
            f"{wanted}, got {found[beyond][0]}. Take those that positions(keys) gives."
        )
    return places


def checked_keys(given: Any) -> Keys:
    """Content keys, `(samples,)`.

    Raises:
        OptionError: They are none.
    """
    # A list of whole numbers, some of them beyond int64, would become one of floats.
    whole = isinstance(given, list) and all(type(key) is int and 0 <= key < 2**64 for key in given)
    found = np.asarray(given, dtype=np.uint64 if whole else None)
    if found.ndim != 1 or found.dtype != np.uint64:
        raise OptionError(
            f"keys must be content keys, (samples,) uint64, got {found.dtype} {found.shape}. Take "
            "samples.keys; of the column that add_keys adds, as numpy, .view(np.uint64)."
        )
    return found
