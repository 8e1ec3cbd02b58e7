import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from limbeck._errors import OptionError, ShapeError
from limbeck.losses import alpha_beta, reverse_kl, soft_targets

NONE = float("-inf")


def softmax(row, temperature):
    powers = [math.exp(x / temperature) for x in row]
    return [power / sum(powers) for power in powers]


def reference(student, teacher, a, b, temperature):
    """The formula, for powers that are not 0, in plain Python floats."""
    p, q = softmax(teacher, temperature), softmax(student, temperature)
    total = sum(
        x**a * y**b - a / (a + b) * x ** (a + b) - b / (a + b) * y ** (a + b)
        for x, y in zip(p, q, strict=True)
    )
    return -(temperature**2) / (a * b) * total


def at_0(student, teacher, power, *, teachers):
    """Its limit where the other power is 0: Cichocki and others' (2011) extension."""
    p, q = softmax(teacher, 1.0), softmax(student, 1.0)
    total = 0.0
    for x, y in zip(*((p, q) if teachers else (q, p)), strict=True):
        total += x**power * power * math.log(x / y) - x**power + y**power
    return total / power**2


def pair(rows=7, classes=5):
    return torch.randn(2, rows, classes, dtype=torch.float64).unbind()


def by_rows(function, student, teacher, *options, **named):
    each = zip(student.tolist(), teacher.tolist(), strict=True)
    return torch.tensor([function(*row, *options, **named) for row in each], dtype=torch.float64)


def gradient(student, teacher, **options):
    student = student.clone().requires_grad_()
    alpha_beta(student, teacher, **options).sum().backward()
    return student.grad


@pytest.mark.parametrize("temperature", [0.25, 1.0, 4.0])
@pytest.mark.parametrize("powers", [(0.8, 0.3), (0.5, 0.5), (0.2, 0.7), (2.0, 1.0), (0.05, 3.0)])
def test_matches_the_formula_and_has_the_factor_t_squared(powers, temperature):
    student, teacher = pair()
    a, b = powers
    found = alpha_beta(student, teacher, teacher_power=a, student_power=b, temperature=temperature)
    want = by_rows(reference, student, teacher, a, b, temperature)
    torch.testing.assert_close(found, want)


def test_the_options_are_the_official_ones_if_left_out():
    student, teacher = pair()
    want = by_rows(reference, student, teacher, 0.8, 0.3, 1.0)
    torch.testing.assert_close(alpha_beta(student, teacher), want)


def test_two_of_its_corners_are_the_two_kls():
    student, teacher = pair()
    forward = alpha_beta(student, teacher, teacher_power=1.0, student_power=0.0)
    torch.testing.assert_close(forward, soft_targets(student, teacher, temperature=1.0))
    reverse = alpha_beta(student, teacher, teacher_power=0.0, student_power=1.0)
    torch.testing.assert_close(reverse, reverse_kl(student, teacher))


def test_at_one_half_each_it_is_four_times_the_squared_hellinger_distance():
    student, teacher = pair()
    found = alpha_beta(student, teacher, teacher_power=0.5, student_power=0.5)
    overlap = (student.softmax(-1) * teacher.softmax(-1)).sqrt().sum(-1)
    torch.testing.assert_close(found, 4 * (1 - overlap))
    torch.testing.assert_close(
        found, alpha_beta(teacher, student, teacher_power=0.5, student_power=0.5)
    )


@pytest.mark.parametrize("power", [0.5, 1.0, 2.0])
def test_where_a_power_is_0_it_is_the_limit(power):
    student, teacher = pair()
    found = alpha_beta(student, teacher, teacher_power=power, student_power=0.0)
    torch.testing.assert_close(found, by_rows(at_0, student, teacher, power, teachers=True))
    near = alpha_beta(student, teacher, teacher_power=power, student_power=1e-7)
    torch.testing.assert_close(found, near, rtol=1e-5, atol=1e-6)
    found = alpha_beta(student, teacher, teacher_power=0.0, student_power=power)
    torch.testing.assert_close(found, by_rows(at_0, student, teacher, power, teachers=False))
    near = alpha_beta(student, teacher, teacher_power=1e-7, student_power=power)
    torch.testing.assert_close(found, near, rtol=1e-5, atol=1e-6)


