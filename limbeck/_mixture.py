"""What several teachers say together: the weighted mean of their probabilities; and the weights.

Not of their logits. For each sample, teachers are weighed by who they are, how sure they are, or
how right they were about such samples.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from limbeck._errors import OptionError
from limbeck._lookup import check_choice
from limbeck.signals import Batch, Head, Space


def mixture(values: Tensor, weights: Tensor, space: Space) -> Tensor:
    r"""$\sum_k w_k p_k$, as its logarithm: $\mathrm{logsumexp}_k (\log p_k + \log w_k)$.

    Args:
        values: `(teachers, samples, ..., size)`: logits of classes, log-odds, or numbers.
        weights: `(samples, teachers)`, 0 or more, 1 in sum.
        space: What they are of. Numbers are averaged as they are.

    Returns:
        `(samples, ..., size)`: log-probabilities, log-odds of the mean, or the mean.
    """
    weight = weights.T.reshape(*weights.T.shape, *[1] * (values.dim() - 2))
    if space == "real":
        return (weight * values).sum(dim=0)
    if space == "binary":
        log = weight.log()
        yes = torch.logsumexp(F.logsigmoid(values) + log, dim=0)
        return yes - torch.logsumexp(F.logsigmoid(-values) + log, dim=0)
    return torch.logsumexp(F.log_softmax(values, dim=-1) + weight.log(), dim=0)


@dataclass(frozen=True, kw_only=True)
class Weighing:
    """How teachers are weighed, sample by sample."""

    weigh: Callable[[Tensor, Tensor], Tensor]
    """From probabilities, `(teachers, samples, rows, classes)`, and trust, `(teachers, classes)`,
    to weights, `(samples, teachers)`, 0 or more, of any sum."""
    of_classes: bool = True
    """Whether it looks at the probabilities of classes."""
    learned: bool = False
    """Whether it looks at the trust that teachers earned on validation data."""
    by_student: bool = False
    """Whether a student's loss weighs them anew at every step, as `agreed` says; `weigh` is then
    for those who look at the teachers alone."""


def mean(probabilities: Tensor, trust: Tensor) -> Tensor:
    """All alike."""
    return torch.ones(probabilities.shape[1], probabilities.shape[0]).to(probabilities.device)


def confidence(probabilities: Tensor, trust: Tensor) -> Tensor:
    """By the probability of each teacher's first choice, the mean over the rows of a sample."""
    return probabilities.amax(dim=-1).mean(dim=-1).T


def most_confident(probabilities: Tensor, trust: Tensor) -> Tensor:
    """One teacher answers: that whose first choice is the most probable; of equals the first."""
    sure = confidence(probabilities, trust)
    return F.one_hot(sure.argmax(dim=-1), sure.shape[-1]).to(sure.dtype)


def by_class(probabilities: Tensor, trust: Tensor) -> Tensor:
    """By how far each teacher is to be trusted with the classes that all together see there.

    That is the mean of its trust over the classes, weighted by the mean probability that the
    teachers give them.
    """
    seen = probabilities.mean(dim=(0, 2))  # (samples, classes)
    return seen @ trust.to(seen).T


WEIGHINGS: dict[str, Weighing] = {
    "mean": Weighing(weigh=mean, of_classes=False),
    "confidence": Weighing(weigh=confidence),
    "most_confident": Weighing(weigh=most_confident),
    "by_class": Weighing(weigh=by_class, learned=True),
    "agreement": Weighing(weigh=mean, of_classes=False, by_student=True),
}
"""How teachers are weighed, by name."""


def check_weighing(name: str, head: Head, batch: Batch) -> None:
    """Refuse teachers that cannot be weighed so.

    Args:
        name: One of `WEIGHINGS`.
        head: What is looked at.
        batch: Some samples.

    Raises:
        OptionError: There is no such way, or it is not for this head, or not for these samples.
    """
    check_choice("ensemble.how", name, tuple(WEIGHINGS))
    if WEIGHINGS[name].of_classes and batch.mask is not None:
        raise OptionError(
            f'ensemble.how = "{name}" looks at all rows of a sample, and some of these are '
            'padding. Set it to "mean".'
        )
    if WEIGHINGS[name].of_classes and head.space != "categorical":
        raise OptionError(
            f'ensemble.how = "{name}" is for categorical heads, and head {head.name} is '
            f'{head.space}. Set it to "mean".'
        )


def weights_of(name: str, probabilities: Tensor, prior: Tensor, trust: Tensor) -> Tensor:
    """The weights of each sample, `(samples, teachers)`, 1 in sum.

    Args:
        name: One of `WEIGHINGS`.
        probabilities: `(teachers, samples, rows, classes)`; any numbers, where they do not count.
        prior: `(teachers,)`: what each weight is multiplied by, above 0.
        trust: `(teachers, classes)`: the share that each has right of each class, 0..1.
    """
    weights = WEIGHINGS[name].weigh(probabilities, trust) * prior.to(probabilities)
    return weights / weights.sum(dim=-1, keepdim=True)


def trust_of(rows: Tensor, labels: Tensor) -> Tensor:
    """The share of each class that a teacher has right, one right and one wrong added to each.

    So that a class that was never seen is trusted as chance of two is, and none is trusted never.

    Args:
        rows: `(samples, classes)`: what it said.
        labels: `(samples,)`: what was true.
    """
    classes = rows.shape[-1]
    right = labels[rows.argmax(dim=-1) == labels]
    hits = torch.bincount(right, minlength=classes).double()
    return ((hits + 1) / (torch.bincount(labels, minlength=classes) + 2)).float()
