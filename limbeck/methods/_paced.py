"""A loss that knows how far training is; one of rows that learns something beside the student."""

from collections.abc import Callable

from torch import Tensor, nn

from limbeck.methods._terms import TermLoss
from limbeck.signals import Batch, Rows


class Paced(nn.Module):
    """A loss that changes as training goes on, which says before each step how far it is."""

    epochs: float = 0.0
    """How many epochs are done."""
    done: float = 1.0
    """How much of training is done, from 0 at the first step to 1 at the last."""


class PacedLoss(nn.Module):
    """What a term calls: a `Paced` loss of the rows that count.

    Args:
        learned: The loss: a subclass that has a `forward` of tensors.
        towards: From a loss of tensors to one of a student's rows, a teacher's and a batch.
    """

    def __init__(self, learned: Paced, towards: Callable[[nn.Module], TermLoss]) -> None:
        super().__init__()
        self.learned = learned
        self._towards = towards

    def forward(self, student: Tensor, teacher: Rows | None, batch: Batch) -> Tensor:
        """One value per row."""
        return self._towards(self.learned)(student, teacher, batch)
