"""Hints: what is inside the student, against what is inside the teacher, number by number.

FitNets (Romero et al., 2015, https://arxiv.org/abs/1412.6550), PKD (Sun et al., 2019,
https://arxiv.org/abs/1908.09355), the cosine part of DistilBERT (Sanh et al., 2019,
https://arxiv.org/abs/1910.01108).
"""

from torch import Tensor

from limbeck._shapes import check_same_shape
from limbeck.losses.features._common import both, check_axes, check_batch, unit


def hints(student: Tensor, teacher: Tensor) -> Tensor:
    r"""Mean over all of a row's numbers of $(s - t)^2$.

    FitNets with $s = r(F^s)$, the student's features after the regressor. The paper has half the
    sum; the mean, which all code takes, lets one weight do for maps of any size. Of vectors it is
    `limbeck.losses.squared_error`. Of the last map, through whose head of the teacher's the student
    then answers, it is SimKD (Chen et al., 2022, https://arxiv.org/abs/2203.14001); of hidden
    states and of embeddings, the other half of TinyBERT beside `attention_scores`.

    Args:
        student: $s$, already of the teacher's shape, `(batch, channels, height, width)`, `(batch,
            tokens, features)` or `(batch, features)`.
        teacher: $t$, of the same shape. No gradient flows into it.

    Returns:
        One loss per row, in the squared unit of the features, shape `(batch,)`.

    Raises:
        ShapeError: The two shapes differ, or have no features.
    """
    check_batch(student=student, teacher=teacher)
    check_same_shape(student=student, teacher=teacher)
    student, teacher = both(student, teacher)
    return (student - teacher).square().flatten(1).mean(dim=1)


def cosine_distance(student: Tensor, teacher: Tensor) -> Tensor:
    r"""One less the cosine of the angle between two vectors: $1 - \cos(s, t)$.

    Taken as half the squared distance between the two at length 1, which is the same and exact
    where they agree. A vector of zeros has no direction: it is at $\frac{1}{2}$ from any other, at
    0 from another of zeros, and has no gradient.

    Args:
        student: $s$, shape `(..., features)`.
        teacher: $t$, shape `(..., features)`. No gradient flows into it.

    Returns:
        One loss per row, from 0 to 2, shape `(...)`.

    Raises:
        ShapeError: The two shapes differ.
    """
    check_same_shape(student=student, teacher=teacher)
    student, teacher = both(student, teacher)
    return (unit(student) - unit(teacher)).square().sum(dim=-1) / 2


def patient_hints(student: Tensor, teacher: Tensor) -> Tensor:
    r"""Squared distance of normalised states, summed over layers (PKD).

    Computes $\sum_j \| h^s_j / \|h^s_j\| - h^t_j / \|h^t_j\| \|^2$ of the first token's states at
    the student's layers $j$ and at those of the teacher that they are paired with. The official
    code also takes the mean over layers and features, where the paper has this sum.

    Args:
        student: $h^s$, shape `(batch, layers, features)`.
        teacher: $h^t$, of the same shape. No gradient flows into it.

    Returns:
        One loss per row, from 0 to 4 times the layers, shape `(batch,)`.

    Raises:
        ShapeError: The two shapes differ, or are not of three axes.
    """
    check_axes("batch, layers, features", student=student, teacher=teacher)
    check_same_shape(student=student, teacher=teacher)
    student, teacher = both(student, teacher)
    return (unit(student) - unit(teacher)).square().sum(dim=(1, 2))
