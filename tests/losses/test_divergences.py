import math
from functools import partial

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from limbeck._errors import OptionError, ShapeError
from limbeck.losses import (
    jensen_shannon,
    reverse_kl,
    skew_kl,
    skew_reverse_kl,
    soft_cross_entropy,
    soft_targets,
    total_variation,
)

FAMILY = [reverse_kl, jensen_shannon, skew_kl, skew_reverse_kl, total_variation]
logits = st.lists(st.tuples(*[st.floats(-200, 200)] * 8), min_size=1, max_size=4)


def softmax(row, temperature):
    powers = [math.exp(x / temperature) for x in row]
    return [power / sum(powers) for power in powers]


def kl(p, q):
    return sum(a * math.log(a / b) for a, b in zip(p, q, strict=True))


def mix(share, p, q):
    return [share * a + (1 - share) * b for a, b in zip(p, q, strict=True)]


PLAIN = {
    reverse_kl: lambda p, q: kl(q, p),
    jensen_shannon: lambda p, q: (kl(p, mix(0.5, p, q)) + kl(q, mix(0.5, p, q))) / 2,
    partial(jensen_shannon, teacher_share=0.2): lambda p, q: (
        0.2 * kl(p, mix(0.2, p, q)) + 0.8 * kl(q, mix(0.2, p, q))
    ),
    skew_kl: lambda p, q: kl(p, mix(0.1, p, q)),
    partial(skew_kl, skew=0.7): lambda p, q: kl(p, mix(0.7, p, q)),
    skew_reverse_kl: lambda p, q: kl(q, mix(0.9, p, q)),
    partial(skew_reverse_kl, skew=0.7): lambda p, q: kl(q, mix(0.3, p, q)),
    total_variation: lambda p, q: sum(abs(a - b) for a, b in zip(p, q, strict=True)) / 2,
    soft_cross_entropy: lambda p, q: -sum(a * math.log(b) for a, b in zip(p, q, strict=True)),
}
"""Each loss in plain Python floats, from the teacher's probabilities and the student's."""


def pair(rows=7, classes=5):
    return torch.randn(2, rows, classes, dtype=torch.float64).unbind()


def gradient(loss, student, teacher):
    student = student.clone().requires_grad_()
    loss(student, teacher).sum().backward()
    return student.grad


@pytest.mark.parametrize("temperature", [0.25, 1.0, 4.0])
@pytest.mark.parametrize("loss", PLAIN)
def test_matches_the_formula_and_has_the_factor_t_squared(loss, temperature):
    student, teacher = pair()
    want = [
        temperature**2 * PLAIN[loss](softmax(t, temperature), softmax(s, temperature))
        for s, t in zip(student.tolist(), teacher.tolist(), strict=True)
    ]
    found = loss(student, teacher, temperature=temperature)
    torch.testing.assert_close(found, torch.tensor(want, dtype=torch.float64))


def test_the_options_are_the_papers_if_left_out():
    student, teacher = pair()
    assert torch.equal(
        jensen_shannon(student, teacher), jensen_shannon(student, teacher, teacher_share=0.5)
    )
    for loss in (skew_kl, skew_reverse_kl):
        assert torch.equal(loss(student, teacher), loss(student, teacher, skew=0.1))
    for loss in FAMILY:
        assert torch.equal(loss(student, teacher), loss(student, teacher, temperature=1.0))


def test_the_gradient_of_reverse_kl_is_q_times_the_log_ratio_less_its_mean():
    student, teacher = pair()
    log_q, log_p = student.log_softmax(-1), teacher.log_softmax(-1)
    value = (log_q.exp() * (log_q - log_p)).sum(-1, keepdim=True)
    want = log_q.exp() * (log_q - log_p - value)
    torch.testing.assert_close(gradient(reverse_kl, student, teacher), want)


def test_reverse_kl_keeps_to_one_mode_where_soft_targets_cover_both():
    """The best of a family of one-humped students for a teacher of two humps."""
    places = torch.arange(21, dtype=torch.float64)
    teacher = torch.logaddexp(-((places - 4) ** 2) / 4, -((places - 16) ** 2) / 4)[None]
    means, widths = torch.meshgrid(places, torch.linspace(1, 9, 33).double(), indexing="ij")
    students = -((places - means[..., None]) ** 2) / (2 * widths[..., None] ** 2)
    both = teacher.expand(21, 33, 21)
    covers = divmod(int(soft_targets(students, both, temperature=1.0).argmin()), 33)
    keeps = divmod(int(reverse_kl(students, both).argmin()), 33)
    assert covers[0] == 10
    assert float(widths[covers]) > 5
    assert keeps[0] in (4, 16)
    assert float(widths[keeps]) < 2


def test_soft_cross_entropy_is_soft_targets_and_the_teachers_entropy():
    student, teacher = pair()
    entropy = torch.distributions.Categorical(logits=teacher / 4.0).entropy()
    want = soft_targets(student, teacher) + 16 * entropy
    torch.testing.assert_close(soft_cross_entropy(student, teacher), want)
    torch.testing.assert_close(
        gradient(soft_cross_entropy, student, teacher), gradient(soft_targets, student, teacher)
    )


def test_jensen_shannon_at_one_half_is_symmetric():
    student, teacher = pair()
    torch.testing.assert_close(jensen_shannon(student, teacher), jensen_shannon(teacher, student))


