"""Factor transfer (Kim, Park and Kwak, 2018, https://arxiv.org/abs/1802.04977)."""

from torch import Tensor

from limbeck._shapes import check_same_shape
from limbeck.losses.features._common import both, check_batch, unit


def factor_transfer(student: Tensor, teacher: Tensor) -> Tensor:
    r"""Mean over a factor's numbers of $|f^s / \|f^s\| - f^t / \|f^t\||$.

    A factor is what the translator makes of the student's map and the paraphraser of the
    teacher's. The paper has the sum and $p = 1$; its code, and we, the mean. RepDistiller's port
    first takes the mean of the squares over channels, as for attention, which is another loss.

    Args:
        student: $f^s$, shape `(batch, channels, height, width)`, or `(batch, features)`.
        teacher: $f^t$, of the same shape. No gradient flows into it.

    Returns:
        One loss per row, from 0 to 2 / √(numbers of a row), shape `(batch,)`.

    Raises:
        ShapeError: The two shapes differ, or have no features.
    """
    check_batch(student=student, teacher=teacher)
    check_same_shape(student=student, teacher=teacher)
    student, teacher = both(student, teacher)
    return (unit(student.flatten(1)) - unit(teacher.flatten(1))).abs().mean(dim=1)
