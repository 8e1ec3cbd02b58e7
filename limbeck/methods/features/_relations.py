"""RKD: distances and angles between the samples of a batch."""

from pydantic import model_validator
from torch import Tensor

from limbeck.losses.features import relational_angle, relational_distance
from limbeck.methods._method import Card, NotNegative, Options, Paper, one_above_zero
from limbeck.methods.features._method import FeatureMethod, plain
from limbeck.methods.features._shapes import vectors
from limbeck.signals import Batch


class RelationsOptions(Options):
    """What each relation weighs."""

    distance_weight: NotNegative = 25.0
    """Of how far samples are from each other, 0 or more; 0 leaves it out."""
    angle_weight: NotNegative = 50.0
    """Of the angles of all triangles, 0 or more; 0 leaves it out, and its batch^3 numbers."""

    @model_validator(mode="after")
    def _teaches(self) -> "RelationsOptions":
        one_above_zero(distance_weight=self.distance_weight, angle_weight=self.angle_weight)
        return self


def _relations(
    student: Tensor, teacher: Tensor, batch: Batch, *, distance_weight: float, angle_weight: float
) -> Tensor:
    student, teacher = vectors(student, batch), vectors(teacher, batch)
    total = student.new_zeros(len(student))
    if distance_weight:
        total = total + distance_weight * relational_distance(student, teacher)
    if angle_weight:
        total = total + angle_weight * relational_angle(student, teacher)
    return total


relations = FeatureMethod(
    card=Card(
        line="Relations (RKD): distances and angles between the samples of a batch.",
        paper=Paper(authors="Park et al.", year=2019, link="https://arxiv.org/abs/1904.05068"),
        formula=(
            "distance_weight h(d(student) - d(teacher)) + angle_weight h(cos(student) - "
            "cos(teacher)), means over pairs and triples of the batch, h Huber's, d in units of "
            "its mean"
        ),
        when=(
            "What is learned is an embedding: it leaves rotation, shift and scale free. Taps of "
            "what the last layers read."
        ),
        cost=134.6,
        setting=(
            "Weights 1 and 2 for metric learning; 25 and 50 in later code on CIFAR-100, with "
            "labels."
        ),
        notes="Maps are averaged over positions, tokens over those that count.",
    ),
    make=plain(_relations),
    weight=1.0,
    kinds=("maps", "tokens", "vectors"),
    options=RelationsOptions,
    same_kind=False,
    whole_batch=True,
)
