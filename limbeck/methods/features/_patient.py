"""PKD: the first token's state, layer by layer."""

from collections.abc import Sequence

from torch import Tensor, nn

from limbeck.losses.features import patient_hints
from limbeck.methods._method import Card, Paper
from limbeck.methods.features._method import FeatureMethod, Pair
from limbeck.methods.features._shapes import to_teacher_if_needed
from limbeck.signals import Batch


class _Patient(nn.Module):
    def __init__(self, pairs: Sequence[Pair]) -> None:
        super().__init__()
        self.align = nn.ModuleList(to_teacher_if_needed(pair) for pair in pairs)

    def forward(self, student: Sequence[Tensor], teacher: Sequence[Tensor], batch: Batch) -> Tensor:
        total = student[0].new_zeros(len(student[0]))
        for align, ours, theirs in zip(self.align, student, teacher, strict=True):
            # Layers may differ in width, which one tensor of all does not.
            states = [align(ours[:, 0])[:, None], theirs[:, 0][:, None]]
            total = total + patient_hints(*states)
        return total


patient = FeatureMethod(
    card=Card(
        line="Patient (PKD): the first token's state of a transformer, layer by layer.",
        paper=Paper(authors="Sun et al.", year=2019, link="https://arxiv.org/abs/1908.09355"),
        formula="sum over taps of |h_s / |h_s| - h_t / |h_t||^2, h the state of the first token",
        when=(
            "Encoders that answer from their first token, as BERT does: one tap for each of the "
            "student's layers but the last, with every second of the teacher's, or its last ones."
        ),
        cost=0.6,
        setting="Weights of 10 to 1000, of a mean; this is a sum, and its feature_weight ours.",
        notes="Where the widths differ a linear layer is learned between them, and not kept.",
    ),
    make=_Patient,
    weight=1.0,
    kinds=("tokens",),
)
