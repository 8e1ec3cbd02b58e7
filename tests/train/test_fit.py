"""What one pass makes of a model, against loops written by hand."""

import re

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import Dataset, get_worker_info

from limbeck._errors import DataError, LimbeckError, ModelError, OptionError, TrainingError
from limbeck.data import ArraySamples, DatasetSamples
from limbeck.methods import objective, supervised
from limbeck.signals import Dense, Head
from limbeck.train import Order, fit, generator_seed
from tests.train.problem import (
    INPUTS,
    LABEL,
    LABELS,
    LOGITS,
    SAMPLES,
    draw,
    furthest,
    learner,
    model,
    same_weights,
    settings,
    soft,
    teach,
    train,
    twin,
)

ORDER = Order(pool=torch.arange(50), length=50, seed=5)


def by_hand(trained, loss, optimizer, *, epochs=3, before_step=lambda step: None):
    """The loop that everyone writes, over the same batches."""
    trained.train()
    step = 0
    for epoch in range(epochs):
        for index in ORDER.epoch(epoch).split(8):
            torch.manual_seed(generator_seed(5, "noise", step))
            value = loss(trained(INPUTS[index]), index)
            optimizer.zero_grad()
            value.backward()
            before_step(step)
            optimizer.step()
            step += 1
    return trained


def cross_entropy(logits, index):
    return F.cross_entropy(logits, LABELS[index], reduction="none").mean()


def softened(logits, index):
    student = F.log_softmax(logits / 2, -1)
    teacher = F.log_softmax(LOGITS[index] / 2, -1)
    return 4 * (teacher.exp() * (teacher - student)).sum(-1).mean()


@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("dropout", [0.0, 0.5])
def test_labels_alone_give_the_weights_of_a_loop_by_hand_to_the_last_bit(dropout, fused):
    ours, theirs = model(dropout=dropout), model(dropout=dropout)
    by_hand(theirs, cross_entropy, torch.optim.AdamW(theirs.parameters(), lr=0.1, fused=fused))
    train(ours, optimizer="AdamW", optimizer_options={"fused": fused})
    assert same_weights(ours, theirs)


def test_soft_targets_give_the_weights_of_a_loop_by_hand():
    ours, theirs = model(), model()
    by_hand(theirs, softened, torch.optim.SGD(theirs.parameters(), lr=0.1))
    train(ours, terms=soft(), teach=teach)
    assert furthest(ours, theirs) < 1e-6
    assert furthest(ours, model()) > 0.1


def test_soft_and_hard_terms_add_up_by_their_weights():
    ours, theirs = model(), model()
    by_hand(
        theirs,
        lambda logits, index: softened(logits, index) + 0.3 * cross_entropy(logits, index),
        torch.optim.SGD(theirs.parameters(), lr=0.1),
    )
    history = train(ours, terms=soft(hard_weight=0.3), teach=teach).histories["student"]
    assert furthest(ours, theirs) < 1e-6
    assert history.loss == pytest.approx(
        [s + 0.3 * h for s, h in zip(history.terms["soft"], history.terms["hard"], strict=True)]
    )


def test_the_history_is_the_mean_over_an_epochs_steps():
    found = train(model(), learning_rate=1e-9).histories["student"]
    with torch.no_grad():
        logits = model()(INPUTS)
    expected = [
        torch.stack([cross_entropy(logits[index], index) for index in ORDER.epoch(e).split(8)])
        for e in range(3)
    ]
    assert found.loss == pytest.approx([float(each.mean()) for each in expected], rel=1e-5)
    assert found.terms == {"hard": found.loss}
    assert found.validation == [None] * 3


def test_the_schedule_is_followed():
    ours, theirs = model(), model()
    optimizer = torch.optim.SGD(theirs.parameters(), lr=0.1)

    def falls(step):
        optimizer.param_groups[0]["lr"] = 0.1 * (0.1 if step >= 10.5 else 1)

    by_hand(theirs, cross_entropy, optimizer, before_step=falls)
    train(ours, schedule="step", milestones=[0.5])
    assert same_weights(ours, theirs)


