import math

import pytest
import torch

from limbeck._errors import ShapeError
from limbeck.losses.features import factor_transfer
from tests.losses.features.plain import by_rows, flat, maps, mean, unit


def plain(s, t):
    return mean(abs(a - b) for a, b in zip(unit(flat(s)), unit(flat(t)), strict=True))


def test_is_the_mean_difference_of_normalised_factors():
    for shape in [(5, 4, 3, 6), (5, 8)]:
        student, teacher = maps(*shape)
        found = factor_transfer(student, teacher)
        torch.testing.assert_close(found, by_rows(plain, student, teacher))


def test_sees_no_positive_scale_of_a_row():
    student, teacher = maps()
    scales = torch.rand(5, 1, 1, 1, dtype=torch.float64) + 0.1
    torch.testing.assert_close(
        factor_transfer(scales * student, teacher), factor_transfer(student, teacher)
    )


def test_sees_which_channel_is_active():
    """RepDistiller's port does not: it has the mean over channels taken before."""
    student, _ = maps()
    assert float(factor_transfer(student.roll(1, dims=1), student).min()) > 0.01


def test_is_at_most_two_by_the_root_of_the_numbers():
    against = factor_transfer(-torch.ones(1, 16), torch.ones(1, 16))
    assert float(against) == pytest.approx(2 / math.sqrt(16))


def test_shapes_that_do_not_fit_are_refused():
    with pytest.raises(ShapeError, match=r"^these must have one shape: student \(4, 2\), teacher"):
        factor_transfer(torch.zeros(4, 2), torch.zeros(4, 3))
    with pytest.raises(ShapeError, match=r"^student must be \(batch, features, \.\.\.\), got \(4,"):
        factor_transfer(torch.zeros(4), torch.zeros(4))
