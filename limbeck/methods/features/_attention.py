"""AT: at which positions much happens."""

from torch import Tensor

from limbeck.losses.features import attention_transfer
from limbeck.methods._method import Card, Paper
from limbeck.methods.features._method import FeatureMethod, plain
from limbeck.methods.features._shapes import of_one_size
from limbeck.signals import Batch


def _attention(student: Tensor, teacher: Tensor, batch: Batch) -> Tensor:
    return attention_transfer(*of_one_size(student, teacher))


attention = FeatureMethod(
    card=Card(
        called=("attention_transfer",),
        line="Attention transfer (AT): at which positions of a map much happens.",
        paper=Paper(
            authors="Zagoruyko and Komodakis", year=2017, link="https://arxiv.org/abs/1612.03928"
        ),
        formula=(
            "mean over positions of (Q(student) - Q(teacher))^2, Q the mean over channels of F_c^2 "
            "at each position, as a vector of length 1"
        ),
        when="Both are convolutional networks; one tap for each stage. It learns no projection.",
        cost=4.2,
        hurt=5.6,
        setting="feature_weight = 1000, with labels, and soft targets beside it if wanted.",
        notes=(
            "How many channels there are, and their scale, does not count. Maps of two sizes are "
            "pooled to the smaller."
        ),
    ),
    make=plain(_attention),
    weight=1000.0,
    kinds=("maps",),
)
