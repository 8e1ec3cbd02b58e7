import pytest
import torch

from limbeck._errors import OptionError, ShapeError
from limbeck.losses.features import activation_boundaries
from tests.losses.features.plain import by_rows, flat, maps


def plain(margin):
    def one(s, t):
        if t > 0:
            return (s - margin) ** 2 if s <= margin else 0.0
        return (s + margin) ** 2 if s > -margin else 0.0

    return lambda s, t: sum(one(a, b) for a, b in zip(flat(s), flat(t), strict=True))


@pytest.mark.parametrize("margin", [0.0, 0.5, 1.0, 3.0])
@pytest.mark.parametrize("shape", [(5, 4, 3, 6), (5, 8)])
def test_is_the_sum_of_the_squared_hinges(shape, margin):
    student, teacher = maps(*shape)
    want = by_rows(plain(margin), student, teacher)
    torch.testing.assert_close(activation_boundaries(student, teacher, margin=margin), want)


def test_the_margin_is_the_papers_if_left_out():
    student, teacher = maps()
    found = activation_boundaries(student, teacher)
    assert torch.equal(found, activation_boundaries(student, teacher, margin=1.0))


def test_of_the_teacher_only_the_sign_counts():
    student, teacher = maps()
    found = activation_boundaries(student, teacher)
    assert torch.equal(activation_boundaries(student, teacher.sign() * 1e-3), found)


def test_is_0_where_every_neuron_is_on_the_teachers_side_by_the_margin():
    _, teacher = maps()
    student = 1.5 * teacher.sign()
    assert float(activation_boundaries(student, teacher).max()) == 0.0
    assert float(activation_boundaries(student, teacher, margin=1.6).min()) > 0.0


def test_a_neuron_of_the_teachers_at_0_is_off():
    zero = torch.zeros(1, 1)
    assert float(activation_boundaries(torch.full((1, 1), -1.0), zero)) == 0.0
    assert float(activation_boundaries(torch.full((1, 1), 1.0), zero)) == 4.0


def test_without_a_margin_all_zeros_would_do():
    student, teacher = maps()
    assert float(activation_boundaries(0 * student, teacher, margin=0.0).max()) == 0.0


@pytest.mark.parametrize("margin", [-1.0, float("inf"), float("nan")])
def test_a_margin_out_of_its_range_is_refused(margin):
    with pytest.raises(OptionError) as error:
        activation_boundaries(torch.zeros(1, 2), torch.zeros(1, 2), margin=margin)
    assert str(error.value) == f"margin must be 0 or more and finite, got {margin}."


def test_shapes_that_do_not_fit_are_refused():
    with pytest.raises(ShapeError, match=r"^these must have one shape: "):
        activation_boundaries(torch.zeros(4, 8), torch.zeros(4, 9))
    with pytest.raises(ShapeError, match=r"^student must be \(batch, features, \.\.\.\), got \(4,"):
        activation_boundaries(torch.zeros(4), torch.zeros(4))
