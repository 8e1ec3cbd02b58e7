"""CTKD: a temperature that is learned against the student, harder and harder."""

import math

import torch
from torch import Tensor, nn

from limbeck.losses import soft_targets
from limbeck.methods._method import Card, Method, NotNegative, Options, Paper, Positive
from limbeck.methods._paced import Paced
from limbeck.methods._terms import DISTANCE


class CtkdOptions(Options):
    """Where the temperature may go, and when it begins to."""

    lowest: Positive = 1.0
    """The temperature is above this, above 0: near 0 the targets may become hard ones, and where
    it is large no class stands out."""
    span: Positive = 20.0
    """And below `lowest` + `span`, above 0: near 0 it is fixed."""
    first: float = 1.0
    """Where it begins: `lowest` + `span` * sigmoid(`first`), 15.6 by default; any number. Far
    below 0 it begins at `lowest`, far above at the other end, and hardly leaves it."""
    loops: NotNegative = 10.0
    """Epochs over which it is moved harder and harder, along a cosine, 0 or more; at 0 it is moved
    fully from the first step."""
    strength: NotNegative = 1.0
    """How hard it is moved in the end, 0 or more; at 0 it stays where it begins."""


class LearnedTemperature(Paced):
    r"""Soft targets at $T = lowest + span \cdot \sigma(\theta)$, $\theta$ learned by ascent.

    What is learned takes the gradient of the loss the other way round, times
    $\lambda = strength \cdot (1 - \cos(\pi \min(epoch / loops, 1))) / 2$ (section 3.3 of the
    paper).

    Args: those of `CtkdOptions`.
    """

    def __init__(
        self, *, lowest: float, span: float, first: float, loops: float, strength: float
    ) -> None:
        super().__init__()
        self.theta = nn.Parameter(torch.tensor(first))
        self._lowest, self._span = lowest, span
        self._loops, self._strength = loops, strength

    def forward(self, student: Tensor, teacher: Tensor) -> Tensor:
        """One value per row, `(...)`, from logits of both sides `(..., classes)`."""
        done = min(self.epochs / self._loops, 1.0) if self._loops else 1.0
        turned = -self._strength * (1 - math.cos(math.pi * done)) / 2
        # Of the value of theta, and of `turned` times its gradient.
        theta = self.theta.detach() + turned * (self.theta - self.theta.detach())
        temperature = self._lowest + self._span * torch.sigmoid(theta)
        return soft_targets(student, teacher, temperature=temperature)


ctkd = Method(
    card=Card(
        called=("curriculum_temperature",),
        line="Soft targets at a temperature that is learned to be hard for the student (CTKD).",
        paper=Paper(authors="Li et al.", year=2023, link="https://arxiv.org/abs/2211.16231"),
        formula="T^2 KL(softmax(teacher / T) || softmax(student / T)), T = lowest + span s(theta)",
        when="No temperature is known to be right, and training has some dozen epochs or more.",
        cost=9.9,
        setting="soft_weight = 0.9, hard_weight = 0.1; loops = 10 of 240 epochs.",
        notes=(
            "Its temperature is its own, one for all samples: distil.temperature has no part in "
            "it. It is moved by the student's optimiser, weight decay included, at the student's "
            "learning rate, and begins at 15.6, which is high for soft_weight = 1 alone. With "
            "several students each has its own. Of the paper's two ways this is Global-T; lskd has "
            "a temperature for each sample, which is not learned. Rows of few classes do not do: "
            "their tail is of one temperature alone."
        ),
    ),
    dense={"categorical": soft_targets},
    learns=LearnedTemperature,
    options=CtkdOptions,
    promises=DISTANCE,
)
