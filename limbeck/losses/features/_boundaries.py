"""Activation boundaries (Heo et al., 2019, https://arxiv.org/abs/1811.03233)."""

import torch
from torch import Tensor

from limbeck._errors import OptionError
from limbeck._shapes import check_same_shape
from limbeck.losses.features._common import both, check_batch


def activation_boundaries(student: Tensor, teacher: Tensor, *, margin: float = 1.0) -> Tensor:
    r"""Whether each neuron is on, as the teacher's is, by a margin; a squared hinge.

    Sum over neurons of $\max(0, m - s)^2$ where $t > 0$ and of $\max(0, m + s)^2$ elsewhere. Of the
    teacher only the sign counts.

    Args:
        student: $s$, before the activation function, shape `(batch, channels, height, width)`, or
            `(batch, features)`.
        teacher: $t$, before it too, of the same shape. No gradient flows into it.
        margin: $m$, 0 or more. At 0 the right sign is enough, and all zeros would do; the larger,
            the further each side is driven.

    Returns:
        One loss per row, the sum over its neurons, shape `(batch,)`. The official code weighs it
        with about 1/1000.

    Raises:
        OptionError: `margin` is below 0 or not finite.
        ShapeError: The two shapes differ, or have no features.
    """
    if not 0 <= margin < float("inf"):
        raise OptionError(f"margin must be 0 or more and finite, got {margin}.")
    check_batch(student=student, teacher=teacher)
    check_same_shape(student=student, teacher=teacher)
    student, teacher = both(student, teacher)
    wrong = torch.where(teacher > 0, margin - student, margin + student).clamp_min(0.0)
    wrong = wrong.masked_fill(teacher.isnan(), torch.nan)  # its sign would be taken for off
    return wrong.square().flatten(1).sum(dim=1)
