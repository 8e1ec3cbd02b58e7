import math
import statistics

import pytest
import torch
from torch.distributions import Normal, kl_divergence

from limbeck._errors import OptionError, ShapeError
from limbeck.losses import gaussian_kl, gaussian_nll, pinball, squared_error

LEVELS = (0.1, 0.5, 0.8)


def kl(mean, log_variance, teacher_mean, teacher_log_variance):
    """Of one row in plain Python floats."""
    total = 0.0
    for mu, log_s, m, log_v in zip(
        mean, log_variance, teacher_mean, teacher_log_variance, strict=True
    ):
        s, v = math.exp(log_s), math.exp(log_v)
        total += 0.5 * (log_s - log_v + (v + (m - mu) ** 2) / s - 1)
    return total


def nll(mean, log_variance, target):
    density = [
        statistics.NormalDist(mu, math.exp(log_s / 2)).pdf(t)
        for mu, log_s, t in zip(mean, log_variance, target, strict=True)
    ]
    return -sum(math.log(x) for x in density)


def one_pinball(quantile, target, level):
    gap = target - quantile
    return level * gap if gap > 0 else (level - 1) * gap


def gaussians(sides=4, rows=7, numbers=5):
    return torch.randn(sides, rows, numbers, dtype=torch.float64).unbind()


def by_rows(function, *tensors):
    each = zip(*[tensor.tolist() for tensor in tensors], strict=True)
    return torch.tensor([function(*row) for row in each], dtype=torch.float64)


def test_gaussian_kl_matches_the_formula():
    tensors = gaussians()
    torch.testing.assert_close(gaussian_kl(*tensors), by_rows(kl, *tensors))


def test_gaussian_kl_is_the_teachers_to_the_students():
    mean, log_variance, teacher_mean, teacher_log_variance = gaussians()
    teacher = Normal(teacher_mean, (teacher_log_variance / 2).exp())
    want = kl_divergence(teacher, Normal(mean, (log_variance / 2).exp())).sum(-1)
    found = gaussian_kl(mean, log_variance, teacher_mean, teacher_log_variance)
    torch.testing.assert_close(found, want)


def test_at_equal_variances_it_is_the_squared_error_in_units_of_them():
    mean, teacher_mean = gaussians(sides=2)
    found = gaussian_kl(mean, 0 * mean + 0.7, teacher_mean, 0 * mean + 0.7)
    want = 5 * squared_error(mean, teacher_mean) / (2 * math.exp(0.7))
    torch.testing.assert_close(found, want)


def test_gaussian_kl_gives_neither_of_the_teachers_a_gradient():
    tensors = [tensor.requires_grad_() for tensor in gaussians()]
    gaussian_kl(*tensors).sum().backward()
    assert [tensor.grad is None for tensor in tensors] == [False, False, True, True]
    assert torch.autograd.gradcheck(
        lambda mean, log_variance: gaussian_kl(mean, log_variance, *tensors[2:]), tensors[:2]
    )


def test_near_equality_float32_keeps_the_divergence():
    """r - 1 - log r of a ratio of 1 + 2e-3 is 2e-6: rounding of 1e-7 would be a twentieth of it."""
    near = torch.linspace(1e-3, 4e-3, 50)[:, None]
    zero = torch.zeros_like(near)
    want = [(math.exp(x) - 1 - x) / 2 for x in near[:, 0].tolist()]
    found = gaussian_kl(zero, zero, zero, near)
    torch.testing.assert_close(found, torch.tensor(want), rtol=2e-3, atol=0)


def test_gaussian_nll_matches_the_density():
    tensors = gaussians(sides=3)
    torch.testing.assert_close(gaussian_nll(*tensors), by_rows(nll, *tensors))
    want = -Normal(tensors[0], (tensors[1] / 2).exp()).log_prob(tensors[2]).sum(-1)
    torch.testing.assert_close(gaussian_nll(*tensors), want)


def test_gaussian_nll_is_lowest_where_the_variance_is_the_squared_error():
    mean, _, target = gaussians(sides=3)
    log_variance = (mean - target).square().log().requires_grad_()
    gaussian_nll(mean, log_variance, target).sum().backward()
    torch.testing.assert_close(log_variance.grad, torch.zeros(7, 5).double())
    least = gaussian_nll(mean, log_variance.detach(), target)
    for move in (-0.1, 0.1):
        assert bool((gaussian_nll(mean, log_variance.detach() + move, target) > least).all())


