r"""Other ways to compare two distributions than soft targets, which are the forward KL divergence.

Reverse KL and the generalised Jensen-Shannon divergence are from GKD (Agarwal et al., 2024,
https://arxiv.org/abs/2306.13649), the skew divergences from DistiLLM (Ko et al., 2024,
https://arxiv.org/abs/2402.03898), total variation from f-distillation (Wen et al., 2023,
https://arxiv.org/abs/2307.15190).

None of these papers softens both sides, so the temperature is 1 unless it is given. At another one
we multiply by T², as for soft targets, where their code does not: one convention everywhere.
"""

import math

import torch
from torch import Tensor

from limbeck._errors import OptionError
from limbeck.losses._soft_targets import LOWEST, log_probabilities, relative_entropy


def reverse_kl(
    student_logits: Tensor, teacher_logits: Tensor, *, temperature: float = 1.0
) -> Tensor:
    r"""KL divergence from the student's distribution to the teacher's.

    Computes $T^2 \, KL(q \,\|\, p) = T^2 \sum_c q_c \log(q_c / p_c)$ with $p = softmax(t / T)$,
    $q = softmax(s / T)$. A student that cannot say all keeps to what the teacher would, where
    `soft_targets` would have it cover everything. Infinite where the teacher excludes a class that
    the student does not.

    Args:
        student_logits: $s$, shape `(..., classes)`.
        teacher_logits: $t$, shape `(..., classes)`. No gradient flows into it.
        temperature: $T > 0$, as in `soft_targets`.

    Returns:
        One loss per row, in nats times $T^2$, shape `(...)`.

    Raises:
        OptionError: `temperature` is not above 0.
        ShapeError: The two shapes differ.
    """
    student, teacher = log_probabilities(student_logits, teacher_logits, temperature=temperature)
    return temperature**2 * relative_entropy(student, teacher)


def jensen_shannon(
    student_logits: Tensor,
    teacher_logits: Tensor,
    *,
    teacher_share: float = 0.5,
    temperature: float = 1.0,
) -> Tensor:
    r"""Generalised Jensen-Shannon divergence: both sides against their mixture.

    With $m = \beta p + (1 - \beta) q$, computes $T^2 (\beta \, KL(p \,\|\, m) + (1 - \beta) \,
    KL(q \,\|\, m))$, equation 1 of GKD. At one half it is symmetric; it is never above the entropy
    of $\beta$, which is $\log 2$ there, times $T^2$.

    Args:
        student_logits: $s$, shape `(..., classes)`.
        teacher_logits: $t$, shape `(..., classes)`. No gradient flows into it.
        teacher_share: $\beta$, above 0 and below 1. The loss vanishes at both ends: divided by
            $\beta$ it nears `soft_targets` at 0, by $1 - \beta$ `reverse_kl` at 1. Other code takes
            these as its values at the ends, and so jumps there; we do not.
        temperature: $T > 0$, as in `soft_targets`.

    Returns:
        One loss per row, in nats times $T^2$, shape `(...)`.

    Raises:
        OptionError: An option is out of its range.
        ShapeError: The two shapes differ.
    """
    if not 0 < teacher_share < 1:
        raise OptionError(
            f"teacher_share must be above 0 and below 1, got {teacher_share}. For the limits at 0 "
            "and at 1 take soft_targets and reverse_kl."
        )
    student, teacher = log_probabilities(student_logits, teacher_logits, temperature=temperature)
    mixture = _log_mixture(teacher_share, teacher, student)
    of_teacher, of_student = relative_entropy(teacher, mixture), relative_entropy(student, mixture)
    return temperature**2 * (teacher_share * of_teacher + (1 - teacher_share) * of_student)


def skew_kl(
    student_logits: Tensor, teacher_logits: Tensor, *, skew: float = 0.1, temperature: float = 1.0
) -> Tensor:
    r"""KL divergence from the teacher's distribution to the student's with some of it mixed in.

    Computes $T^2 \, KL(p \,\|\, \alpha p + (1 - \alpha) q)$, of DistiLLM; never above
    $-\log \alpha$ times $T^2$, and neither is its gradient without bound.

    Args:
        student_logits: $s$, shape `(..., classes)`.
        teacher_logits: $t$, shape `(..., classes)`. No gradient flows into it.
        skew: $\alpha$, from 0, where it is `soft_targets`, to below 1, where it vanishes.
        temperature: $T > 0$, as in `soft_targets`.

    Returns:
        One loss per row, in nats times $T^2$, shape `(...)`.

    Raises:
        OptionError: An option is out of its range.
        ShapeError: The two shapes differ.
    """
    _check_skew(skew)
    student, teacher = log_probabilities(student_logits, teacher_logits, temperature=temperature)
    return temperature**2 * relative_entropy(teacher, _log_mixture(skew, teacher, student))


def skew_reverse_kl(
    student_logits: Tensor, teacher_logits: Tensor, *, skew: float = 0.1, temperature: float = 1.0
) -> Tensor:
    r"""KL divergence from the student's distribution to the teacher's with some of it mixed in.

    Computes $T^2 \, KL(q \,\|\, (1 - \alpha) p + \alpha q)$, of DistiLLM; never above
    $-\log \alpha$ times $T^2$, also where the teacher excludes a class that the student does not.

    Args:
        student_logits: $s$, shape `(..., classes)`.
        teacher_logits: $t$, shape `(..., classes)`. No gradient flows into it.
        skew: $\alpha$, from 0, where it is `reverse_kl`, to below 1, where it vanishes.
        temperature: $T > 0$, as in `soft_targets`.

    Returns:
        One loss per row, in nats times $T^2$, shape `(...)`.

    Raises:
        OptionError: An option is out of its range.
        ShapeError: The two shapes differ.
    """
    _check_skew(skew)
    student, teacher = log_probabilities(student_logits, teacher_logits, temperature=temperature)
    return temperature**2 * relative_entropy(student, _log_mixture(skew, student, teacher))


def total_variation(
    student_logits: Tensor, teacher_logits: Tensor, *, temperature: float = 1.0
) -> Tensor:
    r"""Total variation distance: the largest difference in the probability of any set of classes.

    Computes $T^2 \frac{1}{2} \sum_c |p_c - q_c|$, between 0 and $T^2$. It is of first order in the
    difference of the logits, so that $T^2$, the factor of all its siblings, lets its gradient grow
    with $T$.

    Args:
        student_logits: $s$, shape `(..., classes)`.
        teacher_logits: $t$, shape `(..., classes)`. No gradient flows into it.
        temperature: $T > 0$, as in `soft_targets`.

    Returns:
        One loss per row, shape `(...)`.

    Raises:
        OptionError: `temperature` is not above 0.
        ShapeError: The two shapes differ.
    """
    student, teacher = log_probabilities(student_logits, teacher_logits, temperature=temperature)
    return temperature**2 * (student.exp() - teacher.exp()).abs().sum(dim=-1) / 2


def _check_skew(skew: float) -> None:
    if not 0 <= skew < 1:
        raise OptionError(f"skew must be 0 or more and below 1, got {skew}.")


def _log_mixture(share: float, one: Tensor, other: Tensor) -> Tensor:
    """Logarithm of `share` of one distribution and the rest of the other, from their logarithms.

    In log-space, for a mixture of probabilities underflows. Where both are 0 it is a large finite
    number, for the gradient of the logarithm of 0 is none.
    """
    one, other = one.clamp_min(LOWEST), other.clamp_min(LOWEST)
    log_share = math.log(share) if share > 0 else -math.inf
    return torch.logaddexp(one + log_share, other + math.log1p(-share))
