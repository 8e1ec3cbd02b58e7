"""Neuron selectivity transfer (Huang and Wang, 2017, https://arxiv.org/abs/1707.01219)."""

from torch import Tensor

from limbeck.losses._products import scalar_products
from limbeck.losses.features._common import MAPS, POOL, both, check_agree, check_axes, unit


def neuron_selectivity(student: Tensor, teacher: Tensor) -> Tensor:
    r"""Squared maximum mean discrepancy between the two sides' channels.

    Each channel is a point: where in the image it is active, at length 1. With $k(a, b) = (a^\top
    b)^2$, the paper's polynomial kernel at $d = 2, c = 0$, computes $\overline{k(s, s)} +
    \overline{k(t, t)} - 2 \overline{k(s, t)}$, means over pairs of channels.

    Args:
        student: Shape `(batch, channels, height, width)`.
        teacher: Of the same batch, height and width; its channels may be others. No gradient flows
            into it.

    Returns:
        One loss per row, from 0, up to rounding, to 2, shape `(batch,)`.

    Raises:
        ShapeError: The shapes do not fit.
    """
    check_axes(MAPS, student=student, teacher=teacher)
    check_agree("batch, height and width", (0, 2, 3), POOL, student=student, teacher=teacher)
    student, teacher = both(student, teacher)
    student, teacher = unit(student.flatten(2)), unit(teacher.flatten(2))
    return _kernel(student, student) + _kernel(teacher, teacher) - 2 * _kernel(student, teacher)


def _kernel(left: Tensor, right: Tensor) -> Tensor:
    """The kernel's mean over pairs of channels, `(batch,)`."""
    return scalar_products(left, right).square().mean(dim=(1, 2))
