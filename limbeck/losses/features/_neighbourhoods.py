"""Probabilistic knowledge transfer (Passalis and Tefas, 2018, https://arxiv.org/abs/1803.10837)."""

from torch import Tensor

from limbeck.losses._products import scalar_products
from limbeck.losses._soft_targets import relative_entropy
from limbeck.losses.features._common import VECTORS, both, check_agree, check_axes, unit

SMALLEST = 1e-7
"""Added to each affinity, so that none is 0 and every logarithm finite."""


def probabilistic_transfer(student: Tensor, teacher: Tensor) -> Tensor:
    r"""KL divergence from the teacher's neighbourhoods to the student's.

    A row's neighbourhood is a distribution over the batch, $p_{j|i} = K_{ij} / \sum_k K_{ik}$ with
    $K_{ij} = \frac{1}{2} (\cos(f_i, f_j) + 1)$; row $i$ gives $KL(p^t_{\cdot|i} \,\|\,
    p^s_{\cdot|i})$.

    The paper sums over rows and leaves out $j = i$; its code keeps it, as we do, and takes the mean
    over rows and columns, which is this divided by the batch once more. It also adds $10^{-7}$
    inside the logarithm only, where we add it to $K$: what is compared stays two distributions.

    Args:
        student: $f^s$, shape `(batch, features)`.
        teacher: $f^t$, of the same batch; its features may be others. No gradient flows into it.

    Returns:
        One loss per row, each row's own share, in nats, shape `(batch,)`.

    Raises:
        ShapeError: The shapes do not fit.
    """
    check_axes(VECTORS, student=student, teacher=teacher)
    check_agree("batch", (0,), student=student, teacher=teacher)
    student, teacher = both(student, teacher)
    return relative_entropy(_log_neighbourhood(teacher), _log_neighbourhood(student))


def _log_neighbourhood(rows: Tensor) -> Tensor:
    """`(batch, batch)`, logarithms of distributions."""
    directions = unit(rows)
    # Rounding makes a cosine a little less than -1.
    affinity = ((scalar_products(directions, directions) + 1) / 2).clamp_min(0.0) + SMALLEST
    return affinity.log() - affinity.sum(dim=1, keepdim=True).log()
