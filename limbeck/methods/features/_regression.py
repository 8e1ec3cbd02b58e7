"""SRRL: the teacher's last layer reads the student's features as it reads the teacher's."""

import torch
from pydantic import model_validator
from torch import Tensor, nn

from limbeck.losses.features import softmax_regression
from limbeck.methods._method import Card, NotNegative, Options, Paper, one_above_zero
from limbeck.methods.features._method import FeatureMethod, Pair, each
from limbeck.methods.features._shapes import vectors
from limbeck.signals import Batch


class RegressionOptions(Options):
    """How much each half counts."""

    features_weight: NotNegative = 1.0
    """Of the features' error, 0 or more; 0 leaves what the last layer sees of it."""
    logits_weight: NotNegative = 1.0
    """Of that of the logits of them, 0 or more; 0 leaves hints of the averaged features."""

    @model_validator(mode="after")
    def _one_is_left(self) -> "RegressionOptions":
        one_above_zero(features_weight=self.features_weight, logits_weight=self.logits_weight)
        return self


class _Regression(nn.Module):
    def __init__(self, pair: Pair, *, features_weight: float, logits_weight: float) -> None:
        super().__init__()
        last = pair.teacher_classifier
        self.connector = nn.Linear(*pair.channels)
        self.teacher_weight = nn.Buffer(
            last.weight.detach().clone()
            if isinstance(last, nn.Linear)
            else torch.eye(pair.channels[1])  # what it reads are logits already
        )
        self._weights = {"features_weight": features_weight, "logits_weight": logits_weight}

    def forward(self, student: Tensor, teacher: Tensor, batch: Batch) -> Tensor:
        # The mean first: it is the same for a linear connector, and cheaper.
        ours = self.connector(vectors(student, batch))
        return softmax_regression(
            ours, vectors(teacher, batch), self.teacher_weight, **self._weights
        )


regression = FeatureMethod(
    card=Card(
        line="Softmax regression (SRRL): the teacher's last layer reads both sides' features.",
        paper=Paper(
            authors="Yang et al.", year=2021, link="https://openreview.net/forum?id=ZzwDy_wiWv"
        ),
        formula=(
            "features_weight mean of (s - t)^2 + logits_weight mean of (W s - W t)^2, s = "
            "connector(student), averaged over positions as t is, W the teacher's last layer"
        ),
        when=(
            "Taps of what the last layers read, averaged or not. What matters in the features is "
            "then said by what the teacher makes of them."
        ),
        cost=1.3,
        hurt=1.7,
        setting=(
            "feature_weight = 1, features_weight = 1, and logits_weight = 1 on ImageNet and 5 on "
            "CIFAR-100 in later code, with labels."
        ),
        notes=(
            "The connector is a linear layer, not kept; in the code a 1 x 1 convolution with batch "
            "normalisation and ReLU. The last layer is found as the one that answers from the "
            "teacher's tap. It is not in stored features: limbeck.distil then needs the teacher "
            "itself."
        ),
    ),
    make=each(_Regression),
    weight=1.0,
    kinds=("maps", "vectors"),
    options=RegressionOptions,
    same_kind=False,
    classifiers=("teacher",),
)
