import math

import pytest
import torch

from limbeck._errors import OptionError, ShapeError
from limbeck.losses.features import correlation_congruence
from tests.losses.features.plain import dot, mean, rotated, rows, scaled_apart, squared_gap, unit


def correlation(batch, sharpness, order):
    vectors = [unit(row) for row in batch]

    def kernel(cosine):
        return sum(
            math.exp(-2 * sharpness) * (2 * sharpness) ** p / math.factorial(p) * cosine**p
            for p in range(order + 1)
        )

    return [[kernel(dot(a, b)) for b in vectors] for a in vectors]


def plain(student, teacher, sharpness=0.4, order=2):
    sides = (correlation(side.tolist(), sharpness, order) for side in (student, teacher))
    each = [squared_gap(s, t) / len(s) for s, t in zip(*sides, strict=True)]
    return torch.tensor(each, dtype=torch.float64)


@pytest.mark.parametrize("options", [{}, {"sharpness": 2.0, "order": 4}, {"order": 1}])
def test_is_each_rows_share_of_the_gap_of_the_two_correlations(options):
    student, teacher = rows()
    found = correlation_congruence(student, teacher, **options)
    torch.testing.assert_close(found, plain(student, teacher, **options))


def test_nears_the_gaussian_kernel_as_the_order_grows():
    student, teacher = rows()

    def gaussian(batch):
        vectors = [unit(row) for row in batch.tolist()]
        return [[math.exp(-0.4 * squared_gap(a, b)) for b in vectors] for a in vectors]

    pairs = zip(gaussian(student), gaussian(teacher), strict=True)
    want = [mean((a - b) ** 2 for a, b in zip(s, t, strict=True)) for s, t in pairs]
    found = correlation_congruence(student, teacher, order=15)
    torch.testing.assert_close(found, torch.tensor(want, dtype=torch.float64))


def test_vanishes_where_the_kernel_is_flat():
    assert float(correlation_congruence(*rows(), sharpness=1e-6).max()) < 1e-10


def test_sees_no_rotation_or_positive_scale_of_a_row_but_a_shift():
    student, teacher = rows()
    found = correlation_congruence(student, teacher)
    for same in (rotated(student), scaled_apart(student)):
        torch.testing.assert_close(correlation_congruence(same, teacher), found)
    shifted = correlation_congruence(student + 1.0, teacher)
    assert float((shifted - found).abs().max()) > 1e-3


def test_rows_that_differ_but_correlate_alike_cost_nothing():
    """What RepDistiller calls by this name would not be 0 here."""
    student, _ = rows()
    found = correlation_congruence(rotated(student), student)
    torch.testing.assert_close(found, torch.zeros(7, dtype=torch.float64))


def test_options_and_shapes_that_are_wrong_are_refused():
    one = torch.ones(1, 2)
    with pytest.raises(OptionError, match=r"^sharpness must be above 0 and finite, got 0\.0\.$"):
        correlation_congruence(one, one, sharpness=0.0)
    with pytest.raises(OptionError, match=r"^order must be 1 or more, got 0\.$"):
        correlation_congruence(one, one, order=0)
    with pytest.raises(ShapeError, match=r"^these must have one batch: "):
        correlation_congruence(torch.zeros(4, 8), torch.zeros(5, 8))
    with pytest.raises(ShapeError, match=r"^student must be \(batch, features\), got shape \(4,\)"):
        correlation_congruence(torch.zeros(4), torch.zeros(4, 8))
