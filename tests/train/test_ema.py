"""A student that learns from a moving average of itself, against a loop written by hand."""

import copy
import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from limbeck._errors import Interrupted, ModelError
from limbeck.methods import objective
from limbeck.recipe import Ema
from limbeck.train._average import Average
from tests.train.problem import (
    INPUTS,
    LABEL,
    NEVER,
    draw,
    furthest,
    model,
    same_weights,
    stopper,
    teach,
    train,
)
from tests.train.test_fit import ORDER, cross_entropy, softened

STEPS = 21
T = 2.0


def terms(ema, *, soft_weight=0.0):
    weights = {"hard_weight": 0.5, "soft_weight": soft_weight}
    return objective("soft_targets", [LABEL], temperature=T, ema=ema, **weights)


def normed(seed=0):
    """With statistics that no gradient moves, and a layer that is frozen."""
    torch.manual_seed(seed)
    made = nn.Sequential(nn.Linear(4, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 3))
    made[0].requires_grad_(False)
    return made


def by_hand(trained, ema, *, soft_weight=0.0):
    """The loop that everyone writes; the losses towards the average."""
    mean, losses = copy.deepcopy(trained).eval(), []
    optimizer = torch.optim.SGD([p for p in trained.parameters() if p.requires_grad], lr=0.1)
    trained.train()
    for epoch in range(3):
        for index in ORDER.epoch(epoch).split(8):
            step = len(losses)
            logits = trained(INPUTS[index])
            with torch.no_grad():
                p = torch.softmax(mean(INPUTS[index]) / T, -1)
            own = F.log_softmax(logits / T, -1)
            towards = T**2 * (p * (p.log() - own)).sum(-1).mean()
            done = step / (STEPS - 1)
            rise = math.exp(-5 * (1 - min(done / ema.ramp_up, 1)) ** 2) if ema.ramp_up else 1
            loss = 0.5 * cross_entropy(logits, index) + ema.weight * rise * towards
            if soft_weight:
                loss = loss + soft_weight * softened(logits, index)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(float(towards.detach()))
            decay = min(ema.decay, 1 - 1 / (step + 2))
            following = dict(mean.state_dict())
            for name, value in trained.state_dict().items():
                kept = following[name]
                of_statistics = "running" in name or "num" in name
                kept.copy_(value if of_statistics else decay * kept + (1 - decay) * value)
    return losses


@pytest.mark.parametrize("make", [model, normed])
@pytest.mark.parametrize(
    ("ema", "soft_weight"),
    [(Ema(decay=0.8, weight=0.7), 1.0), (Ema(decay=0.999, weight=5.0, ramp_up=0.5), 0.0)],
)
def test_it_is_a_loop_by_hand(make, ema, soft_weight):
    ours, theirs = make(), make()
    losses = by_hand(theirs, ema, soft_weight=soft_weight)
    each = terms(ema, soft_weight=soft_weight)

    found = train(ours, terms=each, teach=teach if soft_weight else None).histories["student"]
    assert furthest(ours, theirs) < 1e-4
    means = [sum(losses[start : start + 7]) / 7 for start in range(0, STEPS, 7)]
    assert found.terms["ema"] == pytest.approx(means, rel=1e-3, abs=1e-6)
    assert means[-1] > 0
    plain = make()
    train(plain, terms=terms(None, soft_weight=soft_weight or 1e-9), teach=teach)
    assert furthest(ours, plain) > 1e-3


def test_what_is_left_is_the_student_and_the_average_is_gone():
    trained = normed()
    names = list(trained.state_dict())
    train(trained, terms=terms(Ema()))
    assert list(trained.state_dict()) == names
    assert not trained.training
    assert [one.requires_grad for one in trained[0].parameters()] == [False, False]


def test_at_a_decay_of_0_it_says_what_the_student_says_and_nothing_is_learned_from_it():
    ours, plain = model(), model()
    found = train(ours, terms=terms(Ema(decay=0.0))).histories["student"]
    train(plain, terms=terms(None, soft_weight=1e-12), teach=teach)
    assert found.terms["ema"] == pytest.approx([0.0] * 3, abs=1e-6)
    assert furthest(ours, plain) < 1e-5


def test_it_draws_no_noise_of_its_own():
    ours, plain = model(dropout=0.5), model(dropout=0.5)
    train(ours, terms=terms(Ema(weight=1e-9)), accumulate=2)
    train(plain, terms=terms(None, soft_weight=1e-12), teach=teach, accumulate=2)
    assert furthest(ours, plain) < 1e-5


def test_micro_batches_give_the_same_weights_up_to_rounding():
    whole, parts = model(), model()
    for trained, accumulate in ((whole, 1), (parts, 3)):
        train(trained, terms=terms(Ema(decay=0.9)), accumulate=accumulate)
    assert furthest(whole, parts) < 5e-6


def test_it_goes_on_after_a_kill_with_the_average_of_before(tmp_path, monkeypatch):
    stop_after = stopper(monkeypatch)
    stop_after(NEVER)
    each = terms(Ema(decay=0.9, weight=2.0, ramp_up=0.5))
    unbroken, again = normed(), normed(3)
    whole = train(unbroken, terms=each)
    stop_after(10)
    with pytest.raises(Interrupted):
        train(normed(), terms=each, checkpoint=tmp_path / "state")
    stop_after(NEVER)
    rest = train(again, terms=each, checkpoint=tmp_path / "state")
    assert same_weights(again, unbroken)
    assert rest.histories == whole.histories


def test_it_does_not_go_on_as_if_its_weight_had_risen_otherwise(tmp_path, monkeypatch):
    stop_after = stopper(monkeypatch)
    stop_after(10)
    with pytest.raises(Interrupted):
        train(normed(), terms=terms(Ema(ramp_up=0.02)), checkpoint=tmp_path / "state")
    stop_after(NEVER)
    anew, other = normed(), normed()
    train(anew, terms=terms(Ema(ramp_up=0.09)), checkpoint=tmp_path / "state")
    train(other, terms=terms(Ema(ramp_up=0.09)))
    assert same_weights(anew, other)


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_half_precision_learns_from_an_average_in_full(precision):
    trained = model()
    found = train(trained, terms=terms(Ema(decay=0.9)), precision=precision)
    assert 0 < found.histories["student"].terms["ema"][-1] < 1


def test_the_first_averages_are_plain_means():
    followed = nn.Linear(4, 3)
    average, seen = Average(followed, 0.999, who="student"), [followed.weight.detach().clone()]
    for step in range(5):
        followed.weight.data.copy_(draw(3, 4, seed=step))
        seen.append(followed.weight.detach().clone())
        average.follow(followed, step)
    torch.testing.assert_close(average.model.weight, torch.stack(seen).mean(dim=0))
    assert not average.model.weight.requires_grad


def test_a_student_that_cannot_be_copied_is_refused():
    trained = model()
    trained.seen = trained(INPUTS)  # a tensor with a graph behind it
    with pytest.raises(ModelError, match=r"distil\.ema needs a copy of student, which cannot be"):
        train(trained, terms=terms(Ema()))
