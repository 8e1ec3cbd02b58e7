"""VID: the teacher's features under a Gaussian that the student gives."""

import math
from functools import partial
from typing import Annotated

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from limbeck.losses.features import variational_information
from limbeck.methods._method import Card, Options, Paper
from limbeck.methods.features._method import FeatureMethod, Pair, each
from limbeck.methods.features._shapes import Projection, by_position
from limbeck.signals import Batch

SMALLEST = 1e-5
"""The least variance."""


class VariationalOptions(Options):
    """Where the learned variance begins."""

    first_variance: Annotated[float, Field(gt=SMALLEST)] = 5.0
    """Of every channel, above 1e-5: the smaller, the more features weigh from the start."""


class _Variational(nn.Module):
    def __init__(self, pair: Pair, *, first_variance: float) -> None:
        super().__init__()
        inputs, outputs = pair.channels
        kind = len(pair.student)
        self.mean = nn.Sequential(
            Projection(kind, inputs, outputs),
            nn.ReLU(),
            Projection(kind, outputs, outputs),
            nn.ReLU(),
            Projection(kind, outputs, outputs),
        )
        above = first_variance - SMALLEST
        softness = above + math.log(-math.expm1(-above))  # softplus of it is `above`
        self.softness = nn.Parameter(torch.full((outputs,), softness))

    def forward(self, student: Tensor, teacher: Tensor, batch: Batch) -> Tensor:
        log_variance = (F.softplus(self.softness) + SMALLEST).log()
        loss = partial(variational_information, log_variance=log_variance)
        return by_position(loss, self.mean(student), teacher, batch)


variational = FeatureMethod(
    card=Card(
        line="Variational information (VID): hints, with a variance of each channel learned.",
        paper=Paper(authors="Ahn et al.", year=2019, link="https://arxiv.org/abs/1904.05835"),
        formula="mean of ((mean(student) - teacher)^2 / v_c + log v_c) / 2, v_c learned",
        when=(
            "As fitnets, where some of the teacher's channels cannot be learned: their variance "
            "grows, and they weigh little. One tap for each stage."
        ),
        cost=81.5,
        setting="feature_weight = 1 on CIFAR-100, with labels; a variance of 5 at first.",
        notes=(
            "The mean is given by three 1 x 1 convolutions, or linear layers of tokens and "
            "vectors, with ReLU between; trained with the student and not kept. The loss may be "
            "below 0."
        ),
    ),
    make=each(_Variational),
    weight=1.0,
    kinds=("maps", "tokens", "vectors"),
    options=VariationalOptions,
)
