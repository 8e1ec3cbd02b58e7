"""DistilBERT: the direction of each token's state."""

from torch import Tensor, nn

from limbeck.losses.features import cosine_distance
from limbeck.methods._method import Card, Paper
from limbeck.methods.features._method import FeatureMethod, Pair, each
from limbeck.methods.features._shapes import by_position, to_teacher_if_needed
from limbeck.signals import Batch


class _Cosine(nn.Module):
    def __init__(self, pair: Pair) -> None:
        super().__init__()
        self.align = to_teacher_if_needed(pair)

    def forward(self, student: Tensor, teacher: Tensor, batch: Batch) -> Tensor:
        return by_position(cosine_distance, self.align(student), teacher, batch)


cosine = FeatureMethod(
    card=Card(
        line="DistilBERT's triple: labels, soft targets, and the direction of states.",
        paper=Paper(authors="Sanh et al.", year=2019, link="https://arxiv.org/abs/1910.01108"),
        formula="mean over tokens of 1 - cos(h_s, h_t)",
        when=(
            "Transformers of one width, the student with half the layers: one tap, the last "
            "layer's states. Begin it with the teacher's: start.how = \"layers\"."
        ),
        cost=13.3,
        setting=(
            "temperature = 2, soft_weight = 5, hard_weight = 2 (of masked tokens) and "
            "feature_weight = 1."
        ),
        notes="Where the widths differ a linear layer is learned between them, and not kept.",
    ),
    make=each(_Cosine),
    weight=1.0,
    kinds=("tokens", "vectors"),
)