@given(
    rows=st.lists(st.tuples(*[st.floats(-200, 200)] * 8), min_size=1, max_size=4),
    powers=st.tuples(st.floats(0, 3), st.floats(0, 3)).filter(lambda powers: sum(powers) > 0.05),
)
def test_is_never_negative_and_0_at_equality(rows, powers):
    student, teacher = torch.tensor(rows, dtype=torch.float64).chunk(2, dim=-1)
    options = dict(zip(("teacher_power", "student_power"), powers, strict=True))
    found = alpha_beta(student, teacher, **options)
    assert float(found.min()) >= -1e-9
    assert not bool(found.isnan().any())
    same = alpha_beta(teacher, teacher, **options)
    torch.testing.assert_close(same, torch.zeros_like(same))


def test_near_equality_float32_keeps_the_divergence():
    """Half the sum of p d^2, some 1e-7: the three powers of the formula are only as exact."""
    _, teacher = pair()
    student = teacher + 1e-3 * torch.randn(7, 5).double()
    for powers in ((0.5, 0.5), (0.9, 0.01)):
        options = dict(zip(("teacher_power", "student_power"), powers, strict=True))
        want = alpha_beta(student, teacher, **options)
        found = alpha_beta(student.float(), teacher.float(), **options)
        torch.testing.assert_close(found.double(), want, rtol=0.1, atol=0)


@pytest.mark.parametrize("powers", [(0.8, 0.3), (0.5, 0.5)])
def test_is_finite_where_one_side_excludes_a_class(powers):
    options = dict(zip(("teacher_power", "student_power"), powers, strict=True))
    some, all_ = torch.tensor([[0.0, NONE]]).double(), torch.tensor([[0.0, 1.0]]).double()
    a, b = powers
    p, q = [1.0, 0.0], softmax([0.0, 1.0], 1.0)
    for one, other in ((p, q), (q, p)):
        student, teacher = (all_, some) if one is p else (some, all_)
        want = -sum(
            x**a * y**b - a / (a + b) * x ** (a + b) - b / (a + b) * y ** (a + b)
            for x, y in zip(one, other, strict=True)
        ) / (a * b)
        assert float(alpha_beta(student, teacher, **options)) == pytest.approx(want)
        assert bool(torch.isfinite(gradient(student, teacher, **options)).all())


def test_at_a_corner_it_is_infinite_where_the_divergence_is():
    some, all_ = torch.tensor([[0.0, NONE]]), torch.tensor([[0.0, 1.0]])
    forward = {"teacher_power": 1.0, "student_power": 0.0}
    assert float(alpha_beta(some, all_, **forward)) == float("inf")
    assert float(alpha_beta(all_, some, **forward)) == pytest.approx(math.log(1 + math.e))
    reverse = {"teacher_power": 0.0, "student_power": 1.0}
    assert float(alpha_beta(all_, some, **reverse)) == float("inf")
    assert float(alpha_beta(some, all_, **reverse)) == pytest.approx(math.log(1 + math.e))


def test_at_a_high_temperature_the_factor_keeps_the_gradients_size():
    student, teacher = pair()
    at_100, at_10000 = (gradient(student, teacher, temperature=t) for t in (1e2, 1e4))
    torch.testing.assert_close(at_100, at_10000, rtol=0.1, atol=1e-2 * float(at_100.abs().max()))


def test_what_is_not_a_number_is_not_hidden():
    nan, one = torch.tensor([float("nan"), 0.0]), torch.tensor([1.0, 0.0])
    assert math.isnan(float(alpha_beta(nan, one)))
    assert math.isnan(float(alpha_beta(one, nan)))


@pytest.mark.parametrize(
    "powers", [(0.0, 0.0), (-0.1, 1.0), (1.0, -0.1), (float("inf"), 1.0), (float("nan"), 1.0)]
)
def test_powers_out_of_their_range_are_refused(powers):
    options = dict(zip(("teacher_power", "student_power"), powers, strict=True))
    with pytest.raises(OptionError) as error:
        alpha_beta(torch.zeros(1, 2), torch.zeros(1, 2), **options)
    assert str(error.value) == (
        "teacher_power and student_power must be 0 or more, finite and not both 0, got "
        f"{powers[0]} and {powers[1]}."
    )


def test_what_does_not_fit_is_refused():
    with pytest.raises(OptionError, match=r"^temperature must be above 0 and finite, got 0\.$"):
        alpha_beta(torch.zeros(1, 2), torch.zeros(1, 2), temperature=0)
    with pytest.raises(ShapeError) as error:
        alpha_beta(torch.zeros(4, 10), torch.zeros(4, 100))
    assert str(error.value) == (
        "these must have one shape: student_logits (4, 10), teacher_logits (4, 100)."
    )
