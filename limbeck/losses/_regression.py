"""Losses for numbers with their uncertainty: Gaussians, and quantiles."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from limbeck._errors import OptionError, ShapeError
from limbeck._shapes import check_leading_shape, check_same_shape
from limbeck.losses._soft_targets import at_least_float32


def gaussian_kl(
    student_mean: Tensor,
    student_log_variance: Tensor,
    teacher_mean: Tensor,
    teacher_log_variance: Tensor,
) -> Tensor:
    r"""KL divergence from the teacher's Gaussians to the student's, summed over a row's numbers.

    With $\mu, \sigma^2$ of the student and $m, v$ of the teacher, computes
    $\frac{1}{2} \sum (\log(\sigma^2 / v) + (v + (m - \mu)^2) / \sigma^2 - 1)$. It is 0 where both
    agree in mean and variance and nowhere else. A teacher without variances is `gaussian_nll`'s
    target.

    Args:
        student_mean: $\mu$, shape `(..., numbers)`.
        student_log_variance: $\log \sigma^2$, shape `(..., numbers)`: any number, so that a layer
            can give it.
        teacher_mean: $m$, shape `(..., numbers)`. No gradient flows into the teacher's.
        teacher_log_variance: $\log v$, shape `(..., numbers)`.

    Returns:
        One loss per row, in nats, shape `(...)`.

    Raises:
        ShapeError: The shapes differ.
    """
    check_same_shape(
        student_mean=student_mean,
        student_log_variance=student_log_variance,
        teacher_mean=teacher_mean,
        teacher_log_variance=teacher_log_variance,
    )
    log_variance = at_least_float32(student_log_variance)
    log_ratio = at_least_float32(teacher_log_variance.detach()) - log_variance  # (..., numbers)
    gap = at_least_float32(student_mean) - at_least_float32(teacher_mean.detach())
    # In the variances' ratio r it is r - 1 - log r, which expm1 keeps exact near 1.
    each = torch.expm1(log_ratio) - log_ratio + gap.square() * (-log_variance).exp()
    return each.sum(dim=-1) / 2


def gaussian_nll(student_mean: Tensor, student_log_variance: Tensor, target: Tensor) -> Tensor:
    r"""Negative log-likelihood of numbers under the student's Gaussians, summed over a row's.

    Computes $\frac{1}{2} \sum (\log(2 \pi \sigma^2) + (t - \mu)^2 / \sigma^2)$; the target may be
    a label or a teacher's answer. For a given error it is lowest where $\sigma^2$ is the square of
    it; it has no bound below, and is negative where the student is sure and right.

    Args:
        student_mean: $\mu$, shape `(..., numbers)`.
        student_log_variance: $\log \sigma^2$, shape `(..., numbers)`, any number.
        target: $t$, shape `(..., numbers)`. No gradient flows into it.

    Returns:
        One loss per row, in nats, shape `(...)`.

    Raises:
        ShapeError: The shapes differ.
    """
    check_same_shape(
        student_mean=student_mean, student_log_variance=student_log_variance, target=target
    )
    log_variance = at_least_float32(student_log_variance)
    gap = at_least_float32(student_mean) - at_least_float32(target.detach())  # (..., numbers)
    each = math.log(2 * math.pi) + log_variance + gap.square() * (-log_variance).exp()
    return each.sum(dim=-1) / 2


def pinball(student_quantiles: Tensor, target: Tensor, *, levels: Sequence[float]) -> Tensor:
    r"""Mean over quantiles of the pinball loss (Koenker and Bassett, 1978).

    https://doi.org/10.2307/1913643. For the quantile $q$ of level $\tau$ it is
    $\max(\tau (t - q), (\tau - 1)(t - q))$: on average over targets lowest where a share $\tau$ of
    them is below $q$. The target may be a label or a teacher's answer; for a teacher that answers
    with samples, give each of them and take the mean. At one half it is half the absolute error.

    Args:
        student_quantiles: $q$, shape `(..., levels)`.
        target: $t$, shape `(...)`. No gradient flows into it.
        levels: $\tau$ of each quantile, above 0 and below 1: near 0 only a quantile above its
            target costs something, near 1 only one below.

    Returns:
        One loss per row, in the unit of the numbers, shape `(...)`.

    Raises:
        OptionError: A level is out of its range.
        ShapeError: The shapes do not fit, or `levels` are not as many as the quantiles.
    """
    for level in levels:
        if not 0 < level < 1:
            raise OptionError(f"levels must be above 0 and below 1, got {level}.")
    check_leading_shape(last="levels", student_quantiles=student_quantiles, target=target)
    if len(levels) != student_quantiles.shape[-1]:
        raise ShapeError(
            f"student_quantiles must have one quantile for each of the {len(levels)} levels, got "
            f"{tuple(student_quantiles.shape)}."
        )
    student = at_least_float32(student_quantiles)
    gap = at_least_float32(target.detach())[..., None] - student  # (..., levels)
    tau = torch.tensor(levels, dtype=gap.dtype, device=gap.device)
    return torch.maximum(tau * gap, (tau - 1) * gap).mean(dim=-1)
