"""Semantic calibration across layers (Chen et al., 2021, https://arxiv.org/abs/2012.03236)."""

from collections.abc import Sequence

import torch
from torch import Tensor

from limbeck._errors import ShapeError
from limbeck.losses._soft_targets import at_least_float32
from limbeck.losses.features._hints import hints


def semantic_calibration(
    student: Sequence[Sequence[Tensor]], teacher: Sequence[Sequence[Tensor]], attention: Tensor
) -> Tensor:
    r"""Squared errors of all pairs of layers, weighed by how much each pair has to do (SemCKD).

    $\frac{1}{n_s} \sum_{ij} a_{ij} e_{ij}$ with $e_{ij}$ the mean squared error between the
    student's layer $i$, projected to the teacher's layer $j$, and that layer.

    Args:
        student: For each of its layers, what it is for each of the teacher's, shape `(batch, ...)`.
        teacher: The same nesting and shapes: layer $j$, pooled to the size of $i$. No gradient
            flows into it.
        attention: $a$, shape `(batch, student layers, teacher layers)`, of which each row sums to
            1. It takes a gradient.

    Returns:
        One loss per row, in the squared unit of the features, shape `(batch,)`.

    Raises:
        ShapeError: The shapes do not fit.
    """
    layers, teacher_layers = len(student), len(student[0])
    nested = {len(pairs) for pairs in (*student, *teacher)} == {teacher_layers}
    if not nested or len(teacher) != layers:
        raise ShapeError(
            "student and teacher must hold one tensor for each pair of layers: student "
            f"{[len(pairs) for pairs in student]}, teacher {[len(pairs) for pairs in teacher]}."
        )
    expected = (len(student[0][0]), layers, teacher_layers)
    if attention.shape != expected:
        raise ShapeError(
            "attention must be (batch, student layers, teacher layers), expected "
            f"{expected}, got {tuple(attention.shape)}."
        )
    rows = [
        torch.stack([hints(*pair) for pair in zip(of_student, of_teacher, strict=True)], dim=1)
        for of_student, of_teacher in zip(student, teacher, strict=True)
    ]
    errors = torch.stack(rows, dim=1)  # (batch, student layers, teacher layers)
    return (at_least_float32(attention) * errors).sum(dim=(1, 2)) / layers
