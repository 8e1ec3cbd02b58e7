import math

import pytest
import torch
import torch.nn.functional as F

from limbeck.losses import soft_binary_targets, soft_targets, squared_error
from limbeck.proofs import prove_rows

T = 4.0


def no_t_squared(student, teacher):
    return soft_targets(student, teacher, temperature=T) / T**2


def mean_over_classes(student, teacher):
    return soft_targets(student, teacher, temperature=T) / student.shape[-1]


def not_detached(student, teacher):
    log_p, log_q = F.log_softmax(teacher / T, -1), F.log_softmax(student / T, -1)
    p = log_p.exp()
    return T**2 * (p * (log_p - log_q).masked_fill(p == 0, 0.0)).sum(-1)


def swapped_without_logarithm(student, teacher):
    # F.kl_div(softmax(s / T), softmax(t / T)): where log-probabilities were meant.
    p, q = F.softmax(teacher.detach() / T, -1), F.softmax(student / T, -1)
    return F.kl_div(q, p, reduction="none").sum(-1) * T**2


def raw_clipped_logits(student, teacher):
    # What a KL divergence meant for probabilities makes of logits.
    true, predicted = teacher.detach().clamp(1e-7, 1.0), student.clamp(1e-7, 1.0)
    return (true * (true / predicted).log()).sum(-1)


def nan_at_padding(student, teacher):
    log_p = F.log_softmax(teacher.detach() / T, -1)
    return T**2 * (log_p.exp() * (log_p - F.log_softmax(student / T, -1))).sum(-1)


def nan_gradient_at_padding(student, teacher):
    smallest = F.softmax(student, -1).amin(-1)  # 0 where a class is padded
    return soft_targets(student, teacher, temperature=T) + 0 * smallest.sqrt()


def detached_student(student, teacher):
    return soft_targets(student.detach(), teacher, temperature=T)


def cross_entropy_at_temperature(student, teacher):
    return -(T**2) * (F.softmax(teacher.detach() / T, -1) * F.log_softmax(student / T, -1)).sum(-1)


def failing(loss, **options):
    return {fact.name for fact in prove_rows(loss, **options) if not fact.holds}


@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0, 20.0, 1000.0])
@pytest.mark.parametrize("size", [2, 10, 1000])
def test_soft_targets_prove_themselves(temperature, size):
    facts = prove_rows(lambda s, t: soft_targets(s, t, temperature=temperature), size=size)
    assert len(facts) == 6
    assert all(fact.holds for fact in facts), facts


def test_binary_and_real_losses_prove_themselves():
    assert not failing(lambda s, t: soft_binary_targets(s, t, temperature=T), space="binary")
    assert not failing(squared_error, space="real", size=1)


@pytest.mark.parametrize(
    ("loss", "expected"),
    [
        (no_t_squared, {"gradient of the right size"}),
        (mean_over_classes, {"gradient of the right size"}),
        (not_detached, {"no gradient to the teacher"}),
        (nan_at_padding, {"unchanged by classes of -inf"}),
        (nan_gradient_at_padding, {"unchanged by classes of -inf"}),
        (detached_student, {"gradient of the right size"}),
        (cross_entropy_at_temperature, {"zero at equality"}),
    ],
)
def test_a_broken_loss_fails_in_what_is_broken_alone(loss, expected):
    assert failing(loss) - {"unchanged by classes of -inf"} == expected - {
        "unchanged by classes of -inf"
    }
    assert expected <= failing(loss)


@pytest.mark.parametrize("loss", [swapped_without_logarithm, raw_clipped_logits])
def test_a_loss_on_what_is_no_log_probability_fails_in_several_ways(loss):
    expected = {"stationary at equality", "never negative", "gradient of the right size"}
    assert expected <= failing(loss)


def test_a_dropped_t_squared_is_measured_as_what_is_missing():
    facts = {fact.name: fact for fact in prove_rows(no_t_squared)}
    assert facts["gradient of the right size"].measured == pytest.approx(1 - 1 / T**2, abs=1e-3)


def test_not_a_number_never_holds():
    facts = prove_rows(lambda s, t: soft_targets(s, t) * math.nan)
    # The teacher is detached all the same.
    assert [fact.name for fact in facts if fact.holds] == ["no gradient to the teacher"]


def test_a_binary_loss_is_not_taken_for_a_categorical_one():
    def binary(student, teacher):
        return soft_binary_targets(student, teacher, temperature=T)

    assert "gradient of the right size" in failing(binary, space="categorical")


def test_proving_leaves_the_random_state_alone():
    before = torch.get_rng_state()
    prove_rows(soft_targets)
    assert torch.equal(before, torch.get_rng_state())