@given(rows=logits, share=st.floats(0.01, 0.99))
def test_jensen_shannon_is_at_most_the_entropy_of_its_share(rows, share):
    student, teacher = torch.tensor(rows, dtype=torch.float64).chunk(2, dim=-1)
    found = jensen_shannon(student, teacher, teacher_share=share)
    bound = -share * math.log(share) - (1 - share) * math.log(1 - share)
    assert float(found.max()) <= bound + 1e-12


def test_jensen_shannon_of_disjoint_distributions_is_log_2():
    student, teacher = torch.tensor([[1e3, 0.0]]), torch.tensor([[0.0, 1e3]])
    assert float(jensen_shannon(student, teacher)) == pytest.approx(math.log(2))


def test_jensen_shannon_nears_the_two_kls_at_its_ends():
    student, teacher = pair()
    near = 1e-6
    low = jensen_shannon(student, teacher, teacher_share=near) / near
    high = jensen_shannon(student, teacher, teacher_share=1 - near) / near
    forward = soft_targets(student, teacher, temperature=1.0)
    torch.testing.assert_close(low, forward, rtol=1e-4, atol=0)
    torch.testing.assert_close(high, reverse_kl(student, teacher), rtol=1e-4, atol=0)


def test_the_skew_divergences_without_skew_are_the_two_kls():
    student, teacher = pair()
    forward = soft_targets(student, teacher, temperature=1.0)
    torch.testing.assert_close(skew_kl(student, teacher, skew=0.0), forward)
    torch.testing.assert_close(
        skew_reverse_kl(student, teacher, skew=0.0), reverse_kl(student, teacher)
    )


@given(rows=logits, skew=st.floats(0.01, 0.99))
def test_the_skew_divergences_are_at_most_minus_log_skew(rows, skew):
    student, teacher = torch.tensor(rows, dtype=torch.float64).chunk(2, dim=-1)
    for loss in (skew_kl, skew_reverse_kl):
        assert float(loss(student, teacher, skew=skew).max()) <= -math.log(skew) + 1e-12


def test_a_mixture_is_finite_where_one_side_excludes_a_class():
    student, teacher = torch.tensor([[0.0, float("-inf")]]), torch.tensor([[0.0, 0.0]])
    for one, other in ((student, teacher), (teacher, student)):
        for loss in (jensen_shannon, skew_kl, skew_reverse_kl, total_variation):
            assert bool(torch.isfinite(loss(one, other)).all())
            assert bool(torch.isfinite(gradient(loss, one, other)).all())
    assert float(reverse_kl(teacher, student)) == float("inf")


@given(rows=logits)
def test_total_variation_is_at_most_1(rows):
    student, teacher = torch.tensor(rows, dtype=torch.float64).chunk(2, dim=-1)
    assert float(total_variation(student, teacher).max()) <= 1 + 1e-12


def test_total_variation_of_disjoint_distributions_is_1():
    student, teacher = torch.tensor([[1e3, 0.0]]), torch.tensor([[0.0, 1e3]])
    assert float(total_variation(student, teacher)) == 1.0


@pytest.mark.parametrize("loss", [reverse_kl, jensen_shannon, skew_kl, skew_reverse_kl])
def test_at_a_high_temperature_the_factor_keeps_the_gradients_size(loss):
    """Near equality every f-divergence is a multiple of the squared difference of the logits."""
    student, teacher = pair()
    at_100 = gradient(partial(loss, temperature=1e2), student, teacher)
    at_10000 = gradient(partial(loss, temperature=1e4), student, teacher)
    torch.testing.assert_close(at_100, at_10000, rtol=0.1, atol=1e-2 * float(at_100.abs().max()))
    assert float(at_100.abs().max()) > 1e-3


@pytest.mark.parametrize("loss", [*FAMILY, soft_cross_entropy])
def test_what_is_not_a_number_is_not_hidden(loss):
    nan, one = torch.tensor([float("nan"), 0.0]), torch.tensor([1.0, 0.0])
    assert math.isnan(float(loss(nan, one)))
    assert math.isnan(float(loss(one, nan)))


@pytest.mark.parametrize("share", [0.0, 1.0, -0.1, float("nan")])
def test_a_share_that_is_not_between_0_and_1_is_refused(share):
    with pytest.raises(OptionError) as error:
        jensen_shannon(torch.zeros(1, 2), torch.zeros(1, 2), teacher_share=share)
    assert str(error.value) == (
        f"teacher_share must be above 0 and below 1, got {share}. For the limits at 0 and at 1 "
        "take soft_targets and reverse_kl."
    )


@pytest.mark.parametrize("skew", [-0.1, 1.0, float("nan")])
@pytest.mark.parametrize("loss", [skew_kl, skew_reverse_kl])
def test_a_skew_that_is_not_below_1_is_refused(loss, skew):
    with pytest.raises(OptionError) as error:
        loss(torch.zeros(1, 2), torch.zeros(1, 2), skew=skew)
    assert str(error.value) == f"skew must be 0 or more and below 1, got {skew}."


@pytest.mark.parametrize("loss", [*FAMILY, soft_cross_entropy])
def test_a_temperature_and_shapes_that_are_wrong_are_refused(loss):
    with pytest.raises(OptionError, match=r"^temperature must be above 0 and finite, got 0\.$"):
        loss(torch.zeros(1, 2), torch.zeros(1, 2), temperature=0)
    with pytest.raises(ShapeError) as error:
        loss(torch.zeros(4, 10), torch.zeros(4, 100))
    assert str(error.value) == (
        "these must have one shape: student_logits (4, 10), teacher_logits (4, 100)."
    )
