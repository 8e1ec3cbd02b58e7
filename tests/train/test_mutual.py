"""Students that learn from each other: deep mutual learning, against a loop written by hand."""

import pytest
import torch
import torch.nn.functional as F

from limbeck._errors import Interrupted, OptionError
from limbeck.methods import mean_terms, objective, said_by_peers, supervised
from limbeck.signals import Batch, Head
from limbeck.train import fit, generator_seed
from tests.train.problem import (
    INPUTS,
    LABEL,
    LABELS,
    NEVER,
    SAMPLES,
    draw,
    furthest,
    learner,
    model,
    same_weights,
    settings,
    stopper,
    teach,
)
from tests.train.test_fit import ORDER, cross_entropy, softened

WEIGHT = 0.6
T = 2.0


def terms(*, mutual_weight=WEIGHT, soft_weight=1.0, hard_weight=0.5, heads=(LABEL,)):
    weights = {"hard_weight": hard_weight, "soft_weight": soft_weight}
    return objective("soft_targets", heads, temperature=T, mutual_weight=mutual_weight, **weights)


def together(models, objective_of_each=None, *, asks=True, **how):
    """Fit them in one pass, each by the same objective."""
    of_fit = {name: how.pop(name) for name in ("checkpoint", "goes_on") if name in how}
    each = objective_of_each or terms()
    return fit(
        [learner(trained, each, f"s{place}") for place, trained in enumerate(models)],
        SAMPLES,
        settings(**how),
        heads=[LABEL],
        seed=5,
        teach=teach if asks else None,
        **of_fit,
    )


def three(dropout=0.0):
    return [model(seed, dropout) for seed in (0, 1, 2)]


def towards(logits, others):
    """By the formula: the mean over the others of T^2 KL(other || own), both at T."""
    own = F.log_softmax(logits / T, -1)
    sums = [torch.softmax(other.detach() / T, -1) for other in others]
    each = [(p * (p.log() - own)).sum(-1).mean() for p in sums]
    return T**2 * sum(each) / len(each)


def by_hand(models, *, soft_weight=1.0, hard_weight=0.5):
    """All answer, then all step; the streams of dropout are alike."""
    optimizers = [torch.optim.SGD(each.parameters(), lr=0.1) for each in models]
    losses, step = [], 0
    for each in models:
        each.train()
    for epoch in range(3):
        for index in ORDER.epoch(epoch).split(8):
            answers = []
            for each in models:
                torch.manual_seed(generator_seed(5, "noise", step))
                answers.append(each(INPUTS[index]))
            for place, (logits, optimizer) in enumerate(zip(answers, optimizers, strict=True)):
                others = answers[:place] + answers[place + 1 :]
                mutual = towards(logits, others)
                loss = WEIGHT * mutual + hard_weight * cross_entropy(logits, index)
                if soft_weight:
                    loss = loss + soft_weight * softened(logits, index)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                if place == 0:
                    losses.append(float(mutual.detach()))
            step += 1
    return losses


@pytest.mark.parametrize("dropout", [0.0, 0.5])
def test_three_students_are_a_loop_by_hand_in_which_all_answer_before_any_steps(dropout):
    ours, theirs = three(dropout), three(dropout)
    losses = by_hand(theirs)
    history = together(ours).histories["s0"]
    assert [furthest(*pair) < 1e-5 for pair in zip(ours, theirs, strict=True)] == [True] * 3
    means = [sum(losses[start : start + 7]) / 7 for start in range(0, 21, 7)]
    assert history.terms["mutual"] == pytest.approx(means, rel=1e-4)
    without = three(dropout)
    together(without, terms(mutual_weight=0.0))
    assert furthest(ours[0], without[0]) > 1e-3


def test_without_the_teachers_rows_they_learn_from_labels_and_each_other():
    ours, theirs = three(), three()
    by_hand(theirs, soft_weight=0.0)
    each = terms(soft_weight=0.0)
    assert [term.name for term in each] == ["hard", "mutual"]
    together(ours, each, asks=False)
    assert [furthest(*pair) < 1e-5 for pair in zip(ours, theirs, strict=True)] == [True] * 3


@pytest.mark.parametrize("dropout", [0.0, 0.5])
def test_twins_with_the_same_weights_have_nothing_to_say_to_each_other(dropout):
    twins, alone = [model(dropout=dropout), model(dropout=dropout)], model(dropout=dropout)
    history = together(twins).histories["s1"]
    fit(
        [learner(alone, terms(mutual_weight=0.0))],
        SAMPLES,
        settings(),
        heads=[LABEL],
        seed=5,
        teach=teach,
    )
    assert history.terms["mutual"] == [0.0] * 3
    assert same_weights(*twins)
    assert furthest(twins[0], alone) < 1e-6


