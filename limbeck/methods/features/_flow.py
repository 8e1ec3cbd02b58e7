"""FSP: how one map turns into the next one."""

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn

from limbeck.losses.features import flow_of_solution
from limbeck.methods._method import Card, Paper
from limbeck.methods.features._method import FeatureMethod, Pair
from limbeck.methods.features._shapes import of_one_size, to_teacher_if_needed
from limbeck.signals import Batch


class _Flow(nn.Module):
    def __init__(self, pairs: Sequence[Pair]) -> None:
        super().__init__()
        self.align = nn.ModuleList(to_teacher_if_needed(pair) for pair in pairs)

    def forward(self, student: Sequence[Tensor], teacher: Sequence[Tensor], batch: Batch) -> Tensor:
        ours = [align(maps) for align, maps in zip(self.align, student, strict=True)]
        total: Tensor = ours[0].new_zeros(len(ours[0]))
        for mine, theirs in zip(pairwise(ours), pairwise(teacher), strict=True):
            total = total + flow_of_solution(*of_one_size(*mine), *of_one_size(*theirs))
        return total


flow = FeatureMethod(
    card=Card(
        line="Flow of solution (FSP): how each map of a model turns into the next one.",
        paper=Paper(
            authors="Yim et al.",
            year=2017,
            link="https://openaccess.thecvf.com/content_cvpr_2017/html/"
            "Yim_A_Gift_From_CVPR_2017_paper.html",
        ),
        formula=(
            "sum over neighbouring taps of the mean of (G(student) - G(teacher))^2, G_ij the mean "
            "over positions of F_i of the first times F_j of the second"
        ),
        when="Both are convolutional networks with stages: two taps or more, in their order.",
        cost=24.9,
        setting="A first stage of training by itself; feature_weight = 50 in later code.",
        notes=(
            "The paper's models have the same channels; where they differ a 1 x 1 convolution is "
            "learned between them. The larger of two neighbours is pooled to the smaller."
        ),
    ),
    make=_Flow,
    weight=50.0,
    kinds=("maps",),
    fewest_taps=2,
)
