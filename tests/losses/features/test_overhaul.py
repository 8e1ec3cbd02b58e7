import math
from statistics import NormalDist

import pytest
import torch

from limbeck._errors import ShapeError
from limbeck.losses.features import partial_distance, relu_margin
from tests.losses.features.plain import by_rows, flat, maps


def plain(s, t, margins):
    """In the three cases of the official code."""
    total = 0.0
    for of_student, of_teacher, m in zip(s, t, margins, strict=True):
        for a, b in zip(flat(of_student), flat(of_teacher), strict=True):
            if b > 0 or (m < b <= 0 and a > b):
                total += (a - b) ** 2
            elif b <= m and a > m:
                total += (a - m) ** 2
    return total


@pytest.mark.parametrize("shape", [(5, 4, 3, 6), (5, 4)])
def test_is_the_sum_of_the_three_cases(shape):
    student, teacher = maps(*shape)
    margin = torch.tensor([-0.1, -0.5, -1.0, 0.0], dtype=torch.float64)
    want = by_rows(lambda s, t: plain(s, t, margin.tolist()), student, teacher)
    torch.testing.assert_close(partial_distance(student, teacher, margin), want)


@pytest.mark.parametrize(
    ("student", "teacher", "want"),
    [
        (-5.0, -0.2, 0.0),  # both off, the student further
        (-5.0, -9.0, 0.0),
        (-0.1, -0.2, 0.01),  # off, but not as far as the teacher
        (-0.1, -9.0, 0.16),  # below the margin of -0.5 no further is asked
        (2.0, -0.2, 4.84),
        (-5.0, 1.0, 36.0),
        (3.0, 1.0, 4.0),
        (-1.0, 0.0, 0.0),
    ],
)
def test_asks_nothing_where_both_are_off(student, teacher, want):
    found = partial_distance(
        torch.tensor([[student]]), torch.tensor([[teacher]]), torch.tensor([-0.5])
    )
    assert float(found) == pytest.approx(want)


def test_a_margin_of_0_wants_off_to_be_off_and_one_far_below_wants_the_numbers():
    student, teacher = maps()
    on = partial_distance(student, teacher, torch.zeros(4, dtype=torch.float64))
    both = (student.clamp_min(0) - teacher.clamp_min(0)).square()
    want = torch.where(teacher > 0, (student - teacher).square(), both)
    torch.testing.assert_close(on, want.sum((1, 2, 3)))
    far = partial_distance(student, teacher, torch.full((4,), -99.0, dtype=torch.float64))
    matched = (student - teacher).square().masked_fill((student < teacher) & (teacher < 0), 0.0)
    torch.testing.assert_close(far, matched.sum((1, 2, 3)))


def test_no_gradient_reaches_the_margin():
    student, teacher = maps()
    margin = torch.full((4,), -0.5, dtype=torch.float64, requires_grad=True)
    partial_distance(student.requires_grad_(), teacher, margin).sum().backward()
    assert margin.grad is None


@pytest.mark.parametrize("deviation", [0.3, 1.0, -2.0])
@pytest.mark.parametrize("mean", [-2.0, 0.0, 0.5])
def test_the_margin_is_the_mean_of_what_is_below_0(mean, deviation):
    normal = NormalDist()
    ratio = mean / abs(deviation)
    want = mean - abs(deviation) * normal.pdf(ratio) / normal.cdf(-ratio)
    found = relu_margin(torch.tensor([mean]).double(), torch.tensor([deviation]).double())
    assert float(found) == pytest.approx(want)
    places = torch.linspace(-20, 0, 200_001, dtype=torch.float64)
    weights = (-((places - mean) ** 2) / (2 * deviation**2)).exp()
    assert float(found) == pytest.approx(float((places * weights).sum() / weights.sum()), abs=1e-3)


def test_the_margin_is_finite_however_rare_a_number_below_0_is():
    mean = torch.tensor([50.0, 1e3, -50.0, -1e3, 0.0, 5.0, -5.0], dtype=torch.float64)
    deviation = torch.tensor([1.0, 1.0, 1.0, 1.0, 0.0, 0.0, 0.0], dtype=torch.float64)
    found = relu_margin(mean, deviation).tolist()
    assert found[:2] == pytest.approx([-1 / 50, -1e-3], rel=2e-3)
    assert found[2:] == [-50.0, -1e3, 0.0, 0.0, -5.0]
    assert relu_margin(torch.zeros(1).bfloat16(), torch.ones(1).bfloat16()).dtype == torch.float32
    assert float(relu_margin(torch.zeros(1), torch.ones(1))) == pytest.approx(
        -math.sqrt(2 / math.pi)
    )


def test_shapes_that_do_not_fit_are_refused():
    with pytest.raises(ShapeError) as error:
        partial_distance(torch.zeros(4, 8, 7, 7), torch.zeros(4, 8, 7, 7), torch.zeros(7))
    assert str(error.value) == (
        "margin must have one number for each channel, expected shape (8,), got (7,)."
    )
    with pytest.raises(ShapeError, match=r"^these must have one shape: student \(4, 8\), teacher"):
        partial_distance(torch.zeros(4, 8), torch.zeros(4, 9), torch.zeros(8))
    with pytest.raises(ShapeError, match=r"^student must be \(batch, features, \.\.\.\), got \(4,"):
        partial_distance(torch.zeros(4), torch.zeros(4), torch.zeros(4))
    with pytest.raises(ShapeError, match=r"^these must have one shape: mean \(4,\), deviation \(5"):
        relu_margin(torch.zeros(4), torch.zeros(5))
