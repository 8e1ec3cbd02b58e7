"""Alpha-beta divergence, ABKD (Wang et al., 2025, https://arxiv.org/abs/2505.04560)."""

import torch
from torch import Tensor

from limbeck._errors import OptionError
from limbeck.losses._soft_targets import log_probabilities


def alpha_beta(
    student_logits: Tensor,
    teacher_logits: Tensor,
    *,
    teacher_power: float = 0.8,
    student_power: float = 0.3,
    temperature: float = 1.0,
) -> Tensor:
    r"""Alpha-beta divergence: a family with `soft_targets` and `reverse_kl` at two of its corners.

    With $\alpha$ and $\beta$ the powers of the teacher's $p$ and the student's $q$, computes
    $\frac{T^2}{\alpha \beta} \sum_c (\frac{\alpha}{\alpha + \beta} p_c^{\alpha + \beta} +
    \frac{\beta}{\alpha + \beta} q_c^{\alpha + \beta} - p_c^\alpha q_c^\beta)$, and its limits where
    a power is 0. (1, 0) is the KL divergence of `soft_targets`, (0, 1) is `reverse_kl`, and
    (1/2, 1/2) is four times the squared Hellinger distance. Never negative, and 0 at equality only.

    Where a power is 0 the official code divides by the other one once, which jumps from its limit
    unless that is 1; we take the limit, which divides twice. The default is that of its command for
    image classification.

    Args:
        student_logits: $s$, shape `(..., classes)`.
        teacher_logits: $t$, shape `(..., classes)`. No gradient flows into it.
        teacher_power: $\alpha$, 0 or more: the larger, the more the teacher's likely classes count;
            at 0 it is infinite where the teacher excludes a class that the student does not.
        student_power: $\beta$, 0 or more, not 0 with the other: the larger, the more the student's
            likely classes count; at 0 it is infinite where the student excludes a class that the
            teacher does not.
        temperature: $T > 0$, as in `soft_targets`.

    Returns:
        One loss per row, times $T^2$, shape `(...)`; in nats where the powers sum to 1.

    Raises:
        OptionError: An option is out of its range.
        ShapeError: The two shapes differ.
    """
    powers = teacher_power, student_power
    if not (min(powers) >= 0 and 0 < sum(powers) < float("inf")):
        raise OptionError(
            "teacher_power and student_power must be 0 or more, finite and not both 0, got "
            f"{teacher_power} and {student_power}."
        )
    student, teacher = log_probabilities(student_logits, teacher_logits, temperature=temperature)
    excluded = (student == -torch.inf) & (teacher == -torch.inf)
    student, teacher = student.masked_fill(excluded, 0.0), teacher.masked_fill(excluded, 0.0)
    of_teacher = _over(teacher, student, teacher_power, student_power)  # (..., classes)
    of_student = _over(student, teacher, student_power, teacher_power)
    return temperature**2 / sum(powers) * (of_teacher + of_student).sum(dim=-1)


def _over(one: Tensor, other: Tensor, power: float, other_power: float) -> Tensor:
    r"""$(p^{\alpha + \beta} - p^\alpha q^\beta) / \beta$ of logarithms, or its limit at 0.

    Near equality it is written with expm1, for two numbers that are nearly the same lose all that
    they differ in.
    """
    log_product = sum(
        (log * exponent for log, exponent in ((one, power), (other, other_power)) if exponent > 0),
        start=torch.zeros_like(one),
    )
    product, gap = log_product.exp(), one - other
    if other_power == 0:
        return product * gap.masked_fill(product == 0, 0.0)
    exponent = other_power * gap
    near = product * torch.expm1(exponent.clamp(-1.0, 1.0)) / other_power
    far = ((one * (power + other_power)).exp() - product) / other_power
    return torch.where(exponent.abs() < 1, near, far)
