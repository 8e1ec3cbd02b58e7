import pytest
import torch

from limbeck._errors import ShapeError
from limbeck.losses.features import hints, semantic_calibration
from tests.losses.features.plain import flat, squared_gap

SHAPES = [[(3, 4, 4), (5, 2, 2), (6,)], [(3, 2, 2), (5, 2, 2), (6,)]]
"""Of a row, for each pair of two layers of the student's and three of the teacher's."""


def case(batch=4):
    student, teacher = (
        [[torch.randn(batch, *shape, dtype=torch.float64) for shape in row] for row in SHAPES]
        for _ in range(2)
    )
    return student, teacher, torch.randn(batch, 2, 3, dtype=torch.float64).softmax(-1)


def test_is_the_weighed_mean_of_the_errors_of_all_pairs():
    student, teacher, attention = case()

    def error(row, i, j):
        s, t = (flat(side[i][j][row].tolist()) for side in (student, teacher))
        return squared_gap(s, t) / len(s)

    want = [
        sum(float(attention[row, i, j]) * error(row, i, j) for i in range(2) for j in range(3)) / 2
        for row in range(4)
    ]
    found = semantic_calibration(student, teacher, attention)
    torch.testing.assert_close(found, torch.tensor(want, dtype=torch.float64))


def test_attention_to_one_pair_of_each_layer_leaves_their_hints():
    student, teacher, attention = case()
    only = torch.zeros_like(attention)
    only[:, 0, 2] = only[:, 1, 0] = 1.0
    want = (hints(student[0][2], teacher[0][2]) + hints(student[1][0], teacher[1][0])) / 2
    torch.testing.assert_close(semantic_calibration(student, teacher, only), want)


def test_the_attention_takes_a_gradient_and_the_teacher_none():
    student, teacher, attention = case()
    for row in (*student, *teacher):
        for tensor in row:
            tensor.requires_grad_()
    semantic_calibration(student, teacher, attention.requires_grad_()).sum().backward()
    want = hints(student[1][2].detach(), teacher[1][2]) / 2
    torch.testing.assert_close(attention.grad[:, 1, 2], want)
    assert all(tensor.grad is not None for row in student for tensor in row)
    assert all(tensor.grad is None for row in teacher for tensor in row)


def test_shapes_that_do_not_fit_are_refused():
    student, teacher, attention = case()
    with pytest.raises(ShapeError) as error:
        semantic_calibration(student, teacher[:1], attention)
    assert str(error.value) == (
        "student and teacher must hold one tensor for each pair of layers: student [3, 3], teacher "
        "[3]."
    )
    with pytest.raises(ShapeError, match=r"student \[3, 2\], teacher \[3, 3\]\.$"):
        semantic_calibration([student[0], student[1][:2]], teacher, attention)
    with pytest.raises(ShapeError) as error:
        semantic_calibration(student, teacher, attention.mT)
    assert str(error.value) == (
        "attention must be (batch, student layers, teacher layers), expected (4, 2, 3), got "
        "(4, 3, 2)."
    )
    with pytest.raises(ShapeError, match=r"^these must have one shape: "):
        semantic_calibration(student, teacher[::-1], attention)