def test_gaussian_nll_of_a_teacher_is_its_divergence_and_its_entropy_on_average():
    mean, log_variance, teacher_mean, teacher_log_variance = gaussians(rows=1, numbers=1)
    teacher = Normal(teacher_mean, (teacher_log_variance / 2).exp())
    drawn = teacher.sample((200_000,))[:, 0]
    found = gaussian_nll(mean.expand_as(drawn), log_variance.expand_as(drawn), drawn).mean()
    want = gaussian_kl(mean, log_variance, teacher_mean, teacher_log_variance) + teacher.entropy()
    assert float(found) == pytest.approx(float(want), rel=0.02)


def test_gaussian_nll_gives_the_target_no_gradient_and_may_be_negative():
    mean, log_variance, target = (tensor.requires_grad_() for tensor in gaussians(sides=3))
    gaussian_nll(mean, log_variance, target).sum().backward()
    assert target.grad is None
    sure = torch.full((7, 5), -9.0).double()
    assert float(gaussian_nll(target.detach(), sure, target).max()) < 0


def test_pinball_matches_the_formula():
    student, target = torch.randn(7, 3).double(), torch.randn(7).double()
    want = [
        sum(one_pinball(q, t, level) for q, level in zip(row, LEVELS, strict=True)) / 3
        for row, t in zip(student.tolist(), target.tolist(), strict=True)
    ]
    found = pinball(student, target, levels=LEVELS)
    torch.testing.assert_close(found, torch.tensor(want).double())


def test_at_one_half_pinball_is_half_the_absolute_error():
    student, target = torch.randn(2, 7).double()
    found = pinball(student[:, None], target, levels=[0.5])
    torch.testing.assert_close(found, (student - target).abs() / 2)


def test_on_average_over_targets_pinball_is_lowest_at_their_quantiles():
    targets = torch.randn(1001).double()
    candidates = torch.linspace(-3, 3, 301).double()
    for level in LEVELS:
        means = [
            pinball(each.expand(1001, 1), targets, levels=[level]).mean() for each in candidates
        ]
        found = float(candidates[torch.stack(means).argmin()])
        assert found == pytest.approx(float(targets.quantile(level)), abs=0.02)


def test_near_its_ends_only_one_side_of_a_quantile_costs_something():
    above, below = torch.ones(1), -torch.ones(1)
    target = torch.zeros(())
    assert float(pinball(above, target, levels=[1e-9])) == pytest.approx(1)
    assert float(pinball(below, target, levels=[1e-9])) == pytest.approx(0, abs=1e-8)
    assert float(pinball(below, target, levels=[1 - 1e-9])) == pytest.approx(1)
    assert float(pinball(above, target, levels=[1 - 1e-9])) == pytest.approx(0, abs=1e-8)


@pytest.mark.parametrize("level", [0.0, 1.0, -0.1, float("nan")])
def test_a_level_out_of_its_range_is_refused(level):
    with pytest.raises(OptionError) as error:
        pinball(torch.zeros(4, 2), torch.zeros(4), levels=[0.5, level])
    assert str(error.value) == f"levels must be above 0 and below 1, got {level}."


def test_what_does_not_fit_is_refused():
    with pytest.raises(ShapeError) as error:
        pinball(torch.zeros(4, 2), torch.zeros(4), levels=LEVELS)
    assert str(error.value) == (
        "student_quantiles must have one quantile for each of the 3 levels, got (4, 2)."
    )
    with pytest.raises(ShapeError) as error:
        pinball(torch.zeros(4, 3), torch.zeros(3), levels=LEVELS)
    assert str(error.value) == (
        "target must have the shape of student_quantiles without its last axis (levels): expected "
        "(4,), got (3,)."
    )
    with pytest.raises(ShapeError) as error:
        gaussian_nll(torch.zeros(4, 2), torch.zeros(4, 2), torch.zeros(4))
    assert str(error.value) == (
        "these must have one shape: student_mean (4, 2), student_log_variance (4, 2), target (4,)."
    )
    with pytest.raises(ShapeError) as error:
        gaussian_kl(torch.zeros(4, 2), torch.zeros(4, 2), torch.zeros(4, 2), torch.zeros(4, 1))
    assert str(error.value) == (
        "these must have one shape: student_mean (4, 2), student_log_variance (4, 2), "
        "teacher_mean (4, 2), teacher_log_variance (4, 1)."
    )
