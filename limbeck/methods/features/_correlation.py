"""CC: how the samples of a batch correlate, by a Gaussian kernel."""

from typing import Annotated

from pydantic import Field
from torch import Tensor

from limbeck.losses.features import correlation_congruence
from limbeck.methods._method import Card, Options, Paper, Positive
from limbeck.methods.features._method import FeatureMethod, plain
from limbeck.methods.features._shapes import vectors
from limbeck.signals import Batch


class CorrelationOptions(Options):
    """Of the kernel."""

    sharpness: Positive = 0.4
    """Above 0. Near 0 all samples correlate alike; the larger, the more the nearest count."""
    order: Annotated[int, Field(ge=1)] = 2
    """Terms of its expansion, 1 or more: 1 compares cosines."""


def _correlation(
    student: Tensor, teacher: Tensor, batch: Batch, *, sharpness: float, order: int
) -> Tensor:
    return correlation_congruence(
        vectors(student, batch), vectors(teacher, batch), sharpness=sharpness, order=order
    )


correlation = FeatureMethod(
    card=Card(
        line="Correlation congruence (CC): how samples of a batch correlate, by a kernel.",
        paper=Paper(authors="Peng et al.", year=2019, link="https://arxiv.org/abs/1904.01802"),
        formula=(
            "|C(student) - C(teacher)|^2 / batch^2, C the Gaussian kernel of directions, expanded "
            "to that order"
        ),
        when="As sp, of what the last layers read.",
        cost=7.5,
        setting="The kernel's two options. What feature_weight is here is ours, to be tuned.",
        notes="Maps are averaged over positions, tokens over those that count.",
    ),
    make=plain(_correlation),
    weight=100.0,
    kinds=("maps", "tokens", "vectors"),
    options=CorrelationOptions,
    same_kind=False,
    whole_batch=True,
)
