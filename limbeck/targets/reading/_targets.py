"""What a training loop asks of a transfer set, whether of one teacher or of several."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from torch import Tensor

from limbeck.data import Samples
from limbeck.signals import Head, Rows
from limbeck.targets.format._index import Keys
from limbeck.targets.reading._aligned import AlignedTargets


class Targets(Protocol):
    """Rows that are there already, found by the content of the samples."""

    @property
    def heads(self) -> tuple[Head, ...]:
        """What was asked."""

    @property
    def temperature(self) -> float:
        """T of categorical and binary rows."""

    @property
    def views(self) -> int:
        """How many views of each sample there are, from view 0."""

    @property
    def fingerprint(self) -> str:
        """16 hex digits of everything in it."""

    @property
    def like(self) -> Mapping[str, Rows]:
        """A row of each head, for what all rows share: kind, temperature, shape of the tail."""

    def expect(
        self,
        *,
        heads: Sequence[Head] | None = None,
        transform: str | None = None,
        data: str | None = None,
        views: int | None = None,
    ) -> None:
        """Refuse rows of something else. What is None is not looked at."""

    def positions(self, keys: Keys, view: int = 0) -> Tensor:
        """Where the rows of these samples are, `(samples,)` int64."""

    def read(self, positions: Tensor) -> Mapping[str, Rows]:
        """The rows at these positions, `(samples,)`, by head."""

    def aligned(self, samples: Samples) -> AlignedTargets:
        """The rows of these samples, by their place among them."""