def test_the_gradient_is_clipped():
    ours, theirs = model(), model()
    optimizer = torch.optim.SGD(theirs.parameters(), lr=0.1)

    def clips(step):
        norm = nn.utils.clip_grad_norm_(theirs.parameters(), 0.05)
        assert norm > 0.05, "there was nothing to clip"

    by_hand(theirs, cross_entropy, optimizer, before_step=clips, epochs=1)
    train(ours, clip=0.05, epochs=1)
    assert same_weights(ours, theirs)


def test_the_weights_into_a_unit_stay_within_their_largest_norm():
    free, held = model(), model()
    train(free, learning_rate=1.0)
    train(held, learning_rate=1.0, max_norm=0.5)
    assert float(free[0].weight.detach().norm(dim=1).max()) > 0.6
    for layer in (held[0], held[3]):
        assert float(layer.weight.detach().norm(dim=1).max()) <= 0.5 + 1e-6


def test_max_norm_without_a_linear_layer_is_refused():
    network = nn.Sequential(nn.Unflatten(1, (1, 4)), nn.Conv1d(1, 3, 4), nn.Flatten())
    with pytest.raises(OptionError, match=r"student has none. Leave it out."):
        train(network, max_norm=1.0)


# ---- labels that are not shown, rows that do not count ------------------------------------------


def test_labels_that_are_not_shown_are_never_learned_from():
    shown = torch.zeros(50, dtype=torch.bool)
    shown[::5] = True
    lies = torch.where(shown, LABELS, (LABELS + 1) % 3)
    honest, lied_to = model(), model()
    for trained, labels in ((honest, LABELS), (lied_to, lies)):
        samples = ArraySamples(INPUTS, {"label": labels}, labelled=shown)
        train(trained, samples, terms=soft(hard_weight=1.0), teach=teach)
    assert same_weights(honest, lied_to)
    everything = model()
    train(everything, terms=soft(hard_weight=1.0), teach=teach)
    assert not same_weights(honest, everything)


def test_a_labelled_loss_is_the_mean_over_the_labelled():
    shown = torch.arange(50) % 5 == 0
    samples = ArraySamples(INPUTS, {"label": LABELS}, labelled=shown)
    ours, theirs = model(), model()

    def some(logits, index):
        kept = shown[index]
        return F.cross_entropy(logits[kept], LABELS[index][kept], reduction="sum") / max(
            int(kept.sum()), 1
        )

    by_hand(theirs, some, torch.optim.SGD(theirs.parameters(), lr=0.1))
    train(ours, samples)
    assert furthest(ours, theirs) < 1e-6


TOKENS = Head(space="categorical", size=3)
MASK = torch.rand(50, 6, generator=torch.Generator().manual_seed(3)) < 0.6
SEQUENCES = draw(50, 6, 4, seed=7)
TOKEN_LABELS = (SEQUENCES @ draw(4, 3, seed=1)).argmax(-1)


def token_samples(**options):
    return ArraySamples(SEQUENCES, {"label": TOKEN_LABELS}, **options)


def test_rows_for_each_token_are_learned_where_the_mask_says():
    scrambled = torch.where(MASK, TOKEN_LABELS, (TOKEN_LABELS + 1) % 3)
    one, other, unmasked = model(), model(), model()
    train(one, token_samples(mask=MASK), heads=[TOKENS])
    train(other, ArraySamples(SEQUENCES, {"label": scrambled}, mask=MASK), heads=[TOKENS])
    train(unmasked, token_samples(), heads=[TOKENS])
    assert same_weights(one, other)
    assert not same_weights(one, unmasked)
    right = (one(SEQUENCES).argmax(-1) == TOKEN_LABELS).float().mean()
    assert right > 0.7  # chance is a third


# ---- the same in parts --------------------------------------------------------------------------


@pytest.mark.parametrize("accumulate", [2, 3, 8])
def test_micro_batches_give_the_same_weights_up_to_rounding(accumulate):
    whole, parts = model(), model()
    for trained, count in ((whole, 1), (parts, accumulate)):
        train(trained, terms=soft(hard_weight=0.5), teach=teach, accumulate=count)
    assert furthest(whole, parts) < 2e-6
    assert furthest(whole, model()) > 0.1


