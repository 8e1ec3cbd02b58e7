"""Soft targets (Hinton, Vinyals and Dean, 2015, https://arxiv.org/abs/1503.02531)."""

import torch
import torch.nn.functional as F
from torch import Tensor

from limbeck._shapes import check_positive, check_same_shape

LOWEST = -1e30
"""Below the logarithm of any probability but 0, and finite, so that it has a gradient."""


def soft_targets(
    student_logits: Tensor, teacher_logits: Tensor, *, temperature: float | Tensor = 4.0
) -> Tensor:
    r"""KL divergence from the teacher's softened distribution to the student's.

    Computes $T^2 \, KL(softmax(t / T) \,\|\, softmax(s / T))$, summed over classes. The factor
    $T^2$ (section 2 of the paper) keeps the gradient's size about the same at every $T$. Half
    precision is computed in float32. A class that both sides give $-\infty$ adds exactly nothing.

    Args:
        student_logits: $s$, shape `(..., classes)`; any constant per row may be added.
        teacher_logits: $t$, shape `(..., classes)`; log-probabilities are logits too. No gradient
            flows into it.
        temperature: $T > 0$. Near 0 only the teacher's first choice counts; as it grows the loss
            nears half the mean squared difference of the centred logits, and rounding in float32
            about $10^{-7} T^2$, by which it may be off, or below 0 near equality; its gradient is
            not, for it is no difference of large numbers. A tensor of no axes gets
            its gradient, through both sides.

    Returns:
        One loss per row, in nats times $T^2$, shape `(...)`; take `.mean()` for the usual scalar.

    Raises:
        OptionError: `temperature` is not above 0.
        ShapeError: The two shapes differ.

    Example:
        >>> logits = torch.tensor([[2.0, 0.0, -1.0]])
        >>> soft_targets(logits, logits)
        tensor([0.])
    """
    student, teacher = log_probabilities(student_logits, teacher_logits, temperature=temperature)
    return temperature**2 * relative_entropy(teacher, student)


def soft_cross_entropy(
    student_logits: Tensor, teacher_logits: Tensor, *, temperature: float = 4.0
) -> Tensor:
    r"""Cross-entropy of the student's softened distribution under the teacher's.

    Computes $-T^2 \sum_c p_c \log q_c$ with $p = softmax(t / T)$, $q = softmax(s / T)$:
    `soft_targets` and $T^2$ times the teacher's own entropy, which no student can lower. The
    gradient is the same.

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
    probability = teacher.exp()  # (..., classes)
    return -(temperature**2) * (probability * student.masked_fill(probability == 0, 0.0)).sum(-1)


def soft_binary_targets(
    student_logits: Tensor, teacher_logits: Tensor, *, temperature: float = 4.0
) -> Tensor:
    r"""KL divergence from the teacher's softened yes-or-no distributions to the student's.

    For classes that do not exclude each other: $T^2 \sum_c KL(\sigma(t_c / T) \,\|\,
    \sigma(s_c / T))$, the formula above for two outcomes, summed over classes. A class that both
    sides give $-\infty$ adds exactly nothing.

    Args:
        student_logits: $s$, shape `(..., classes)`, one log-odds for each class.
        teacher_logits: $t$, shape `(..., classes)`. No gradient flows into it.
        temperature: $T > 0$, as in `soft_targets`.

    Returns:
        One loss per row, shape `(...)`.

    Raises:
        OptionError: `temperature` is not above 0.
        ShapeError: The two shapes differ.
    """
    check_positive(temperature=temperature)
    check_same_shape(student_logits=student_logits, teacher_logits=teacher_logits)
    student = within_range(at_least_float32(student_logits) / temperature)
    teacher = within_range(at_least_float32(teacher_logits.detach()) / temperature)
    yes, no = torch.sigmoid(teacher), torch.sigmoid(-teacher)
    gap_yes = F.logsigmoid(teacher) - F.logsigmoid(student)  # (..., classes)
    gap_no = F.logsigmoid(-teacher) - F.logsigmoid(-student)
    return temperature**2 * (yes * gap_yes + no * gap_no).sum(dim=-1)


def log_probabilities(
    student_logits: Tensor, teacher_logits: Tensor, *, temperature: float | Tensor
) -> tuple[Tensor, Tensor]:
    """Both sides' log-probabilities at T, `(..., classes)` each; the teacher's without gradient.

    Raises:
        OptionError: `temperature` is not above 0.
        ShapeError: The two shapes differ.
    """
    check_positive(temperature=temperature)
    check_same_shape(student_logits=student_logits, teacher_logits=teacher_logits)
    student = F.log_softmax(at_least_float32(student_logits) / temperature, dim=-1)
    teacher = F.log_softmax(at_least_float32(teacher_logits.detach()) / temperature, dim=-1)
    return student, teacher


def relative_entropy(log_probability: Tensor, log_other: Tensor) -> Tensor:
    """KL divergence from one distribution to another, `(..., classes)` to `(...)`."""
    probability = log_probability.exp()  # (..., classes)
    gap = (log_probability - log_other).masked_fill(probability == 0, 0.0)
    return (probability * gap).sum(dim=-1)


def at_least_float32(tensor: Tensor) -> Tensor:
    """`tensor` in float32 if it is of half precision; float64 stays."""
    return tensor.float() if tensor.dtype in (torch.float16, torch.bfloat16) else tensor


def within_range(log_odds: Tensor) -> Tensor:
    """Infinite log-odds as the largest finite ones, for 0 times infinity is NaN; NaN stays."""
    largest = torch.finfo(log_odds.dtype).max
    return log_odds.clamp(-largest, largest)
