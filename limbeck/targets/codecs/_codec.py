"""What a codec is: rows to arrays that are stored, and back, with a stated error."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from limbeck.signals import Head, Rows

Arrays = Mapping[str, NDArray[Any]]
"""The parts of some rows by name: `(rows, width)`, or `(numbers,)` where rows differ in length."""
Values = Tensor | NDArray[np.floating[Any]]
"""What a teacher said in rows `(rows, size)`, on any device or in numpy: of classes,
log-probabilities."""
State = Mapping[str, Tensor]
"""What a codec learned of a head from some of its rows, once for the whole transfer set."""
Seeds = NDArray[np.uint64]
"""`(rows,)`: where the randomness of each row begins; the same row has the same one anywhere."""


@dataclass(frozen=True)
class Column:
    """One stored part of a row."""

    dtype: np.dtype[Any]
    """Type of its numbers."""
    width: int = 1
    """How many of them one row has; ignored where they are counted."""
    counted_by: str | None = None
    """The part, one whole number a row, that says how many of them each row has. The numbers of
    all rows then follow each other, `(numbers,)`."""


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

    @property
    def takes_logits(self) -> bool:
        """True if it takes log-probabilities up to a constant of each row, and saves a pass."""

    def columns(self, head: Head) -> dict[str, Column]:
        """The parts that a row of this head is stored in; `OptionError` if it cannot be.

        A part that counts another comes before it.
        """

    def fit(self, pieces: Iterable[Values], head: Head) -> State:
        """What to learn from some rows, which come in pieces; {} for most.

        Each piece asks the teacher: a codec that learns nothing takes none.
        """

    def state_fault(self, state: State, head: Head) -> str | None:
        """What this state, read from a file, holds that `fit` never gives; None if nothing."""

    def encode(self, values: Values, head: Head, state: State, seeds: Seeds) -> Arrays:
        """The parts of rows, which are taken in float32."""

    def fault(self, arrays: Arrays, head: Head) -> str | None:
        """What these parts, read from a file, hold that `encode` never gives; None if nothing."""

    def decode(self, arrays: Arrays, head: Head, state: State, temperature: float) -> Rows:
        """The rows of these parts, `(rows, ...)`, in the same memory where that can be.

        Raises:
            IndexError: They name a class or a level that there is not; `fault` finds more.
        """
