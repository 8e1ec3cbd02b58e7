"""Rows of different lengths: their numbers in one flat array, class ids in planes of one byte.

A plane holds one byte of each id, so that the high ones, which hardly vary, compress to little.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from limbeck.targets.codecs._codec import Arrays, Column

Ints = NDArray[np.int64]


def below(counts: NDArray[Any], width: int) -> NDArray[np.bool_]:
    """Which places of rows of `width` are among each row's first `counts`, `(rows, width)`."""
    small = np.min_scalar_type(width)
    mask: NDArray[np.bool_] = np.arange(width, dtype=small) < counts.astype(small)[:, None]
    return mask


def rows_of(counts: Ints) -> Ints:
    """The row of each flat number, `(numbers,)`."""
    return np.repeat(np.arange(len(counts)), counts)


def steps(ids: Ints, counts: Ints) -> Ints:
    """How far each id is beyond the one before it in its row, less 1; the first as it is.

    Args:
        ids: `(numbers,)`, rising within each row.
        counts: How many of them each row has, `(rows,)`.
    """
    gaps = ids - 1
    gaps[1:] -= ids[:-1]
    first = (np.cumsum(counts) - counts)[counts > 0]
    gaps[first] = ids[first]
    return gaps


def summed(gaps: NDArray[Any], counts: Ints) -> Ints:
    """The ids of these steps."""
    sums = np.zeros(len(gaps) + 1, dtype=np.int64)
    np.cumsum(np.add(gaps, 1, dtype=np.int64), out=sums[1:])
    before = sums[np.cumsum(counts) - counts] + 1  # (rows,)
    ids: Ints = np.repeat(before, counts)
    return np.subtract(sums[1:], ids, out=ids)


def plane_names(name: str, size: int) -> list[str]:
    """The parts that ids below `size` are stored in, the low byte first."""
    return [f"{name}_{place}" for place in range(max(1, (int(size - 1).bit_length() + 7) // 8))]


def plane_columns(name: str, size: int, counted_by: str | None) -> dict[str, Column]:
    """Those parts: one byte of one id each."""
    column = Column(np.dtype(np.uint8), counted_by=counted_by)
    return dict.fromkeys(plane_names(name, size), column)


def split(ids: NDArray[np.integer[Any]], name: str, size: int) -> dict[str, NDArray[np.uint8]]:
    """Whole numbers in 0..size - 1 as planes, each of their shape."""
    names = plane_names(name, size)
    low_first = np.ascontiguousarray(ids).astype(ids.dtype.newbyteorder("<"), copy=False)
    of_bytes = low_first.view(np.uint8).reshape(*ids.shape, ids.itemsize)
    return {plane: of_bytes[..., place].copy() for place, plane in enumerate(names)}


def join(arrays: Arrays, name: str, size: int) -> NDArray[Any]:
    """The numbers of planes, in an unsigned type that holds them."""
    low, *higher = (arrays[plane] for plane in plane_names(name, size))
    if not higher:
        return low
    numbers: NDArray[Any] = low.astype(np.uint16 if len(higher) == 1 else np.uint32)
    for place, plane in enumerate(higher, start=1):
        np.bitwise_or(numbers, np.left_shift(plane, 8 * place, dtype=numbers.dtype), out=numbers)
    return numbers


def uneven(arrays: Arrays, columns: dict[str, Column]) -> str | None:
    """A part whose length is not what the part that counts it says; None if there is none."""
    for name, column in columns.items():
        if column.counted_by is not None:
            counted = int(arrays[column.counted_by].sum(dtype=np.int64))
            if len(arrays[name]) != counted:
                return f"{len(arrays[name])} numbers in {name}, counted as {counted}"
    return None
