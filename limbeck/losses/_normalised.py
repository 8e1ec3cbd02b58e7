"""Normalised soft targets, NKD (Yang et al., 2023, https://arxiv.org/abs/2303.13005)."""

import torch
from torch import Tensor

from limbeck._shapes import check_leading_shape, check_positive, check_same_shape
from limbeck.losses._decoupled import among_others
from limbeck.losses._soft_targets import at_least_float32, log_probabilities


def normalised_soft_targets(
    student_logits: Tensor,
    teacher_logits: Tensor,
    labels: Tensor,
    *,
    others_weight: float = 1.5,
    temperature: float = 1.0,
) -> Tensor:
    r"""Cross-entropy in two parts: at the label's class, and among the others, which sum to 1.

    With $p, q$ the teacher's and the student's probabilities at temperature 1 and
    $\hat p, \hat q$ at $T$ among the classes other than the label $y$, computes
    $-p_y \log q_y - \gamma T^2 \sum_{c \ne y} \hat p_c \log \hat q_c$. The first part has no
    temperature, as in the official code.

    It is a cross-entropy: no student comes below $\gamma T^2$ times the entropy of $\hat p$, which
    it nears with $\hat q = \hat p$ and $q_y$ near 1. So the teacher's own logits are not its
    minimum: it pulls towards the label as well, and the more the surer the teacher is of it.

    Args:
        student_logits: $s$, shape `(..., classes)`.
        teacher_logits: $t$, shape `(..., classes)`. No gradient flows into it.
        labels: $y$ in 0..classes - 1, shape `(...)`, int64.
        others_weight: $\gamma$, 0 or more; 0 leaves the others out. The official configurations
            take 1.5 for ImageNet, at $T = 1$, and 3.5 for CIFAR-100, at $T = 3$.
        temperature: $T > 0$ of the part among the others, as in `soft_targets`.

    Returns:
        One loss per row, in nats, shape `(...)`.

    Raises:
        OptionError: `temperature` is not above 0.
        ShapeError: The shapes do not fit.
    """
    check_positive(temperature=temperature)
    check_same_shape(student_logits=student_logits, teacher_logits=teacher_logits)
    check_leading_shape(last="classes", student_logits=student_logits, labels=labels)
    student, teacher = log_probabilities(student_logits, teacher_logits, temperature=1.0)
    at_label = labels[..., None]
    of_target = teacher.gather(-1, at_label).exp()
    target = _cross_entropy(of_target, student.gather(-1, at_label))
    student_others, teacher_others, nothing = among_others(
        at_least_float32(student_logits).scatter(-1, at_label, -torch.inf) / temperature,
        at_least_float32(teacher_logits.detach()).scatter(-1, at_label, -torch.inf) / temperature,
    )
    others = _cross_entropy(teacher_others.exp().masked_fill(nothing, 0.0), student_others)
    return target + others_weight * temperature**2 * others


def _cross_entropy(probability: Tensor, log_other: Tensor) -> Tensor:
    return -(probability * log_other.masked_fill(probability == 0, 0.0)).sum(dim=-1)
