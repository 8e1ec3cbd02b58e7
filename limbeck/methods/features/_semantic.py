"""SemCKD: every layer of the student from those of the teacher that see samples as it does."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from limbeck.losses.features import semantic_calibration
from limbeck.methods._method import Card, Paper
from limbeck.methods.features._method import FeatureMethod, Pair
from limbeck.methods.features._shapes import of_one_size
from limbeck.signals import Batch


def _projection(inputs: int, outputs: int) -> nn.Sequential:
    """From a layer of the student's to one of the teacher's, over the neighbours of a position."""
    middle = 2 * outputs
    return nn.Sequential(
        nn.Conv2d(inputs, middle, 1, bias=False),
        nn.BatchNorm2d(middle),
        nn.ReLU(),
        nn.Conv2d(middle, middle, 3, padding=1, bias=False),
        nn.BatchNorm2d(middle),
        nn.ReLU(),
        nn.Conv2d(middle, outputs, 1, bias=False),
    )


class _Attention(nn.Module):
    """How much each pair of layers has to do with each other, sample by sample.

    By a bilinear form of how alike the sample is to the others of the batch, in either layer. One
    that takes no notice of the order of the others has two numbers: what it multiplies the scalar
    product by, and the product of both sums.
    """

    def __init__(self, layers: int, teacher_layers: int) -> None:
        super().__init__()
        self.of_product = nn.Parameter(torch.ones(layers, teacher_layers))
        self.of_sums = nn.Parameter(torch.zeros(layers, teacher_layers))

    def forward(self, student: Sequence[Tensor], teacher: Sequence[Tensor]) -> Tensor:
        """`(batch, layers, teacher layers)`, each row of which sums to 1."""
        ours, theirs = (
            torch.stack([_likeness(layer) for layer in side], dim=1) for side in (student, teacher)
        )  # (batch, layers, batch), (batch, teacher layers, batch)
        products = ours @ theirs.mT
        sums = ours.mean(dim=2)[:, :, None] * theirs.sum(dim=2)[:, None]
        return (self.of_product * products + self.of_sums * sums).softmax(dim=2)


def _likeness(maps: Tensor) -> Tensor:
    """How alike each sample is to each of the batch, a row at length 1, `(batch, batch)`."""
    flat = maps.flatten(1)
    return nn.functional.normalize(flat @ flat.mT, dim=1)


class _Semantic(nn.Module):
    def __init__(self, pairs: Sequence[Pair]) -> None:
        super().__init__()
        self.projections = nn.ModuleList(
            nn.ModuleList(_projection(one.student[0], other.teacher[0]) for other in pairs)
            for one in pairs
        )
        self.attention = _Attention(len(pairs), len(pairs))

    def forward(self, student: Sequence[Tensor], teacher: Sequence[Tensor], batch: Batch) -> Tensor:
        teacher = [layer.to(student[0].dtype) for layer in teacher]
        projected: list[list[Tensor]] = []
        targets: list[list[Tensor]] = []
        for ours, row in zip(student, self.projections, strict=True):
            assert isinstance(row, nn.ModuleList)
            alike = [of_one_size(ours, theirs) for theirs in teacher]
            projected.append([to(mine) for to, (mine, _) in zip(row, alike, strict=True)])
            targets.append([theirs for _, theirs in alike])
        return semantic_calibration(projected, targets, self.attention(student, teacher))


semantic = FeatureMethod(
    card=Card(
        line="Semantic calibration (SemCKD): each layer from those of the teacher that fit it.",
        paper=Paper(authors="Chen et al.", year=2021, link="https://arxiv.org/abs/2012.03236"),
        formula=(
            "mean over student layers i of sum over teacher layers j of a_ij mean of "
            "(projection_ij(s_i) - t_j)^2, a = softmax over j of what the two have in common"
        ),
        when=(
            "Convolutional networks of different depth, where it is not known which layers belong "
            "together. Taps name the layers of both; which stand beside each other does not matter."
        ),
        cost=724.8,
        hurt=5.4,
        setting="feature_weight = 400 on CIFAR-100, with labels and soft targets.",
        notes=(
            "Every layer is paired with every one: taps x taps projections of three convolutions, "
            "twice as wide as the teacher's map, which may cost more than the student; none is "
            "kept. They have batch normalisation, and so compare the samples of a batch, as the "
            "attention does. That is a softmax of a bilinear form of how alike samples are, which "
            "takes a batch of any size in any order; the code has an MLP over the places in a "
            "batch of fixed size."
        ),
    ),
    make=_Semantic,
    weight=400.0,
    kinds=("maps",),
    fewest_taps=2,
    whole_batch=True,
)
