"""SP: how alike the samples of a batch are."""

from torch import Tensor

from limbeck.losses.features import similarity_preserving
from limbeck.methods._method import Card, Paper
from limbeck.methods.features._method import FeatureMethod, plain
from limbeck.methods.features._shapes import whole
from limbeck.signals import Batch


def _similarity(student: Tensor, teacher: Tensor, batch: Batch) -> Tensor:
    return similarity_preserving(whole(student, batch), whole(teacher, batch))


similarity = FeatureMethod(
    card=Card(
        line="Similarity-preserving (SP): which samples of a batch look alike to the teacher.",
        paper=Paper(authors="Tung and Mori", year=2019, link="https://arxiv.org/abs/1907.09682"),
        formula="|G(student) - G(teacher)|^2 / batch^2, G = F F', each row of length 1",
        when=(
            "The two models have little in common inside: no shape must agree, and nothing is "
            "projected. Batches of some dozen samples or more."
        ),
        cost=13.9,
        setting="feature_weight = 3000 on CIFAR-100, of the last map, with labels.",
        notes="Of tokens it compares the mean over those that count.",
    ),
    make=plain(_similarity),
    weight=3000.0,
    kinds=("maps", "tokens", "vectors"),
    same_kind=False,
    whole_batch=True,
)
