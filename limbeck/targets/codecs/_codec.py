"""What a codec is: rows to arrays that are stored, and back, with a stated error."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from limbeck.signals import Head, Rows

Arrays = Mapping[str, NDArray[Any]]
"""The parts of some rows by name, each `(..., width)`."""


@dataclass(frozen=True)
class Column:
    """One stored part of a row."""

    dtype: np.dtype[Any]
    """Type of its numbers."""
    width: int
    """How many of them one row has."""


class Codec(Protocol):
    """Turns rows into arrays and back; each row by itself, whatever its neighbours."""

    @property
    def name(self) -> str:
        """Its key in `CODECS`."""

    @property
    def options(self) -> dict[str, Any]:
        """What it was made with."""

    @property
    def biased(self) -> bool:
        """True if what it drops moves the expected gradient."""

    def columns(self, head: Head) -> dict[str, Column]:
        """The parts that a row of this head is stored in; `OptionError` if it cannot be."""

    def encode(self, values: Tensor, head: Head) -> dict[str, NDArray[Any]]:
        """The parts, each `(..., width)`, of rows `(..., size)` in float32."""

    def fault(self, arrays: Arrays, head: Head) -> str | None:
        """What these parts, read from a file, hold that `encode` never gives; None if nothing."""

    def decode(self, arrays: Arrays, head: Head, temperature: float) -> Rows:
        """The rows of these parts, `(..., width)`, in the same memory where that can be."""
