"""Attention transfer (Zagoruyko and Komodakis, 2017, https://arxiv.org/abs/1612.03928)."""

from torch import Tensor

from limbeck.losses.features._common import MAPS, POOL, both, check_agree, check_axes, unit


def attention_transfer(student: Tensor, teacher: Tensor) -> Tensor:
    r"""Mean over positions of $(Q^s - Q^t)^2$, where $Q$ says how much happens at each position.

    $Q = \mathrm{vec}(\frac{1}{C} \sum_c F_c^2)$ at length 1, so that neither scale nor number of
    channels matters. The paper has the length of the difference; its code, and we, the mean of the
    squares.

    Args:
        student: $F^s$, shape `(batch, channels, height, width)`.
        teacher: $F^t$, of the same batch, height and width; its channels may be others. No
            gradient flows into it.

    Returns:
        One loss per row, from 0 to 2 / (height × width), shape `(batch,)`.

    Raises:
        ShapeError: The shapes do not fit.
    """
    check_axes(MAPS, student=student, teacher=teacher)
    check_agree("batch, height and width", (0, 2, 3), POOL, student=student, teacher=teacher)
    student, teacher = both(student, teacher)
    return (_attention(student) - _attention(teacher)).square().mean(dim=1)


def _attention(maps: Tensor) -> Tensor:
    """`(batch, height × width)`, each row of length 1."""
    return unit(maps.square().mean(dim=1).flatten(1))
