"""Losses that are weighed by how hard they pull: by the norms of their gradients."""

from itertools import count

import pytest
import torch
from torch.nn.utils import parameters_to_vector

from limbeck._errors import Interrupted, OptionError
from limbeck.train import Learner, fit
from tests.train.problem import (
    LABEL,
    NEVER,
    SAMPLES,
    furthest,
    learner,
    model,
    same_weights,
    settings,
    soft,
    stopper,
    teach,
)
from tests.train.test_fit import by_hand, cross_entropy, softened

WEIGHT = 0.3
"""Of labels; that of soft targets is 1."""


def balanced(trained, every, **how):
    plain = learner(trained, soft(hard_weight=WEIGHT))
    one = Learner(name="student", model=trained, objective=plain.objective, balance=every)
    of_fit = {key: how.pop(key) for key in ("checkpoint",) if key in how}
    return fit([one], SAMPLES, settings(**how), heads=[LABEL], seed=5, teach=teach, **of_fit)


def norm(loss, trained):
    slopes = torch.autograd.grad(loss, list(trained.parameters()), retain_graph=True)
    return float(parameters_to_vector(slopes).norm())


def test_each_pulls_as_its_weight_says_and_all_together_as_hard_as_before():
    ours, theirs, steps, scales = model(), model(), count(), {}

    def loss(logits, index):
        terms = {"soft": softened(logits, index), "hard": cross_entropy(logits, index)}
        weights = {"soft": 1.0, "hard": WEIGHT}
        if next(steps) % 4 == 0:
            norms = {name: norm(term, theirs) for name, term in terms.items()}
            pull = sum(weights[name] * norms[name] for name in terms) / sum(weights.values())
            scales.update({name: pull / norms[name] for name in terms})
            pulls = [scales[name] * weights[name] * norms[name] for name in terms]
            assert pulls[1] == pytest.approx(WEIGHT * pulls[0])
        return sum(weights[name] * scales[name] * term for name, term in terms.items())

    by_hand(theirs, loss, torch.optim.SGD(theirs.parameters(), lr=0.1))
    balanced(ours, 4)
    assert furthest(ours, theirs) < 1e-5
    plain = model()
    balanced(plain, None)
    assert furthest(ours, plain) > 1e-3


def test_it_goes_on_after_a_kill_with_the_scales_of_before(tmp_path, monkeypatch):
    stop_after = stopper(monkeypatch)
    stop_after(NEVER)
    unbroken, again = model(), model(3)
    balanced(unbroken, 8)
    stop_after(5)
    with pytest.raises(Interrupted):
        balanced(model(), 8, checkpoint=tmp_path / "state")
    stop_after(NEVER)
    balanced(again, 8, checkpoint=tmp_path / "state")
    assert same_weights(again, unbroken)


def test_it_is_measured_once_in_a_step_by_its_first_part(monkeypatch):
    asked = []
    slopes_of = torch.autograd.grad
    monkeypatch.setattr(
        torch.autograd, "grad", lambda *given, **how: asked.append(1) or slopes_of(*given, **how)
    )
    balanced(model(), 7, accumulate=2)
    assert len(asked) == 2 * 3  # two losses, and 21 steps


def test_never_is_none_and_not_0():
    with pytest.raises(OptionError, match="balance must be 1 or more steps, got 0"):
        balanced(model(), 0)
