import pytest
import torch

from limbeck._errors import ShapeError
from limbeck.losses import squared_error
from limbeck.losses.features import cosine_distance, hints, patient_hints
from tests.losses.features.plain import (
    by_rows,
    dot,
    flat,
    maps,
    mean,
    rotated,
    scaled_apart,
    squared_gap,
    unit,
)


def test_hints_are_the_mean_squared_error_of_each_row():
    def plain(s, t):
        return mean((a - b) ** 2 for a, b in zip(flat(s), flat(t), strict=True))

    for shape in [(5, 4, 3, 6), (5, 4, 3), (5, 4)]:
        student, teacher = maps(*shape)
        torch.testing.assert_close(hints(student, teacher), by_rows(plain, student, teacher))


def test_hints_of_vectors_are_the_squared_error():
    student, teacher = maps(5, 8)
    torch.testing.assert_close(hints(student, teacher), squared_error(student, teacher))


def test_equal_hints_give_the_teachers_classifier_the_same_answers():
    """What SimKD rests on: its student answers through the teacher's last layer."""
    teacher, _ = maps()
    student = teacher.clone()
    assert float(hints(student, teacher).max()) == 0.0
    weight = torch.randn(10, 4, dtype=torch.float64)
    assert torch.equal(student.mean((2, 3)) @ weight.T, teacher.mean((2, 3)) @ weight.T)


def test_cosine_distance_is_one_less_the_cosine():
    def plain(s, t):
        return 1 - dot(unit(s), unit(t))

    student, teacher = maps(6, 5)
    torch.testing.assert_close(cosine_distance(student, teacher), by_rows(plain, student, teacher))


def test_cosine_distance_takes_any_leading_shape():
    student, teacher = maps(2, 3, 4, 5)
    found = cosine_distance(student, teacher)
    assert found.shape == (2, 3, 4)
    torch.testing.assert_close(found[1, 2], cosine_distance(student[1, 2], teacher[1, 2]))
    assert cosine_distance(student[0, 0, 0], teacher[0, 0, 0]).shape == ()


def test_cosine_distance_is_0_along_1_across_and_2_against():
    east, north = torch.tensor([3.0, 0.0]), torch.tensor([0.0, 0.5])
    assert float(cosine_distance(7 * east, east)) == 0.0
    assert float(cosine_distance(east, north)) == pytest.approx(1.0)
    assert float(cosine_distance(east, -east)) == pytest.approx(2.0)


def test_cosine_distance_sees_no_scale_and_no_common_rotation():
    student, teacher = maps(6, 5)
    found = cosine_distance(student, teacher)
    torch.testing.assert_close(cosine_distance(scaled_apart(student), teacher), found)
    together = rotated(torch.stack([student, teacher]))
    torch.testing.assert_close(cosine_distance(*together), found)


@pytest.mark.parametrize("size", [1e-30, 1e30])
def test_a_direction_is_exact_at_any_size(size):
    student = torch.tensor([[3.0, 4.0]]) * size
    torch.testing.assert_close(
        cosine_distance(student, torch.tensor([[4.0, 3.0]])), torch.tensor([1 - 24 / 25])
    )


def test_a_vector_of_zeros_is_at_one_half_from_all_others():
    zeros = torch.zeros(1, 4, requires_grad=True)
    found = cosine_distance(zeros, torch.ones(1, 4))
    torch.testing.assert_close(found, torch.full((1,), 0.5))
    found.backward()
    assert torch.equal(zeros.grad, torch.zeros(1, 4))
    assert float(cosine_distance(torch.zeros(1, 4), torch.zeros(1, 4))) == 0.0


def test_patient_hints_sum_over_layers_and_features():
    def plain(s, t):
        return sum(squared_gap(unit(a), unit(b)) for a, b in zip(s, t, strict=True))

    student, teacher = maps(5, 3, 8)
    torch.testing.assert_close(patient_hints(student, teacher), by_rows(plain, student, teacher))


def test_patient_hints_see_no_scale_of_any_layer():
    student, teacher = maps(5, 3, 8)
    scales = torch.rand(5, 3, 1, dtype=torch.float64) + 0.1
    torch.testing.assert_close(
        patient_hints(scales * student, teacher), patient_hints(student, teacher)
    )
    against = patient_hints(-teacher, teacher)
    torch.testing.assert_close(against, torch.full((5,), 12.0, dtype=torch.float64))


def test_shapes_that_do_not_fit_are_refused():
    with pytest.raises(ShapeError) as error:
        hints(torch.zeros(4, 8, 7, 7), torch.zeros(4, 16, 7, 7))
    assert str(error.value) == (
        "these must have one shape: student (4, 8, 7, 7), teacher (4, 16, 7, 7)."
    )
    with pytest.raises(ShapeError) as error:
        hints(torch.zeros(4), torch.zeros(4))
    assert str(error.value) == "student must be (batch, features, ...), got (4,)."
    with pytest.raises(ShapeError, match=r"^these must have one shape: student \(4, 2\), teacher"):
        cosine_distance(torch.zeros(4, 2), torch.zeros(4, 3))
    with pytest.raises(ShapeError) as error:
        patient_hints(torch.zeros(4, 8), torch.zeros(4, 8))
    assert str(error.value) == "student must be (batch, layers, features), got shape (4, 8)."
    with pytest.raises(ShapeError, match=r"^these must have one shape: "):
        patient_hints(torch.zeros(4, 2, 8), torch.zeros(4, 3, 8))
