"""Knowledge review (Chen et al., 2021, https://arxiv.org/abs/2104.09044)."""

import torch.nn.functional as F
from torch import Tensor

from limbeck._shapes import check_same_shape
from limbeck.losses.features._common import MAPS, both, check_axes

LEVELS = (4, 2, 1)
"""Positions along each side; every level weighs half of the one before."""


def hierarchical_context(student: Tensor, teacher: Tensor) -> Tensor:
    r"""Mean squared error of two maps, and of what is left of them after pooling (ReviewKD's HCL).

    $(e_{hw} + \frac{1}{2} e_4 + \frac{1}{4} e_2 + \frac{1}{8} e_1)$ divided by the sum of these
    weights, with $e_l$ the error of the maps pooled to $l \times l$. A level that is not smaller
    than the maps is left out, and the next one takes its weight.

    Args:
        student: The student's fused map of one stage, shape `(batch, channels, height, width)`.
        teacher: Of the same shape. No gradient flows into it.

    Returns:
        One loss per row, in the squared unit of the features, shape `(batch,)`.

    Raises:
        ShapeError: The two shapes differ, or are not of four axes.
    """
    check_axes(MAPS, student=student, teacher=teacher)
    check_same_shape(student=student, teacher=teacher)
    student, teacher = both(student, teacher)
    gap = student - teacher
    loss, weight, total = gap.square().mean(dim=(1, 2, 3)), 1.0, 1.0
    for level in LEVELS:
        if level < min(gap.shape[2:]):
            weight /= 2
            total += weight
            pooled = F.adaptive_avg_pool2d(gap, (level, level))
            loss = loss + weight * pooled.square().mean(dim=(1, 2, 3))
    return loss / total
