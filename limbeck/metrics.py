"""Metrics: what a model's answers are worth, and how near two models' answers are.

Every function takes rows of any leading shape, `(..., size)`, and gives one number.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from limbeck._errors import OptionError, did_you_mean
from limbeck.signals import Head, Space

BINS = 15
"""Bins of equal width of the expected calibration error."""


@dataclass(frozen=True, kw_only=True)
class Metric:
    """A score, and which way is better."""

    name: str
    higher_is_better: bool
    space: Space
    """The heads it is for."""
    score: Callable[[Tensor, Tensor], float]
    """From rows `(..., size)` and labels to the score in its own unit."""

    def is_better(self, score: float, other: float) -> bool:
        """Whether one score is better than another."""
        return score > other if self.higher_is_better else score < other


def accuracy(logits: Tensor, labels: Tensor) -> float:
    """Fraction of rows `(..., classes)` whose largest logit is at the label `(...)`, 0..1."""
    return float((logits.argmax(-1) == labels).double().mean())


def mean_cross_entropy(logits: Tensor, labels: Tensor) -> float:
    """Mean negative log-probability of the labels, in nats per row."""
    return float(F.cross_entropy(logits.double().flatten(0, -2), labels.flatten()))


def exact_match(logits: Tensor, labels: Tensor) -> float:
    """Fraction of rows all of whose yes-or-no classes, at a threshold of 0.5, are right, 0..1."""
    return float(((logits > 0) == (labels > 0.5)).all(-1).double().mean())


def root_mean_squared_error(numbers: Tensor, labels: Tensor) -> float:
    """Square root of the mean squared difference, in the labels' unit."""
    return float((numbers.double() - labels.double()).square().mean().sqrt())


METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric(name="accuracy", higher_is_better=True, space="categorical", score=accuracy),
        Metric(
            name="cross_entropy",
            higher_is_better=False,
            space="categorical",
            score=mean_cross_entropy,
        ),
        Metric(name="exact_match", higher_is_better=True, space="binary", score=exact_match),
        Metric(name="rmse", higher_is_better=False, space="real", score=root_mean_squared_error),
    )
}
"""Metrics by name. The first one of a space is its default."""


def metric_for(head: Head, name: str | None = None) -> Metric:
    """The named metric, or the first one for a head of that space.

    Raises:
        OptionError: It does not exist, or is not for that head.
    """
    fitting = [metric for metric in METRICS.values() if metric.space == head.space]
    if name is None:
        return fitting[0]
    names = ", ".join(metric.name for metric in fitting)
    if name not in METRICS:
        raise OptionError(
            f"no metric is called {name!r}.{did_you_mean(name, METRICS)} For these labels: {names}."
        )
    if METRICS[name] not in fitting:
        raise OptionError(
            f"metric {name} is for {METRICS[name].space} labels, the data's are {head.space}. "
            f"For these: {names}."
        )
    return METRICS[name]


def agreement(logits: Tensor, other: Tensor) -> float:
    """Fraction of rows whose most probable class is the same, 0..1."""
    return float((logits.argmax(-1) == other.argmax(-1)).double().mean())


def agreement_when_wrong(logits: Tensor, teacher: Tensor, labels: Tensor) -> float | None:
    """`agreement` over the rows where the teacher is wrong; None if it never is."""
    wrong = teacher.argmax(-1) != labels
    return agreement(logits[wrong], teacher[wrong]) if bool(wrong.any()) else None


def mean_kl(student: Tensor, teacher: Tensor) -> float:
    """Mean KL(teacher || student) at temperature 1, in nats per row."""
    taught, said = F.log_softmax(teacher.double(), -1), F.log_softmax(student.double(), -1)
    gap = (taught - said).masked_fill(taught == float("-inf"), 0.0)
    return float((taught.exp() * gap).sum(-1).mean())


@dataclass(frozen=True, kw_only=True)
class Bins:
    """Rows by confidence: `(BINS,)` each."""

    confidence: Tensor
    """Mean largest probability of the bin's rows; the bin's middle where there is none."""
    accuracy: Tensor
    """Fraction of them that are right; 0 where there is none."""
    count: Tensor
    """How many there are."""


def reliability(logits: Tensor, labels: Tensor) -> Bins:
    """Confidence against accuracy in bins of equal width (Guo et al., 2017, section 2)."""
    confidence, predicted = torch.softmax(logits.double(), -1).max(-1)
    confidence, right = confidence.flatten(), (predicted == labels).flatten().double()  # (rows,)
    bin_of = (confidence * BINS).ceil().clamp(1, BINS).long() - 1  # (rows,)
    count = torch.bincount(bin_of, minlength=BINS)
    some = count.clamp_min(1)
    middle = (torch.arange(BINS, dtype=torch.double) + 0.5) / BINS
    mean_confidence = torch.bincount(bin_of, weights=confidence, minlength=BINS) / some
    return Bins(
        confidence=torch.where(count > 0, mean_confidence, middle),
        accuracy=torch.bincount(bin_of, weights=right, minlength=BINS) / some,
        count=count,
    )


def expected_calibration_error(logits: Tensor, labels: Tensor) -> float:
    """Mean over rows of |accuracy - confidence| of their bin, 0..1 (Guo et al., 2017, eq. 3)."""
    bins = reliability(logits, labels)
    gap = (bins.accuracy - bins.confidence).abs()
    return float((gap * bins.count).sum() / bins.count.sum())
