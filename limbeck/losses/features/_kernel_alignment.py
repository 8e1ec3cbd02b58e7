"""Linear centred kernel alignment (Kornblith et al., 2019, https://arxiv.org/abs/1905.00414)."""

from torch import Tensor

from limbeck.losses._products import scalar_products
from limbeck.losses.features._common import both, check_agree, check_batch, unit


def linear_cka_distance(student: Tensor, teacher: Tensor) -> Tensor:
    r"""One less the linear centred kernel alignment of the two sides.

    Computes $1 - \|X^\top Y\|_F^2 / (\|X^\top X\|_F \|Y^\top Y\|_F)$ of features with their mean
    over the batch taken off. Rotation, one scale for all and a shift change nothing; any other
    linear map does. Taken from the two similarity matrices of the batch, as half the squared
    distance of the two at length 1, which is the same and exact where they agree.

    The alignment of few rows is high by chance: take as many rows as features, or more. Rows that
    are all the same are aligned with nothing, and have no gradient.

    Args:
        student: $X$, shape `(batch, ...)`: maps, states or vectors.
        teacher: $Y$, shape `(batch, ...)`, of any other features. No gradient flows into it.

    Returns:
        The batch's value, from 0 to 1, again for each row, shape `(batch,)`.

    Raises:
        ShapeError: The two batches differ in size.
    """
    check_batch(student=student, teacher=teacher)
    check_agree("batch", (0,), student=student, teacher=teacher)
    student, teacher = both(student, teacher)
    gap = unit(_centred(student)) - unit(_centred(teacher))  # (batch × batch,)
    return (gap.square().sum() / 2).expand(len(student))


def _centred(features: Tensor) -> Tensor:
    """The similarity matrix of centred rows, `(batch × batch,)`."""
    flat = features.flatten(1)
    flat = flat - flat.mean(dim=0)
    return scalar_products(flat, flat).flatten()
