import pytest
import torch

from limbeck._errors import ShapeError
from limbeck.losses.features import similarity_preserving
from tests.losses.features.plain import dot, flat, maps, rotated, rows, scaled_apart, unit


def similarity(batch):
    vectors = [flat(row) for row in batch]
    return [unit([dot(a, b) for b in vectors]) for a in vectors]


def plain(student, teacher):
    sides = zip(similarity(student.tolist()), similarity(teacher.tolist()), strict=True)
    each = [sum((a - b) ** 2 for a, b in zip(s, t, strict=True)) / len(s) for s, t in sides]
    return torch.tensor(each, dtype=torch.float64)


def test_is_each_rows_share_of_the_gap_of_the_two_similarity_matrices():
    student, teacher = rows()
    torch.testing.assert_close(similarity_preserving(student, teacher), plain(student, teacher))
    student, teacher = maps()
    found = similarity_preserving(student[:, :2], teacher)
    torch.testing.assert_close(found, plain(student[:, :2], teacher))


def test_the_mean_is_the_squared_norm_by_the_batch_squared():
    student, teacher = rows()
    s, t = (torch.tensor(similarity(side.tolist())) for side in (student, teacher))
    want = (s - t).square().sum() / 7**2
    torch.testing.assert_close(float(similarity_preserving(student, teacher).mean()), float(want))


def test_sees_no_rotation_sign_or_global_scale_but_a_shift_and_a_rows_scale():
    student, teacher = rows()
    found = similarity_preserving(student, teacher)
    for same in (rotated(student), -student, 30 * student):
        torch.testing.assert_close(similarity_preserving(same, teacher), found)
    for other in (student + 1.0, scaled_apart(student)):
        assert float((similarity_preserving(other, teacher) - found).abs().max()) > 1e-3


def test_another_batch_is_refused():
    with pytest.raises(ShapeError) as error:
        similarity_preserving(torch.zeros(4, 8), torch.zeros(5, 8))
    assert str(error.value) == "these must have one batch: student (4, 8), teacher (5, 8)."
    with pytest.raises(ShapeError, match=r"^teacher must be \(batch, features, \.\.\.\), got \(4,"):
        similarity_preserving(torch.zeros(4, 8), torch.zeros(4))
