"""Correlation congruence (Peng et al., 2019, https://arxiv.org/abs/1904.01802)."""

import math

from torch import Tensor

from limbeck._errors import OptionError
from limbeck._shapes import check_positive
from limbeck.losses._products import scalar_products
from limbeck.losses.features._common import VECTORS, both, check_agree, check_axes, unit


def correlation_congruence(
    student: Tensor, teacher: Tensor, *, sharpness: float = 0.4, order: int = 2
) -> Tensor:
    r"""How the rows of a batch correlate, with a Gaussian kernel of directions.

    $C_{ij} = \sum_{p=0}^{P} e^{-2 \gamma} \frac{(2 \gamma)^p}{p!} (f_i^\top f_j)^p$ of features at
    length 1, the expansion of $e^{-\gamma \|f_i - f_j\|^2}$; row $i$ gives $\frac{1}{B} \sum_j
    (C^s_{ij} - C^t_{ij})^2$, and the mean over the batch is the paper's
    $\frac{1}{B^2} \|C^s - C^t\|_F^2$.

    What RepDistiller calls by this name, from code that it was sent, multiplies the difference of
    each row by that of the next one: it compares no correlations, and depends on the batch's order.

    Args:
        student: $f^s$, shape `(batch, features)`.
        teacher: $f^t$, of the same batch; its features may be others. No gradient flows into it.
        sharpness: $\gamma > 0$. Near 0 all rows correlate alike and the loss vanishes; where it is
            large so does each term, and the expansion wants a higher order.
        order: $P$, 1 or more: 1 compares cosines; as it grows the kernel becomes the Gaussian one.

    Returns:
        One loss per row, each row's own share, from 0 to 1, shape `(batch,)`.

    Raises:
        OptionError: An option is out of its range.
        ShapeError: The shapes do not fit.
    """
    check_positive(sharpness=sharpness)
    if order < 1:
        raise OptionError(f"order must be 1 or more, got {order}.")
    check_axes(VECTORS, student=student, teacher=teacher)
    check_agree("batch", (0,), student=student, teacher=teacher)
    student, teacher = both(student, teacher)
    gap = _correlation(student, sharpness, order) - _correlation(teacher, sharpness, order)
    return gap.square().mean(dim=1)


def _correlation(rows: Tensor, sharpness: float, order: int) -> Tensor:
    """`(batch, batch)`, without the constant term, which both sides have."""
    directions = unit(rows)
    cosine = scalar_products(directions, directions)
    terms = [
        (2 * sharpness) ** power / math.factorial(power) * cosine**power
        for power in range(1, order + 1)
    ]
    return math.exp(-2 * sharpness) * sum(terms[1:], terms[0])
