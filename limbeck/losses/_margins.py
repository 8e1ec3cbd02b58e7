"""Margins of a ranking, MarginMSE (Hofstätter et al., 2020, https://arxiv.org/abs/2010.02666)."""

from torch import Tensor

from limbeck._errors import ShapeError
from limbeck._shapes import check_same_shape
from limbeck.losses._soft_targets import at_least_float32


def margin_squared_error(student_scores: Tensor, teacher_scores: Tensor) -> Tensor:
    r"""Mean squared difference of the margins by which a first document beats each other one.

    For a query's scores $s_0, s_1, \ldots$, of the relevant document and of $n$ others, computes
    $\frac{1}{n} \sum_k ((s_0 - s_k) - (t_0 - t_k))^2$; the paper has one other, $n = 1$. Scores of
    a query may be moved by a constant on either side: a student whose scores are of another range
    need not reach the teacher's, only its distances.

    Args:
        student_scores: $s$, shape `(..., documents)`, two or more, the relevant one first.
        teacher_scores: $t$, shape `(..., documents)`. No gradient flows into it.

    Returns:
        One loss per query, in squared scores, shape `(...)`.

    Raises:
        ShapeError: The two shapes differ, or there are fewer than two documents.

    Example:
        >>> import torch
        >>> margin_squared_error(torch.tensor([[3.0, 1.0]]), torch.tensor([[9.0, 8.0]]))
        tensor([1.])
    """
    check_same_shape(student_scores=student_scores, teacher_scores=teacher_scores)
    if student_scores.shape[-1] < 2:
        raise ShapeError(
            "student_scores must have two documents or more, the relevant one first, got "
            f"{tuple(student_scores.shape)}."
        )
    gap = at_least_float32(student_scores) - at_least_float32(teacher_scores.detach())
    return (gap[..., :1] - gap[..., 1:]).square().mean(dim=-1)
