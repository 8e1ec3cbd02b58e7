"""Weights of an objective may change over training, evenly from step to step."""

from itertools import count

import pytest
import torch

from limbeck._errors import Interrupted, OptionError
from limbeck.methods import objective, objective_of
from limbeck.recipe import Anneal
from tests.pipeline.examples import small
from tests.train.problem import (
    LABEL,
    NEVER,
    furthest,
    model,
    same_weights,
    stopper,
    teach,
    train,
)
from tests.train.test_fit import by_hand, cross_entropy, softened

STEPS = 21
"""Three epochs of seven."""
TO_LABELS = Anneal(soft_weight=0.0, hard_weight=0.5)


def terms(anneal, *, soft_weight=1.0, hard_weight=0.0):
    weights = {"soft_weight": soft_weight, "hard_weight": hard_weight}
    return objective("soft_targets", [LABEL], temperature=2.0, anneal=anneal, **weights)


def test_it_is_a_loop_by_hand_whose_weights_move():
    ours, theirs, steps = model(), model(), count()
    losses = []

    def loss(logits, index):
        done = next(steps) / (STEPS - 1)
        soft, hard = softened(logits, index), cross_entropy(logits, index)
        losses.append(float(((1 - done) * soft + 0.5 * done * hard).detach()))
        return (1 - done) * soft + 0.5 * done * hard

    by_hand(theirs, loss, torch.optim.SGD(theirs.parameters(), lr=0.1))
    history = train(ours, terms=terms(TO_LABELS), teach=teach).histories["student"]
    assert len(losses) == STEPS
    assert furthest(ours, theirs) < 1e-6
    means = [sum(losses[start : start + 7]) / 7 for start in range(0, STEPS, 7)]
    assert history.loss == pytest.approx(means, rel=1e-5)


def test_a_weight_that_is_left_out_stays():
    still, plain, one = model(), model(), model()
    train(plain, terms=terms(None, hard_weight=0.3), teach=teach)
    train(still, terms=terms(Anneal(), hard_weight=0.3), teach=teach)
    train(one, terms=terms(Anneal(soft_weight=0.2), hard_weight=0.3), teach=teach)
    assert same_weights(still, plain)
    assert furthest(one, plain) > 1e-3
    assert [term.weight_at(1.0) for term in terms(Anneal(soft_weight=0.2))] == [0.2]


def test_it_goes_on_after_a_kill_with_the_weights_of_that_step(tmp_path, monkeypatch):
    stop_after = stopper(monkeypatch)
    stop_after(NEVER)
    unbroken, again = model(), model(3)
    whole = train(unbroken, terms=terms(TO_LABELS), teach=teach)
    stop_after(9)
    with pytest.raises(Interrupted):
        train(model(), terms=terms(TO_LABELS), teach=teach, checkpoint=tmp_path / "state")
    stop_after(NEVER)
    rest = train(again, terms=terms(TO_LABELS), teach=teach, checkpoint=tmp_path / "state")
    assert same_weights(again, unbroken)
    assert rest.histories == whole.histories


def test_a_recipe_may_begin_or_end_without_one_of_the_two(tmp_path):
    for first, last, named in (
        ("distil.hard_weight=0", "distil.anneal.hard_weight=1", ["soft", "hard"]),
        ("distil.soft_weight=0", "distil.anneal.soft_weight=1", ["soft"]),
    ):
        recipe = small(tmp_path, first, last)
        assert [term.name for term in objective_of(recipe, [LABEL])] == named
    with pytest.raises(OptionError, match=r"distil\.soft_weight = 0 leaves nothing of method"):
        objective_of(small(tmp_path, "distil.soft_weight=0", "distil.anneal={}"), [LABEL])
