"""FT: what of the teacher's map is enough to draw it again, translated from the student's."""

from itertools import pairwise
from typing import Annotated

from pydantic import Field
from torch import Tensor, nn

from limbeck.losses.features import factor_transfer
from limbeck.methods._method import Card, Options, Paper
from limbeck.methods.features._method import FeatureMethod, Pair, each
from limbeck.methods.features._shapes import of_one_size
from limbeck.signals import Batch

SLOPE = 0.1
"""Of the leaky ReLU below 0."""


class FactorsOptions(Options):
    """How small a factor is."""

    rate: Annotated[float, Field(gt=0)] = 0.5
    """Channels of a factor by those of the teacher's map, above 0: the less, the more the
    paraphraser must leave out; at 1 nothing need be."""


def _convolutions(*channels: int) -> nn.Sequential:
    """3 x 3 from each number of channels to the next, with a leaky ReLU after each."""
    layers: list[nn.Module] = []
    for before, after in pairwise(channels):
        layers += [nn.Conv2d(before, after, 3, padding=1), nn.LeakyReLU(SLOPE)]
    return nn.Sequential(*layers)


class _Factors(nn.Module):
    def __init__(self, pair: Pair, *, rate: float) -> None:
        super().__init__()
        ours, theirs = pair.channels
        factor = max(1, round(rate * theirs))
        self.translator = _convolutions(ours, ours, factor, factor)
        self.paraphraser = _convolutions(theirs, theirs, factor, factor)
        # Without the last ReLU: what is drawn may be below 0.
        self.decoder = _convolutions(factor, factor, theirs, theirs)[:-1]

    def forward(self, student: Tensor, teacher: Tensor, batch: Batch) -> Tensor:
        teacher = teacher.to(student.dtype)
        factor = self.paraphraser(teacher)
        redrawn = factor_transfer(self.decoder(factor), teacher)
        # The paraphraser gets no gradient from here: it does not give way to the student.
        return factor_transfer(*of_one_size(self.translator(student), factor)) + redrawn


factors = FeatureMethod(
    card=Card(
        line="Factor transfer (FT): what of a map is enough to draw it again, translated.",
        paper=Paper(
            authors="Kim, Park and Kwak", year=2018, link="https://arxiv.org/abs/1802.04977"
        ),
        formula=(
            "mean of |f_s / |f_s| - f_t / |f_t||, f_s = translator(student), f_t = "
            "paraphraser(teacher); + the same of decoder(f_t) and teacher"
        ),
        when=(
            "As fitnets, where the teacher's map holds more than the student can: an autoencoder "
            "leaves out what it can do without. The last map."
        ),
        cost=675.3,
        hurt=0.8,
        setting=(
            "feature_weight = 500 on CIFAR-10, of the code (200 in later code, of another factor), "
            "with labels and without soft targets."
        ),
        notes=(
            "The paper trains the autoencoder first, by its squared error; here it learns beside "
            "the student, by the error of the directions, which has the size of the other part "
            "and counts in the loss that is shown. It costs nine 3 x 3 convolutions, most as wide "
            "as the teacher, and none is kept. Factors of two sizes are pooled to the smaller."
        ),
    ),
    make=each(_Factors),
    weight=500.0,
    kinds=("maps",),
    options=FactorsOptions,
)
