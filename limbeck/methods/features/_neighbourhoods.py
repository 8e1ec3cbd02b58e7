"""PKT: who is near whom, as a distribution."""

from torch import Tensor

from limbeck.losses.features import probabilistic_transfer
from limbeck.methods._method import Card, Paper
from limbeck.methods.features._method import FeatureMethod, plain
from limbeck.methods.features._shapes import vectors
from limbeck.signals import Batch


def _neighbourhoods(student: Tensor, teacher: Tensor, batch: Batch) -> Tensor:
    return probabilistic_transfer(vectors(student, batch), vectors(teacher, batch))


neighbourhoods = FeatureMethod(
    card=Card(
        line="Probabilistic transfer (PKT): who is near whom in a batch, as a distribution.",
        paper=Paper(
            authors="Passalis and Tefas", year=2018, link="https://arxiv.org/abs/1803.10837"
        ),
        formula="KL(p(teacher) || p(student)), p_j|i the share of (cos(f_i, f_j) + 1) / 2",
        when="As sp, of what the last layers read; each sample's scale is free as well.",
        cost=8.0,
        setting=(
            "feature_weight = 30000 of a mean over rows and columns in later code: here it is a "
            "mean over rows, and 470 is the same in batches of 64."
        ),
        notes="Maps are averaged over positions, tokens over those that count.",
    ),
    make=plain(_neighbourhoods),
    weight=470.0,
    kinds=("maps", "tokens", "vectors"),
    same_kind=False,
    whole_batch=True,
)
