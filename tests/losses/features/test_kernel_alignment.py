import math

import pytest
import torch

from limbeck._errors import ShapeError
from limbeck.losses.features import linear_cka_distance
from tests.losses.features.plain import flat, maps, mean, rotated, rows, scaled_apart


def centred(batch):
    vectors = [flat(row) for row in batch]
    middle = [mean(column) for column in zip(*vectors, strict=True)]
    return [[x - m for x, m in zip(row, middle, strict=True)] for row in vectors]


def squared_norm(left, right):
    """Of the product of one side's columns with the other's: the formula's own form."""
    return sum(
        sum(a * b for a, b in zip(x, y, strict=True)) ** 2
        for x in zip(*left, strict=True)
        for y in zip(*right, strict=True)
    )


def plain(student, teacher):
    s, t = centred(student.tolist()), centred(teacher.tolist())
    return 1 - squared_norm(s, t) / math.sqrt(squared_norm(s, s) * squared_norm(t, t))


def test_is_the_batchs_value_again_for_each_row():
    for student, teacher in (rows(), rows(batch=4, student=9), (maps()[0][:, :2], maps()[1])):
        found = linear_cka_distance(student, teacher)
        want = torch.full((len(student),), plain(student, teacher), dtype=torch.float64)
        torch.testing.assert_close(found, want)


def test_sees_no_rotation_scale_or_shift_but_another_linear_map():
    student, teacher = rows()
    found = linear_cka_distance(student, teacher)
    for same in (rotated(student), -7 * student, student + 30.0):
        torch.testing.assert_close(linear_cka_distance(same, teacher), found)
    stretched = student * torch.tensor([1.0, 1.0, 1.0, 1.0, 5.0], dtype=torch.float64)
    for other in (stretched, scaled_apart(student)):
        assert float((linear_cka_distance(other, teacher) - found).abs().max()) > 1e-3


def test_is_symmetric():
    student, teacher = rows()
    torch.testing.assert_close(
        linear_cka_distance(student, teacher), linear_cka_distance(teacher, student)
    )


def test_what_has_nothing_in_common_is_at_1():
    student = torch.tensor([[1.0], [1.0], [-1.0], [-1.0]])
    teacher = torch.tensor([[1.0], [-1.0], [1.0], [-1.0]])
    torch.testing.assert_close(linear_cka_distance(student, teacher), torch.ones(4))


def test_another_batch_is_refused():
    with pytest.raises(ShapeError, match=r"^these must have one batch: student \(4, 8\), teacher"):
        linear_cka_distance(torch.zeros(4, 8), torch.zeros(5, 8))
    with pytest.raises(ShapeError, match=r"^student must be \(batch, features, \.\.\.\), got \(4,"):
        linear_cka_distance(torch.zeros(4), torch.zeros(4, 2))
