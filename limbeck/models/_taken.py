"""What a student takes over from its teacher before it learns."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Taken:
    """Weights for a student, of its own names and shapes, that were its teacher's."""

    state: Mapping[str, Tensor]
    """By the student's names: all that it has."""
    words: Sequence[str]
    """Which they are: a line for each stack, or layer, of which only a part was taken."""

    @property
    def told(self) -> str:
        """How many weights they are, and which."""
        weights = sum(tensor.numel() for tensor in self.state.values())
        return "; ".join([f"{weights:,} weights of its teacher", *self.words])