def test_micro_batches_weigh_masked_rows_and_shown_labels_as_the_whole_batch_does():
    shown = torch.rand(50, generator=torch.Generator().manual_seed(4)) < 0.4
    rows = F.log_softmax(SEQUENCES @ draw(4, 3, seed=2), -1)

    def said(batch):
        return {"label": Dense(values=rows[batch.index])}

    made = []
    for accumulate in (1, 3):
        trained = model()
        history = train(
            trained,
            token_samples(mask=MASK, labelled=shown),
            terms=soft(hard_weight=0.5, heads=[TOKENS]),
            heads=[TOKENS],
            teach=said,
            accumulate=accumulate,
        ).histories["student"]
        made.append((trained, history.loss))
    assert furthest(made[0][0], made[1][0]) < 2e-6
    assert made[0][1] == pytest.approx(made[1][1], rel=1e-5)


@pytest.mark.parametrize("dropout", [0.0, 0.5])
def test_models_that_learn_in_one_pass_become_what_each_does_alone(dropout):
    alone = [model(seed, dropout) for seed in (0, 1)]
    together = [model(seed, dropout) for seed in (0, 1)]
    terms = [supervised([LABEL]), soft()]
    for trained, each in zip(alone, terms, strict=True):
        train(trained, terms=each, teach=teach)
    fit(
        [
            learner(trained, objective, name)
            for trained, objective, name in zip(together, terms, "ab", strict=True)
        ],
        SAMPLES,
        settings(),
        heads=[LABEL],
        seed=5,
        teach=teach,
    )
    assert same_weights(alone[0], together[0])
    assert same_weights(alone[1], together[1])


def test_terms_of_one_name_that_count_other_rows_keep_apart_in_one_pass():
    shown = SAMPLES.with_labels_of(torch.arange(50) % 3 == 0)
    needs_labels = objective("nkd", [LABEL], temperature=2.0, hard_weight=0.0, soft_weight=1.0)
    alone, together = [model(), model()], [model(), model()]
    for trained, terms in zip(alone, (needs_labels, soft()), strict=True):
        train(trained, shown, terms=terms, teach=teach, accumulate=3)
    fit(
        [learner(together[0], needs_labels, "a"), learner(together[1], soft(), "b")],
        shown,
        settings(accumulate=3),
        heads=[LABEL],
        seed=5,
        teach=teach,
    )
    assert same_weights(alone[0], together[0])
    assert same_weights(alone[1], together[1])


def test_a_learner_that_leaves_early_stays_as_it_was_and_the_others_go_on():
    leaves, stays, alone, short = (model(dropout=0.5) for _ in range(4))
    train(alone)
    train(short, epochs=1)
    asked = []

    def goes_on(who, history):
        asked.append((who.name, len(history.loss)))
        return who.name == "stays"

    fitted = fit(
        [learner(leaves, name="leaves"), learner(stays, name="stays")],
        SAMPLES,
        settings(),
        heads=[LABEL],
        seed=5,
        goes_on=goes_on,
    )
    assert same_weights(stays, alone)
    assert same_weights(leaves, short)
    assert not leaves.training
    assert asked == [("leaves", 1), ("stays", 1), ("stays", 2), ("stays", 3)]
    assert len(fitted.histories["leaves"].loss) == 1


def test_a_pass_ends_when_the_last_learner_has_left():
    seen = []
    fit(
        [learner(model())],
        SAMPLES,
        settings(),
        heads=[LABEL],
        seed=5,
        goes_on=lambda who, history: seen.append(len(history.loss)) or False,
    )
    assert seen == [1]


def test_a_pass_that_may_be_left_keeps_no_checkpoint(tmp_path):
    with pytest.raises(OptionError, match="keeps no checkpoint"):
        fit(
            [learner(model())],
            SAMPLES,
            settings(),
            heads=[LABEL],
            seed=5,
            goes_on=lambda who, history: True,
            checkpoint=tmp_path / "kept",
        )


def test_a_seed_changes_the_order_and_the_dropout_and_nothing_else_does():
    one, same, other = (model(dropout=0.5) for _ in range(3))
    train(one)
    torch.manual_seed(99)
    train(same)
    train(other, seed=6)
    assert same_weights(one, same)
    assert not same_weights(one, other)


def test_workers_that_read_ahead_give_the_same_weights():
    here, ahead = model(dropout=0.5), model(dropout=0.5)
    train(here, epochs=2)
    train(ahead, epochs=2, workers=1)
    assert same_weights(here, ahead)


