"""ReviewKD: the teacher's early stages, learned from the student's later ones as well."""

from collections.abc import Sequence
from typing import Annotated

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from limbeck.losses.features import hierarchical_context
from limbeck.methods._method import Card, Options, Paper
from limbeck.methods.features._method import FeatureMethod, Pair
from limbeck.methods.features._shapes import of_one_size
from limbeck.signals import Batch


class ReviewOptions(Options):
    """How wide the fusion is."""

    channels: Annotated[int, Field(ge=1)] = 512
    """Of the maps in which stages are fused, at most, 1 or more: few are a bottleneck, and no more
    than the widest of the student's are taken."""


class _Fusion(nn.Module):
    """Attention-based fusion (ABF) of a stage with the fused one after it."""

    def __init__(self, inputs: int, middle: int, outputs: int, *, fuses: bool) -> None:
        super().__init__()
        self.inner = nn.Sequential(nn.Conv2d(inputs, middle, 1, bias=False), nn.BatchNorm2d(middle))
        self.outer = nn.Sequential(
            nn.Conv2d(middle, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs)
        )
        self.attention = nn.Conv2d(2 * middle, 2, 1) if fuses else None

    def forward(self, stage: Tensor, later: Tensor | None) -> tuple[Tensor, Tensor]:
        """`(batch, outputs, height, width)` for the teacher, `(batch, middle, ...)` to go on."""
        fused: Tensor = self.inner(stage)
        if self.attention is not None and later is not None:
            later = F.interpolate(later, fused.shape[2:], mode="nearest")
            weights = self.attention(torch.cat([fused, later], dim=1)).sigmoid()
            fused = fused * weights[:, :1] + later * weights[:, 1:]
        return self.outer(fused), fused


class _Review(nn.Module):
    def __init__(self, pairs: Sequence[Pair], *, channels: int) -> None:
        super().__init__()
        middle = min(channels, max(pair.student[0] for pair in pairs))
        last = len(pairs) - 1
        self.fusions = nn.ModuleList(
            _Fusion(pair.student[0], middle, pair.teacher[0], fuses=place < last)
            for place, pair in enumerate(pairs)
        )

    def forward(self, student: Sequence[Tensor], teacher: Sequence[Tensor], batch: Batch) -> Tensor:
        later: Tensor | None = None
        total = student[0].new_zeros(len(student[0]))
        for place in reversed(range(len(student))):
            said, later = self.fusions[place](student[place], later)
            total = total + hierarchical_context(*of_one_size(said, teacher[place]))
        return total


review = FeatureMethod(
    card=Card(
        called=("knowledge_review",),
        line="Knowledge review (ReviewKD): each stage of the teacher from that and later ones.",
        paper=Paper(authors="Chen et al.", year=2021, link="https://arxiv.org/abs/2104.09044"),
        formula="sum over taps of HCL(fused student, teacher), HCL the squared error at 4 scales",
        when=(
            "Both are convolutional networks with stages: two taps or more, from the first to the "
            "last. Its fusion has convolutions of its own, as wide as the student."
        ),
        cost=114.8,
        setting=(
            "feature_weight = 1 on ImageNet (ResNet), 8 for MobileNet; 1 to 30 by pair on "
            "CIFAR-100, rising over the first 20 epochs; here it is there from the first step. "
            "Labels beside it."
        ),
        notes=(
            "Taps are in the order of the stages. The fusion has batch normalisation, and so "
            "compares the samples of a batch; it is trained with the student and not kept."
        ),
    ),
    make=_Review,
    weight=1.0,
    kinds=("maps",),
    options=ReviewOptions,
    fewest_taps=2,
    whole_batch=True,
)
