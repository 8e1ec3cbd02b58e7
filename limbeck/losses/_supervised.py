"""Losses towards labels, and towards numbers: what a control learns from."""

import torch
import torch.nn.functional as F
from torch import Tensor

from limbeck._shapes import check_leading_shape, check_same_shape
from limbeck.losses._soft_targets import at_least_float32, within_range


def cross_entropy(student_logits: Tensor, labels: Tensor) -> Tensor:
    r"""Negative log-probability of the label: $-\log softmax(s)_y$.

    Args:
        student_logits: $s$, shape `(..., classes)`.
        labels: $y$ in 0..classes - 1, shape `(...)`, int64.

    Returns:
        One loss per row, in nats, shape `(...)`.

    Raises:
        ShapeError: The shapes do not fit.
    """
    check_leading_shape(last="classes", student_logits=student_logits, labels=labels)
    log_probabilities = torch.log_softmax(at_least_float32(student_logits), dim=-1)
    return -log_probabilities.gather(-1, labels[..., None])[..., 0]


def binary_cross_entropy(student_logits: Tensor, labels: Tensor) -> Tensor:
    r"""Negative log-probability of each class's yes or no, summed over classes.

    Args:
        student_logits: One log-odds for each class, shape `(..., classes)`.
        labels: 0 or 1 for each class, or between, shape `(..., classes)`.

    Returns:
        One loss per row, in nats, shape `(...)`.

    Raises:
        ShapeError: The two shapes differ.
    """
    check_same_shape(student_logits=student_logits, labels=labels)
    logits = within_range(at_least_float32(student_logits))
    each = F.binary_cross_entropy_with_logits(logits, labels.to(logits.dtype), reduction="none")
    return each.sum(dim=-1)


def squared_error(student: Tensor, target: Tensor) -> Tensor:
    r"""Mean over a row's numbers of $(s - t)^2$; the target may be a label or a teacher's answer.

    For a Gaussian of fixed width it is the KL divergence up to a factor (twice the variance), and
    so 0 at equality and nowhere else.

    Args:
        student: $s$, shape `(..., numbers)`.
        target: $t$, shape `(..., numbers)`. No gradient flows into it.

    Returns:
        One loss per row, in the squared unit of the numbers, shape `(...)`.

    Raises:
        ShapeError: The two shapes differ.
    """
    check_same_shape(student=student, target=target)
    gap = at_least_float32(student) - at_least_float32(target.detach())
    return gap.square().mean(dim=-1)