class FailsInWorkers(Dataset):
    """Reads sample 7 in the main process alone, as a file that is gone by the time would."""

    def __len__(self):
        return len(INPUTS)

    def __getitem__(self, position):
        if position == 7 and get_worker_info() is not None:
            raise FileNotFoundError("seven.png")
        return INPUTS[position], int(LABELS[position])


def test_what_a_dataset_raises_in_a_worker_is_said_in_one_line():
    with pytest.raises(DataError) as error:
        train(model(), samples=DatasetSamples(FailsInWorkers()), workers=2)
    assert re.fullmatch(
        r"the dataset FailsInWorkers raised FileNotFoundError at sample 7 at test_fit\.py, "
        r"line \d+: seven\.png\. Mend its __getitem__, or leave that sample out\.",
        str(error.value),
    )


# ---- what models answer -------------------------------------------------------------------------


def test_a_student_of_probabilities_learns_as_one_of_logits():
    logits = model()
    probabilities = nn.Sequential(*twin(logits), nn.Softmax(-1))
    train(logits, terms=soft(), teach=teach)
    train(probabilities, terms=soft(), teach=teach, outputs="probabilities")
    assert furthest(logits, probabilities) < 1e-5


class TwoHeads(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.kind, self.price = nn.Linear(4, 3), nn.Linear(4, 1)

    def forward(self, x):
        return {"kind": self.kind(x), "price": self.price(x)}


HEADS = [Head(name="kind", space="categorical", size=3), Head(name="price", space="real", size=1)]
PRICES = INPUTS @ draw(4, 1, seed=6)


def test_two_heads_learn_from_labels_and_from_the_teacher():
    samples = ArraySamples(INPUTS, {"kind": LABELS, "price": PRICES})

    def said(batch):
        rows = F.log_softmax(LOGITS[batch.index], -1)
        return {"kind": Dense(values=rows), "price": Dense(values=PRICES[batch.index])}

    for terms in (supervised(HEADS), soft(hard_weight=1.0, heads=HEADS)):
        trained = TwoHeads()
        how = {"terms": terms, "heads": HEADS, "teach": said, "epochs": 10}
        history = train(trained, samples, **how).histories["student"]
        assert history.terms.keys() == {term.name for term in terms}
        for name, values in history.terms.items():
            assert values[-1] < values[0], name
        assert float((trained(INPUTS)["price"] - PRICES).detach().square().mean()) < 0.01


def test_a_price_head_alone_becomes_what_a_loop_by_hand_makes():
    head = Head(space="real", size=1)
    ours, theirs = model(outputs=1), model(outputs=1)

    def squared(numbers, index):
        return (numbers - PRICES[index]).square().mean()

    by_hand(theirs, squared, torch.optim.SGD(theirs.parameters(), lr=0.01))
    train(
        ours,
        ArraySamples(INPUTS, {"label": PRICES}),
        terms=supervised([head]),
        heads=[head],
        learning_rate=0.01,
    )
    assert furthest(ours, theirs) < 1e-6


# ---- precision ----------------------------------------------------------------------------------


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_half_precision_trains_and_leaves_a_plain_module(precision):
    half, full = model(), model()
    kinds = []
    half[0].register_forward_hook(lambda layer, given, said: kinds.append(said.dtype))
    names, own = list(half.state_dict()), set(vars(half))
    before = furthest(full, half)
    train(half, precision=precision)
    train(full)
    assert before == 0
    assert set(kinds) == {torch.bfloat16 if precision == "bf16" else torch.float16}
    assert 0 < furthest(half, full) < 0.05
    assert type(half) is nn.Sequential
    assert list(half.state_dict()) == names
    assert set(vars(half)) == own  # nothing was patched in
    assert {part.dtype for part in half.state_dict().values()} == {torch.float32}
    assert half(INPUTS).dtype == torch.float32


def test_an_interrupted_half_precision_pass_leaves_a_plain_module_too():
    trained = model()
    own = set(vars(trained))
    with pytest.raises(TrainingError):
        train(trained, precision="bf16", learning_rate=1e30)
    assert set(vars(trained)) == own


# ---- which weights are kept ---------------------------------------------------------------------


@pytest.mark.parametrize(("higher", "best"), [(True, 1), (False, 2)])
def test_the_weights_of_the_best_epoch_are_kept(higher, best):
    scores, seen = [0.5, 0.9, 0.1, 0.9], []

    def validate(watched):
        assert not watched.model.training
        seen.append(twin(watched.model))
        return scores[len(seen) - 1]

    trained = model(dropout=0.5)
    how = {"validate": validate, "higher_is_better": higher, "epochs": 4}
    history = train(trained, keep="best", **how).histories["student"]
    assert history.validation == scores
    assert same_weights(trained, seen[best])
    assert not trained.training
    seen.clear()
    last = model(dropout=0.5)
    train(last, keep="last", **how)
    assert same_weights(last, seen[3])


def test_validation_is_measured_every_so_many_epochs():
    history = train(model(), validate=lambda watched: 0.25, validate_every=2).histories["student"]
    assert history.validation == [None, 0.25, None]


def test_keeping_the_best_without_validation_data_is_refused():
    with pytest.raises(OptionError, match=r"needs validation data.*keep = \"last\""):
        train(model(), keep="best")


# ---- what a caller finds afterwards -------------------------------------------------------------


def test_a_model_that_comes_in_eval_mode_is_trained_in_training_mode():
    usual, evaluated = model(dropout=0.5), model(dropout=0.5).eval()
    train(usual)
    train(evaluated)
    assert same_weights(usual, evaluated)


def test_the_callers_random_numbers_are_left_alone():
    expected = torch.manual_seed(3) and torch.rand(2)
    torch.manual_seed(3)
    trained = twin(model_without_seed := nn.Linear(4, 3))
    torch.manual_seed(3)
    train(trained)
    assert torch.equal(torch.rand(2), expected)
    assert not same_weights(trained, model_without_seed)


def test_samples_seen_and_seconds_are_told():
    done = train(model(), order=Order(pool=torch.arange(10), length=20, seed=0), epochs=2)
    assert done.samples_seen == 40
    assert 0 < done.seconds < 60


def test_progress_counts_every_step_once():
    class Watch:
        def __init__(self):
            self.total, self.steps, self.losses = 0, 0, []

        def start(self, name, total):
            assert name == "training student"
            self.total = total

        def advance(self, steps, **numbers):
            self.steps += steps
            self.losses += numbers.values()

    watch = Watch()
    history = train(model(), progress=watch, batch_size=1, epochs=2).histories["student"]
    assert (watch.total, watch.steps) == (100, 100)
    assert [watch.losses[0], watch.losses[-1]] == pytest.approx(history.loss, rel=1e-5)


def test_logs_for_tensorboard_are_written(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    history = train(
        model(), log="tensorboard", log_folder=tmp_path, validate=lambda watched: 0.5
    ).histories["student"]
    (file,) = tmp_path.rglob("events.out.tfevents.*")
    logged = EventAccumulator(str(file)).Reload()
    losses = [(event.step, event.value) for event in logged.Scalars("student/loss")]
    assert [step for step, _ in losses] == [1, 2, 3]
    assert [loss for _, loss in losses] == pytest.approx(history.loss)
    assert [event.value for event in logged.Scalars("student/validation")] == [0.5] * 3


def test_logs_without_a_folder_are_refused():
    with pytest.raises(OptionError, match="log_folder"):
        train(model(), log="tensorboard")


# ---- what cannot be trained ---------------------------------------------------------------------


def test_a_loss_that_is_not_finite_stops_and_names_term_model_and_step():
    with pytest.raises(TrainingError) as caught:
        train(model(), learning_rate=1e30)
    assert "the hard loss of student is nan in epoch 1, by step 7. Lower" in str(caught.value)


def test_a_loss_that_is_not_finite_is_found_within_fifty_steps():
    with pytest.raises(TrainingError, match="in epoch 1, by step 50"):
        train(
            model(),
            learning_rate=1e30,
            batch_size=1,
            order=Order(pool=torch.arange(50), length=500, seed=0),
        )


def test_a_model_without_weights_to_learn_is_refused():
    with pytest.raises(ModelError, match=r"student has no weight that can learn. Unfreeze it"):
        train(model().requires_grad_(False))
    with pytest.raises(ModelError, match="no weight"):
        train(nn.Flatten())


def test_a_model_of_other_classes_is_refused():
    with pytest.raises(LimbeckError, match=r"student must answer 3 classes .* shape \(8, 5\)"):
        train(model(outputs=5))
