import math

import pytest
import torch

from limbeck._errors import ShapeError
from limbeck.losses.features import relational_angle, relational_distance
from tests.losses.features.plain import dot, huber, less, mean, rotated, rows, unit

FAMILY = [relational_distance, relational_angle]


def distances(batch):
    each = [[math.dist(a, b) for b in batch] for a in batch]
    scale = mean(x for row in each for x in row if x > 0)
    return [[x / scale for x in row] for row in each]


def angles(batch):
    def cosine(i, j, k):
        if i in (j, k):
            return 0.0
        return dot(unit(less(batch[j], batch[i])), unit(less(batch[k], batch[i])))

    every = range(len(batch))
    return [[cosine(i, j, k) for j in every for k in every] for i in every]


PLAIN = {relational_distance: distances, relational_angle: angles}


@pytest.mark.parametrize("loss", FAMILY)
def test_is_each_rows_mean_of_hubers_of_the_gaps(loss):
    student, teacher = rows()
    sides = zip(PLAIN[loss](student.tolist()), PLAIN[loss](teacher.tolist()), strict=True)
    want = [mean(huber(a - b) for a, b in zip(s, t, strict=True)) for s, t in sides]
    found = loss(student, teacher)
    torch.testing.assert_close(found, torch.tensor(want, dtype=torch.float64))


def test_a_gap_beyond_1_counts_by_its_size():
    wide = torch.tensor([[0.0], [0.01], [0.02], [9.0], [9.01], [-9.0]], dtype=torch.float64)
    teacher = torch.eye(6, dtype=torch.float64)
    s, t = distances(wide.tolist()), distances(teacher.tolist())
    want = [mean(huber(a - b) for a, b in zip(*row, strict=True)) for row in zip(s, t, strict=True)]
    pairs = [pair for row in zip(s, t, strict=True) for pair in zip(*row, strict=True)]
    assert max(abs(a - b) for a, b in pairs) > 1
    found = relational_distance(wide, teacher)
    torch.testing.assert_close(found, torch.tensor(want, dtype=torch.float64))


@pytest.mark.parametrize("loss", FAMILY)
def test_sees_no_rotation_shift_or_scale_but_another_linear_map(loss):
    student, teacher = rows()
    found = loss(student, teacher)
    for same in (rotated(student), student + 30.0, 7 * student):
        torch.testing.assert_close(loss(same, teacher), found)
    stretched = student * torch.tensor([1.0, 1.0, 1.0, 1.0, 5.0], dtype=torch.float64)
    assert float((loss(stretched, teacher) - found).abs().max()) > 1e-3


@pytest.mark.parametrize("loss", FAMILY)
def test_a_shift_of_all_rows_costs_no_precision(loss):
    """Distances taken from products of the rows lose all digits here."""
    student, teacher = (side.float() for side in rows())
    student = (student * 256).round() / 256
    torch.testing.assert_close(loss(student + 1024.0, teacher), loss(student, teacher))


def test_rows_that_coincide_have_no_gradient_towards_each_other():
    student = torch.ones(2, 3, requires_grad=True)
    found = relational_distance(student, torch.randn(2, 3))
    found.sum().backward()
    torch.testing.assert_close(found, torch.full((2,), 0.25))  # Huber's of 0 and of 1
    assert torch.equal(student.grad, torch.zeros(2, 3))


@pytest.mark.parametrize("loss", FAMILY)
def test_shapes_that_do_not_fit_are_refused(loss):
    with pytest.raises(ShapeError, match=r"^these must have one batch: student \(4, 8\), teacher"):
        loss(torch.zeros(4, 8), torch.zeros(5, 8))
    with pytest.raises(
        ShapeError, match=r"^teacher must be \(batch, features\), got shape \(4, 8,"
    ):
        loss(torch.zeros(4, 8), torch.zeros(4, 8, 7, 7))
