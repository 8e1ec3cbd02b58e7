"""Relational knowledge distillation (Park et al., 2019, https://arxiv.org/abs/1904.05068)."""

import torch
import torch.nn.functional as F
from torch import Tensor

from limbeck.losses._products import scalar_products
from limbeck.losses.features._common import VECTORS, both, check_agree, check_axes, unit


def relational_distance(student: Tensor, teacher: Tensor) -> Tensor:
    r"""How far the rows of a batch are from each other: the distance-wise potential (RKD-D).

    With $\psi_{ij} = \|f_i - f_j\| / \mu$, where $\mu$ is the mean of the distances above 0, row
    $i$ gives $\frac{1}{B} \sum_j h(\psi^s_{ij} - \psi^t_{ij})$; $h$ is Huber's, $\frac{1}{2} x^2$
    up to 1 and $|x| - \frac{1}{2}$ beyond. The mean over the batch is over all pairs, a row with
    itself among them, as in the official code. Rows that coincide have no gradient towards each
    other.

    Args:
        student: $f^s$, shape `(batch, features)`.
        teacher: $f^t$, of the same batch; its features may be others. No gradient flows into it.

    Returns:
        One loss per row, each row's own share, shape `(batch,)`.

    Raises:
        ShapeError: The shapes do not fit.
    """
    student, teacher = _checked(student, teacher)
    gap = F.smooth_l1_loss(_distances(student), _distances(teacher), reduction="none")
    return gap.mean(dim=1)


def relational_angle(student: Tensor, teacher: Tensor) -> Tensor:
    r"""The angles of all triangles of a batch's rows: the angle-wise potential (RKD-A).

    With $\psi_{ijk} = \cos \angle(f_j - f_i, f_k - f_i)$, row $i$ gives $\frac{1}{B^2} \sum_{jk}
    h(\psi^s_{ijk} - \psi^t_{ijk})$, $h$ as in `relational_distance`. A triangle with two corners in
    one place has no angle: its cosine is 0.

    It holds batch² × features and batch³ numbers.

    Args:
        student: $f^s$, shape `(batch, features)`.
        teacher: $f^t$, of the same batch; its features may be others. No gradient flows into it.

    Returns:
        One loss per row, each row's own share, from 0 to 3/2, shape `(batch,)`.

    Raises:
        ShapeError: The shapes do not fit.
    """
    student, teacher = _checked(student, teacher)
    gap = F.smooth_l1_loss(_angles(student), _angles(teacher), reduction="none")
    return gap.mean(dim=(1, 2))


def _checked(student: Tensor, teacher: Tensor) -> tuple[Tensor, Tensor]:
    check_axes(VECTORS, student=student, teacher=teacher)
    check_agree("batch", (0,), student=student, teacher=teacher)
    return both(student, teacher)


def _distances(rows: Tensor) -> Tensor:
    """`(batch, batch)`, in units of the mean of those above 0."""
    # From differences: a product of the rows would lose what a shift of all adds.
    distance = torch.cdist(rows, rows, compute_mode="donot_use_mm_for_euclid_dist")
    mean = distance.sum() / (distance > 0).sum().clamp_min(1)
    return distance / mean.masked_fill(mean == 0, 1.0)


def _angles(rows: Tensor) -> Tensor:
    """Cosines at the first row of the way to the second and to the third, `(batch,) * 3`."""
    ways = unit(rows - rows[:, None])  # (batch, batch, features)
    return scalar_products(ways, ways)
