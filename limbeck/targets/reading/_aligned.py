"""The rows of some samples, in the order of the samples: what a training loop reads."""

from collections.abc import Callable, Mapping, Sequence

from torch import Tensor

from limbeck.signals import Rows


class AlignedTargets:
    """The rows of some samples by their place among them; one look-up for each batch.

    Args:
        positions: By view, `(samples,)`: where the rows of each sample are.
        read: The rows at some positions, by head.
    """

    def __init__(
        self, positions: Sequence[Tensor], read: Callable[[Tensor], Mapping[str, Rows]]
    ) -> None:
        self._positions = positions
        self._read = read

    @property
    def views(self) -> int:
        """How many views of each sample there are, from view 0."""
        return len(self._positions)

    def rows(self, index: Tensor, view: int = 0) -> Mapping[str, Rows]:
        """The rows of these samples, `index` is `(batch,)`, by head, in the stored precision."""
        return self._read(self._positions[view].index_select(0, index))
