"""Logit regression (Ba and Caruana, 2014, https://arxiv.org/abs/1312.6184)."""

import torch
from torch import Tensor

from limbeck._shapes import check_same_shape
from limbeck.losses._soft_targets import at_least_float32


def logit_regression(student_logits: Tensor, teacher_logits: Tensor) -> Tensor:
    r"""Half the squared distance of the logits: $\frac{1}{2} \sum_c (s_c - t_c)^2$.

    Unlike `soft_targets` it is moved by a constant that is added to a row, so the logits of a
    teacher that gives probabilities are whatever it was agreed that they are. Of rows that were
    centred before, divided by the number of classes, it is the limit of `soft_targets` at a high
    temperature. Ports often take the mean over classes instead of the paper's half sum.

    Args:
        student_logits: $s$, shape `(..., classes)`.
        teacher_logits: $t$, shape `(..., classes)`. No gradient flows into it. A class that both
            sides give $-\infty$ adds exactly nothing; it is infinite where only one of them does.

    Returns:
        One loss per row, in squared logits, shape `(...)`.

    Raises:
        ShapeError: The two shapes differ.

    Example:
        >>> logit_regression(torch.tensor([[1.0, 0.0]]), torch.tensor([[3.0, 1.0]]))
        tensor([2.5000])
    """
    check_same_shape(student_logits=student_logits, teacher_logits=teacher_logits)
    student, teacher = at_least_float32(student_logits), at_least_float32(teacher_logits.detach())
    excluded = (student == -torch.inf) & (teacher == -torch.inf)
    gap = (student - teacher).masked_fill(excluded, 0.0)  # (..., classes)
    return gap.square().sum(dim=-1) / 2
