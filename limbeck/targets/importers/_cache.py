"""An importer, and what it reads: rows of samples in the order in which another tool wrote them."""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from limbeck._errors import TargetsError

Entries: TypeAlias = tuple[NDArray[np.int64], NDArray[np.float64]]
"""Of one sample: class ids and their probabilities, both `(rows, kept)`. An entry of probability 0
is padding."""


@dataclass(frozen=True, kw_only=True)
class Cache:
    """Sparse rows of another tool."""

    kept: int
    """Entries of a row, at most."""
    most: float
    """What the probabilities of a row may sum to, by what the tool rounded."""
    samples: Iterator[Entries]
    """Of each sample, in order."""
    transform: str | None = None
    """How the tool changed the samples before it asked; None if it did not."""
    sequences: Iterator[NDArray[Any]] | None = None
    """The token ids of each sample, `(rows,)`, where the tool wrote them down."""


class Importer(BaseModel, ABC):
    """A layout; its fields are what its files do not say, the user's to give."""

    model_config = ConfigDict(
        frozen=True, strict=True, extra="forbid", use_attribute_docstrings=True
    )

    @abstractmethod
    def read(self, path: Path, rows: int) -> Cache:
        """What lies at `path`.

        Args:
            path: Where the cache lies.
            rows: Of all samples together: what claims to be more need not be unpacked.

        Raises:
            TargetsError: It is not what it must be.
        """


def most_if_rounded(kept: int) -> float:
    """What probabilities sum to, at most, that were rounded, or their logarithms, to 16 bits.

    A logarithm in bfloat16, the coarsest type, is off by 2^-8 of itself at most, and its
    probability by as much. The logarithms of all entries, each times its probability, sum to
    log `kept` at most. Twice that leaves room for a softmax that was rounded before.
    """
    return 1 + 2**-7 * (1 + math.log(kept))


def damaged_cache(path: Path, why: str) -> TargetsError:
    """The error that says so."""
    return TargetsError(
        f"{path} is not what it must be: {why}. Bring it back from a copy, or make it again."
    )
