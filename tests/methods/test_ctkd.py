"""CTKD learns its temperature against the student, harder and harder, and for each by itself."""

import math

import pytest
import torch

from limbeck.losses import soft_targets
from limbeck.methods import Paced, objective
from limbeck.methods._ctkd import CtkdOptions, LearnedTemperature
from limbeck.train import fit
from tests.methods.problem import draw
from tests.train import problem

STUDENT, TEACHER = draw(6, 5), 3 * draw(6, 5, seed=1)


def learned(**options):
    return LearnedTemperature(**CtkdOptions(**options).model_dump())


def slope(loss, epochs):
    """What an optimiser is told of theta."""
    loss.epochs = epochs
    loss.theta.grad = None
    loss(STUDENT, TEACHER).mean().backward()
    return float(loss.theta.grad)


def temperature(theta, lowest=1.0, span=20.0):
    return lowest + span / (1 + math.exp(-theta))


def true_slope(theta):
    """Of the loss in theta, by finite differences in float64."""
    above, below = (
        soft_targets(STUDENT.double(), TEACHER.double(), temperature=temperature(theta + step))
        for step in (1e-4, -1e-4)
    )
    return float((above - below).mean() / 2e-4)


@pytest.mark.parametrize(
    ("epochs", "share"), [(0.0, 0.0), (2.5, 0.5 - 0.5**1.5), (5.0, 0.5), (10.0, 1.0), (40.0, 1.0)]
)
def test_theta_climbs_the_loss_along_a_cosine(epochs, share):
    assert slope(learned(), epochs) == pytest.approx(-share * true_slope(1.0), rel=1e-3, abs=1e-9)


def test_no_epoch_is_done_where_none_is_told_of():
    loss = learned()
    loss(STUDENT, TEACHER).mean().backward()
    assert float(loss.theta.grad) == 0


def test_its_options_are_what_the_card_says():
    assert slope(learned(loops=4.0), 2.0) == pytest.approx(slope(learned(), 5.0))
    assert slope(learned(loops=0.0), 0.0) == pytest.approx(slope(learned(), 10.0))
    assert slope(learned(strength=3.0), 10.0) == pytest.approx(3 * slope(learned(), 10.0))
    assert slope(learned(strength=0.0), 10.0) == 0
    for first, lowest in ((-2.0, 1.0), (0.0, 0.1)):
        want = soft_targets(STUDENT, TEACHER, temperature=temperature(first, lowest))
        found = learned(first=first, lowest=lowest)(STUDENT, TEACHER)
        torch.testing.assert_close(found, want)


def test_the_students_gradient_is_that_of_soft_targets_at_its_temperature():
    ours, theirs = (STUDENT.clone().requires_grad_() for _ in range(2))
    loss = learned()
    loss.epochs = 10.0
    loss(ours, TEACHER).sum().backward()
    soft_targets(theirs, TEACHER, temperature=temperature(1.0)).sum().backward()
    torch.testing.assert_close(ours.grad, theirs.grad)


def test_each_learner_has_its_own_and_both_learn_it():
    terms = objective(
        "ctkd",
        [problem.LABEL],
        temperature=2.0,
        hard_weight=0.0,
        soft_weight=1.0,
        options={"loops": 1.0},
    )
    learners = [problem.learner(problem.model(seed), terms, f"s{seed}") for seed in (0, 3)]
    before = [float(each.detach()) for one in learners for each in one.beside.parameters()]
    how = problem.settings(epochs=2, learning_rate=0.05)
    fit(learners, problem.SAMPLES, how, heads=[problem.LABEL], seed=5, teach=problem.teach)
    after = [float(each.detach()) for one in learners for each in one.beside.parameters()]
    assert before == [1.0, 1.0]
    assert len({*before, *after}) == 3
    paces = [part for one in learners for part in one.beside.modules() if isinstance(part, Paced)]
    assert [pace.epochs for pace in paces] == [13 / 7, 13 / 7]  # before the last step of 14
