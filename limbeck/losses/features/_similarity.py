"""Similarity-preserving distillation (Tung and Mori, 2019, https://arxiv.org/abs/1907.09682)."""

from torch import Tensor

from limbeck.losses._products import scalar_products
from limbeck.losses.features._common import both, check_agree, check_batch, unit


def similarity_preserving(student: Tensor, teacher: Tensor) -> Tensor:
    r"""How alike the rows of a batch are to the student, against how alike to the teacher.

    $G = F F^\top$ of flat features, each row at length 1; a row's own share is
    $\frac{1}{B} \sum_j (G^s_{ij} - G^t_{ij})^2$, and the mean over the batch the paper's
    $\frac{1}{B^2} \|G^s - G^t\|_F^2$.

    Args:
        student: $F^s$, shape `(batch, ...)`: maps, states or vectors.
        teacher: $F^t$, shape `(batch, ...)`, of any other features. No gradient flows into it.

    Returns:
        One loss per row, each row's own share, from 0 to 4 / batch, shape `(batch,)`.

    Raises:
        ShapeError: The two batches differ in size.
    """
    check_batch(student=student, teacher=teacher)
    check_agree("batch", (0,), student=student, teacher=teacher)
    student, teacher = both(student, teacher)
    return (_similarity(student) - _similarity(teacher)).square().mean(dim=1)


def _similarity(features: Tensor) -> Tensor:
    """`(batch, batch)`, each row of length 1."""
    flat = features.flatten(1)
    return unit(scalar_products(flat, flat))
