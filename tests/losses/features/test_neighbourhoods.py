import math

import pytest
import torch

from limbeck._errors import ShapeError
from limbeck.losses.features import probabilistic_transfer
from tests.losses.features.plain import dot, kl, rotated, rows, scaled_apart, unit


def neighbourhoods(batch):
    vectors = [unit(row) for row in batch]
    affinities = [[(dot(a, b) + 1) / 2 + 1e-7 for b in vectors] for a in vectors]
    return [[x / sum(row) for x in row] for row in affinities]


def plain(student, teacher):
    sides = zip(neighbourhoods(student.tolist()), neighbourhoods(teacher.tolist()), strict=True)
    return torch.tensor([kl(t, s) for s, t in sides], dtype=torch.float64)


def test_is_the_kl_from_each_rows_neighbourhood():
    student, teacher = rows()
    found = probabilistic_transfer(student, teacher)
    torch.testing.assert_close(found, plain(student, teacher), rtol=1e-10, atol=1e-15)


def test_divided_by_the_batch_its_mean_is_nearly_the_official_codes():
    student, teacher = rows()
    s, t = neighbourhoods(student.tolist()), neighbourhoods(teacher.tolist())
    official = sum(
        b * math.log((b + 1e-7) / (a + 1e-7))
        for of_student, of_teacher in zip(s, t, strict=True)
        for a, b in zip(of_student, of_teacher, strict=True)
    )
    found = float(probabilistic_transfer(student, teacher).mean()) / 7
    assert found == pytest.approx(official / 7**2, rel=1e-4)


def test_sees_no_rotation_or_positive_scale_of_a_row_but_a_shift():
    student, teacher = rows()
    found = probabilistic_transfer(student, teacher)
    for same in (rotated(student), scaled_apart(student)):
        torch.testing.assert_close(probabilistic_transfer(same, teacher), found)
    shifted = probabilistic_transfer(student + 1.0, teacher)
    assert float((shifted - found).abs().max()) > 1e-3


def test_opposite_rows_of_the_student_cost_but_not_without_bound():
    student, teacher = torch.tensor([[1.0, 0.0], [-1.0, 0.0]]), torch.ones(2, 2)
    found = probabilistic_transfer(student, teacher)
    assert 5 < float(found.max()) < 10


def test_shapes_that_do_not_fit_are_refused():
    with pytest.raises(ShapeError, match=r"^these must have one batch: student \(4, 8\), teacher"):
        probabilistic_transfer(torch.zeros(4, 8), torch.zeros(5, 8))
    with pytest.raises(ShapeError) as error:
        probabilistic_transfer(torch.zeros(4, 8, 7, 7), torch.zeros(4, 8))
    assert str(error.value) == "student must be (batch, features), got shape (4, 8, 7, 7)."
