"""MGD: the teacher's map, generated from the student's with channels masked."""

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn

from limbeck.losses.features import channel_mask, masked_generation
from limbeck.methods._method import Card, Options, Paper
from limbeck.methods.features._method import FeatureMethod, Pair, each
from limbeck.methods.features._shapes import of_one_size, to_teacher
from limbeck.signals import Batch


class GenerationOptions(Options):
    """How much is masked."""

    mask_ratio: Annotated[float, Field(ge=0, lt=1)] = 0.15
    """How probable it is that a channel is masked, from 0, where the generator alone is between the
    two, up to 1, which is left out."""


class _Generation(nn.Module):
    def __init__(self, pair: Pair, *, mask_ratio: float) -> None:
        super().__init__()
        _, channels = pair.channels
        self.align = to_teacher(pair)
        self.generator = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(channels, channels, 3, padding=1),
        )
        self._ratio = mask_ratio

    def forward(self, student: Tensor, teacher: Tensor, batch: Batch) -> Tensor:
        aligned, teacher = of_one_size(self.align(student), teacher)
        mask = channel_mask(aligned, ratio=self._ratio, generator=torch.default_generator)
        return masked_generation(self.generator(aligned * mask), teacher)


generation = FeatureMethod(
    card=Card(
        line="Masked generation (MGD): the teacher's map from the student's, channels masked.",
        paper=Paper(authors="Yang et al.", year=2022, link="https://arxiv.org/abs/2205.01529"),
        formula="sum of (generator(align(student) mask) - teacher)^2",
        when="Convolutional networks, as fitnets; the last map.",
        cost=286.7,
        hurt=5.5,
        setting="feature_weight = 7e-5 and mask_ratio = 0.15 on ImageNet, with labels.",
        notes=(
            "It sums over all numbers of a map: with another size another feature_weight. The "
            "masks are drawn anew at every step. Maps of two sizes are pooled to the smaller."
        ),
    ),
    make=each(_Generation),
    weight=7e-5,
    kinds=("maps",),
    options=GenerationOptions,
)
