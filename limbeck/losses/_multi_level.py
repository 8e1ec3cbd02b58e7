"""Multi-level logit distillation, MLKD (Jin et al., 2023, CVPR).

https://openaccess.thecvf.com/content/CVPR2023/html/Jin_Multi-Level_Logit_Distillation_CVPR_2023_paper.html

The consistencies compare how alike the rows of a batch are, and how alike its classes. The official
code means to leave unsure rows and classes out, but multiplies losses that are scalars by then, so
that its masks only halve them: we have none, and with one value per row a caller can weigh rows.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from limbeck._errors import OptionError
from limbeck.losses._products import exact_product
from limbeck.losses._soft_targets import log_probabilities, soft_targets


def batch_consistency(
    student_logits: Tensor, teacher_logits: Tensor, *, temperature: float = 4.0
) -> Tensor:
    r"""How far the rows' likeness to each other is from that under the teacher.

    With $Q, P$ the two sides' softened probabilities `(rows, classes)`, the mean over rows is
    $T^2 \|P P^\top - Q Q^\top\|_F^2 / B$: row $i$ has its own share, its likeness to all $B$ rows.
    Unmoved by a permutation of either side's classes, so that 0 does not say equality, and it grows
    with the batch. The official code has no $T^2$ here.

    Args:
        student_logits: Shape `(..., classes)`. All rows, of any leading shape, are one batch.
        teacher_logits: Shape `(..., classes)`. No gradient flows into it.
        temperature: $T > 0$, as in `soft_targets`.

    Returns:
        One loss per row, shape `(...)`.

    Raises:
        OptionError: `temperature` is not above 0.
        ShapeError: The two shapes differ.
    """
    student, teacher, _ = _probabilities(student_logits, teacher_logits, temperature)
    product = exact_product(teacher - student, (teacher + student).T)  # (rows, rows)
    shares = (product + product.T).square().sum(dim=-1) / 4
    return temperature**2 * shares.reshape(student_logits.shape[:-1])


def class_consistency(
    student_logits: Tensor, teacher_logits: Tensor, *, temperature: float = 4.0
) -> Tensor:
    r"""How far the classes' likeness to each other, over the batch, is from that under the teacher.

    With $Q, P$ as in `batch_consistency`, computes $T^2 \|P^\top P - Q^\top Q\|_F^2 / C$. It
    belongs to the batch and is the same for every row. Unmoved by a permutation of either side's
    rows, and it grows with the square of the batch. The official code has no $T^2$ here.

    Args:
        student_logits: Shape `(..., classes)`. All rows, of any leading shape, are one batch. $C$
            counts the classes that some row of either side does not give $-\infty$.
        teacher_logits: Shape `(..., classes)`. No gradient flows into it.
        temperature: $T > 0$, as in `soft_targets`.

    Returns:
        One loss per row, all the same, shape `(...)`.

    Raises:
        OptionError: `temperature` is not above 0.
        ShapeError: The two shapes differ.
    """
    student, teacher, classes = _probabilities(student_logits, teacher_logits, temperature)
    total, gap = teacher + student, teacher - student
    if len(gap) >= gap.shape[-1]:
        product = exact_product(gap.T, total)  # (classes, classes)
        squares = (product + product.T).square().sum() / 4
    else:
        # The same from products of rows, for a vocabulary squared is too large.
        product = exact_product(gap, total.T)  # (rows, rows)
        of_both = exact_product(total, total.T) * exact_product(gap, gap.T)
        squares = (of_both + product * product.T).sum() / 2
    return temperature**2 * (squares / classes).expand(student_logits.shape[:-1])


def multi_level_soft_targets(
    student_logits: Tensor,
    teacher_logits: Tensor,
    *,
    temperatures: Sequence[float] = (2.0, 3.0, 4.0, 5.0, 6.0),
    class_weight: float = 1.0,
    batch_weight: float = 1.0,
) -> Tensor:
    r"""Soft targets and both consistencies, summed over several temperatures.

    Computes $\sum_T (soft\_targets_T + (\beta \, class\_consistency_T + \gamma \,
    batch\_consistency_T) / T^2)$. The consistencies are without their $T^2$ here, as in the
    official code: the paper's weights are for that. It has two views of each sample besides, of
    which each is a call.

    Args:
        student_logits: Shape `(..., classes)`. All rows, of any leading shape, are one batch.
        teacher_logits: Shape `(..., classes)`. No gradient flows into it.
        temperatures: Each above 0, at least one.
        class_weight: $\beta$, 0 or more; 0 leaves `class_consistency` out.
        batch_weight: $\gamma$, 0 or more; 0 leaves `batch_consistency` out.

    Returns:
        One loss per row, shape `(...)`.

    Raises:
        OptionError: There is no temperature, or one is not above 0.
        ShapeError: The two shapes differ.
    """
    if not temperatures:
        raise OptionError("temperatures must be one or more, got none.")
    found = student_logits.new_zeros(())
    for temperature in temperatures:
        by_class, by_row = (
            consistency(student_logits, teacher_logits, temperature=temperature) / temperature**2
            for consistency in (class_consistency, batch_consistency)
        )
        by_itself = soft_targets(student_logits, teacher_logits, temperature=temperature)
        found = found + by_itself + class_weight * by_class + batch_weight * by_row
    return found


def _probabilities(
    student_logits: Tensor, teacher_logits: Tensor, temperature: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Both sides', `(rows, classes)`, and how many classes there are."""
    student, teacher = log_probabilities(student_logits, teacher_logits, temperature=temperature)
    shape = student.shape[:-1].numel(), student.shape[-1]
    student, teacher = student.reshape(shape), teacher.reshape(shape)
    counts = ((student > -torch.inf) | (teacher > -torch.inf)).any(dim=0).sum()
    return student.exp(), teacher.exp(), counts.clamp_min(1)
