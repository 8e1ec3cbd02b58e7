"""A loss that learns something itself, beside the student, and knows how far training is."""

from collections.abc import Callable

from torch import Tensor, nn

from limbeck.methods._terms import TermLoss
from limbeck.signals import Batch, Rows


class Paced(nn.Module):
    """A loss of rows with parameters of its own: a subclass has a `forward` of its tensors."""

    epochs: float = 0.0
    """How many epochs are done, as training says before each step."""


class PacedLoss(nn.Module):
    """What a term calls: a `Paced` loss of the rows that count.

    Args:
        learned: The loss.
        towards: From a loss of tensors to one of a student's rows, a teacher's and a batch.
    """

    def __init__(self, learned: Paced, towards: Callable[[nn.Module], TermLoss]) -> None:
        super().__init__()
        self.learned = learned
        self._towards = towards

    def forward(self, student: Tensor, teacher: Rows | None, batch: Batch) -> Tensor:
        """One value per row."""
        return self._towards(self.learned)(student, teacher, batch)