def test_no_gradient_crosses_from_one_student_to_another():
    mine, other = (draw(8, 3, seed=seed).requires_grad_() for seed in (1, 2))
    batch = Batch(inputs=INPUTS[:8], labels={"label": LABELS[:8]}, index=torch.arange(8))
    each = terms(soft_weight=0.0)
    peers = said_by_peers([{"label": other}], [LABEL])
    mean_terms(each, {"label": mine}, peers, batch)["mutual"].backward()
    assert other.grad is None
    assert float(mine.grad.abs().sum()) > 0


@pytest.mark.parametrize(
    ("space", "expected"),
    [
        ("real", lambda own, other: (own - other).square().mean(-1)),
        (
            "binary",
            lambda own, other: (
                T**2
                * F.binary_cross_entropy_with_logits(
                    own / T, torch.sigmoid(other / T), reduction="none"
                )
                .sub(torch.distributions.Bernoulli(logits=other / T).entropy())
                .sum(-1)
            ),
        ),
    ],
)
def test_other_heads_are_learned_as_from_a_teacher_and_padding_does_not_count(space, expected):
    head = Head(space=space, size=3)
    own, others = draw(4, 5, 3, seed=1), [draw(4, 5, 3, seed=seed) for seed in (2, 3)]
    mask = torch.arange(5) < torch.tensor([5, 3, 1, 2])[:, None]
    batch = Batch(inputs=own, labels={"label": own}, index=torch.arange(4), mask=mask)
    each = terms(soft_weight=0.0, hard_weight=0.0, heads=[head])
    padded = [torch.where(mask[..., None], other, torch.inf) for other in others]
    found = mean_terms(
        each, {"label": own}, said_by_peers([{"label": other} for other in padded], [head]), batch
    )["mutual"]
    values = torch.stack([expected(own, other)[mask].mean() for other in others])
    torch.testing.assert_close(found, values.mean())


# ---- as everything else that is learned ---------------------------------------------------------


@pytest.mark.parametrize("accumulate", [2, 3])
def test_micro_batches_give_the_same_weights_up_to_rounding(accumulate):
    whole, parts = three(), three()
    together(whole)
    together(parts, accumulate=accumulate)
    assert max(furthest(*pair) for pair in zip(whole, parts, strict=True)) < 5e-6


def test_in_parts_each_draws_the_dropout_that_it_draws_alone():
    # Weights of next to nothing: what the others say is not seen, only what they draw.
    each, one = terms(mutual_weight=1e-12), terms(mutual_weight=0.0)
    beside, alone = three(0.5), model(2, 0.5)
    together(beside, each, accumulate=3)
    how = {"heads": [LABEL], "seed": 5, "teach": teach}
    fit([learner(alone, one)], SAMPLES, settings(accumulate=3), **how)
    assert furthest(beside[2], alone) < 1e-6


def test_one_who_learns_beside_them_becomes_what_it_does_alone():
    peers, beside, alone = three(0.5), model(3, 0.5), model(3, 0.5)
    everyone = [learner(each, terms(), f"s{place}") for place, each in enumerate(peers)]
    for trained, who in (
        (beside, [learner(beside, supervised([LABEL]), "control"), *everyone]),
        (alone, [learner(alone, supervised([LABEL]), "control")]),
    ):
        assert trained is who[0].model
        fit(who, SAMPLES, settings(), heads=[LABEL], seed=5, teach=teach)
    assert same_weights(beside, alone)


def test_they_go_on_after_a_kill_to_the_same_weights(tmp_path, monkeypatch):
    stop_after = stopper(monkeypatch)
    how = {"optimizer": "AdamW", "learning_rate": 0.01, "accumulate": 2}
    stop_after(NEVER)
    unbroken, again = three(0.5), [model(seed + 7, 0.5) for seed in range(3)]
    whole = together(unbroken, **how)
    stop_after(10)
    with pytest.raises(Interrupted):
        together(three(0.5), checkpoint=tmp_path / "state", **how)
    stop_after(NEVER)
    rest = together(again, checkpoint=tmp_path / "state", **how)
    assert [same_weights(*pair) for pair in zip(again, unbroken, strict=True)] == [True] * 3
    assert rest.histories == whole.histories


def test_one_student_has_nobody_to_learn_from():
    with pytest.raises(OptionError, match="s0 is to learn from other students, and no other"):
        together([model()])
    with pytest.raises(OptionError, match="and no other of this pass does"):
        together(three()[:2], goes_on=lambda one, history: one.name == "s0")


def test_half_precision_and_balance_learn_from_each_other_too():
    for how in ({"precision": "bf16"}, {"precision": "fp16"}):
        models = three()
        history = together(models, **how).histories["s0"]
        assert 0 < history.terms["mutual"][-1] < 10
        assert furthest(models[0], model()) > 0.1
