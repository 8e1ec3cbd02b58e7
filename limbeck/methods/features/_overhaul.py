"""OFD: the teacher's maps before their ReLU, cut at a margin that each channel has."""

from collections.abc import Sequence

from torch import Tensor, nn

from limbeck.losses.features import partial_distance, relu_margin
from limbeck.methods._method import Card, Paper
from limbeck.methods.features._method import FeatureMethod, Pair
from limbeck.methods.features._shapes import of_one_size
from limbeck.signals import Batch


class _Overhaul(nn.Module):
    def __init__(self, pair: Pair) -> None:
        super().__init__()
        ours, theirs = pair.channels
        self.connector = nn.Sequential(
            nn.Conv2d(ours, theirs, 1, bias=False), nn.BatchNorm2d(theirs)
        )
        # It keeps the mean and variance of all that it saw; what it gives is not looked at.
        self.seen = nn.BatchNorm2d(theirs, affine=False, momentum=None)

    def forward(self, student: Tensor, teacher: Tensor) -> Tensor:
        teacher = teacher.to(student.dtype)
        self.seen(teacher)
        mean, variance = self.seen.running_mean, self.seen.running_var
        assert mean is not None
        assert variance is not None
        return partial_distance(
            *of_one_size(self.connector(student), teacher), relu_margin(mean, variance.sqrt())
        )


class _Stages(nn.Module):
    def __init__(self, pairs: Sequence[Pair]) -> None:
        super().__init__()
        self.stages = nn.ModuleList(_Overhaul(pair) for pair in pairs)

    def forward(self, student: Sequence[Tensor], teacher: Sequence[Tensor], batch: Batch) -> Tensor:
        total = student[0].new_zeros(len(student[0]))
        for stage, ours, theirs in zip(self.stages, student, teacher, strict=True):
            total = total / 2 + stage(ours, theirs)
        return total


overhaul = FeatureMethod(
    card=Card(
        called=("overhaul",),
        line="Overhaul (OFD): maps before their ReLU; what is off in both need not agree.",
        paper=Paper(authors="Heo et al.", year=2019, link="https://arxiv.org/abs/1904.01866"),
        formula=(
            "sum over taps, each half of the one after it, of sum of (max(t, m_c) - s)^2 but where "
            "s <= max(t, m_c) <= 0; m_c the channel's mean below 0, s = norm(connector(student))"
        ),
        when=(
            "Convolutional networks with stages. Taps before a ReLU, as batch normalisation gives "
            "them, one for each stage from the first to the last."
        ),
        cost=56.6,
        hurt=2.1,
        setting="feature_weight = 0.001 on CIFAR-100 and ImageNet, with labels alone.",
        notes=(
            "The mean and deviation behind a channel's margin are those of what was seen so far; "
            "the code takes them from the teacher's batch normalisation. It sums over all numbers "
            "of a map: with another size another feature_weight. The connector, a 1 x 1 "
            "convolution, has batch normalisation, and so compares the samples of a batch; it is "
            "not kept. Maps of two sizes are pooled to the smaller."
        ),
    ),
    make=_Stages,
    weight=1e-3,
    kinds=("maps",),
    whole_batch=True,
)
