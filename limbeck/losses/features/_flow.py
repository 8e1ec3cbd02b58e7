"""Flow of solution procedure (Yim et al., 2017, CVPR, "A Gift from Knowledge Distillation").

https://openaccess.thecvf.com/content_cvpr_2017/html/Yim_A_Gift_From_CVPR_2017_paper.html
"""

from torch import Tensor

from limbeck._errors import ShapeError
from limbeck.losses._products import scalar_products
from limbeck.losses.features._common import MAPS, POOL, both, check_agree, check_axes


def flow_of_solution(
    student_first: Tensor, student_second: Tensor, teacher_first: Tensor, teacher_second: Tensor
) -> Tensor:
    r"""Mean over pairs of channels of $(G^s - G^t)^2$: how one map turns into a later one.

    $G_{ij} = \frac{1}{HW} \sum_{hw} F^1_{ihw} F^2_{jhw}$ of a map and a later one of the same
    model. The paper has the sum over pairs; code, and we, the mean.

    Args:
        student_first: $F^1$ of the student, shape `(batch, channels, height, width)`.
        student_second: $F^2$, of the same batch, height and width; its channels may be others.
        teacher_first: The teacher's, of the batch and the channels of the student's; height and
            width may be others. No gradient flows into either of its maps.
        teacher_second: As many channels as the student's second.

    Returns:
        One loss per row, in the fourth power of the features' unit, shape `(batch,)`.

    Raises:
        ShapeError: The shapes do not fit.
    """
    check_axes(MAPS, student_first=student_first, student_second=student_second)
    check_axes(MAPS, teacher_first=teacher_first, teacher_second=teacher_second)
    size = "batch, height and width", (0, 2, 3), POOL
    check_agree(*size, student_first=student_first, student_second=student_second)
    check_agree(*size, teacher_first=teacher_first, teacher_second=teacher_second)
    for name, student, teacher in (
        ("first", student_first, teacher_first),
        ("second", student_second, teacher_second),
    ):
        if student.shape[:2] != teacher.shape[:2]:
            raise ShapeError(
                f"the {name} maps must have one batch and number of channels: student "
                f"{tuple(student.shape)}, teacher {tuple(teacher.shape)}."
            )
    student_first, teacher_first = both(student_first, teacher_first)
    student_second, teacher_second = both(student_second, teacher_second)
    gap = _flow(student_first, student_second) - _flow(teacher_first, teacher_second)
    return gap.square().mean(dim=(1, 2))


def _flow(first: Tensor, second: Tensor) -> Tensor:
    """`(batch, channels of the first, channels of the second)`."""
    return scalar_products(first.flatten(2), second.flatten(2)) / first.shape[2:].numel()
