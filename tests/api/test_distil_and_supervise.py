"""What both trainers keep to."""

import os
import signal

import pytest
import torch
from torch import nn

import limbeck
from limbeck import TransferSet, capture, distil, evaluate, supervise
from limbeck._errors import (
    DataError,
    Interrupted,
    OptionError,
)
from limbeck.data import ArraySamples, DataSet
from limbeck.models import Interface, build
from limbeck.results import read_results
from limbeck.signals import Head
from tests.api.problem import (
    KIND,
    PRICE,
    PRICES,
    TRAINERS,
    TwoHeads,
    Watch,
    Watched,
    accuracy,
    data_set,
    split,
    train_by,
)
from tests.pipeline.examples import equal, small, weights
from tests.train.problem import INPUTS, LABELS, furthest, model, same_weights, settings


def test_the_same_seed_gives_the_same_batches_with_and_without_a_teacher(targets):
    taught, control, other = (Watched(INPUTS, {"label": LABELS}) for _ in range(3))
    distil(model(), taught, targets, settings(), seed=3)
    supervise(model(), control, settings(), seed=3)
    supervise(model(), other, settings(), seed=4)

    def visited(samples):
        return [index.tolist() for index, _ in samples.asked]

    assert visited(taught) == visited(control) != visited(other)
    for epoch in range(3):
        batches = visited(taught)[7 * epoch : 7 * epoch + 7]
        assert [len(batch) for batch in batches] == [8] * 6 + [2]
        assert sorted(place for batch in batches for place in batch) == list(range(50))


def test_without_the_teachers_weight_a_student_is_its_control(targets):
    student, control = model(dropout=0.5), model(dropout=0.5)
    options = {"hard_weight": 1.0, "soft_weight": 0.0}
    distil(student, (INPUTS, LABELS), targets, settings(), seed=2, **options)
    supervise(control, (INPUTS, LABELS), settings(), seed=2)
    assert furthest(student, control) < 1e-6


@TRAINERS
def test_a_call_again_gives_the_same_weights_and_another_seed_others(trained_by, targets):
    one, same, other = (model(dropout=0.5) for _ in range(3))
    train_by(trained_by, one, targets, settings(), seed=1)
    torch.manual_seed(99)
    train_by(trained_by, same, targets, settings(), seed=1)
    train_by(trained_by, other, targets, settings(), seed=2)
    assert same_weights(one, same)
    assert not same_weights(one, other)


@TRAINERS
@pytest.mark.parametrize("dropout", [0.0, 0.5])
def test_the_seed_is_also_that_of_dropout(trained_by, dropout, targets):
    alone = data_set(split(LABELS[:1], INPUTS[:1]))  # one sample has but one order
    one, other = model(dropout=dropout), model(dropout=dropout)
    for seed, trained in enumerate((one, other)):
        train_by(trained_by, trained, targets, settings(), data=alone, seed=seed)
    assert same_weights(one, other) == (dropout == 0)


@TRAINERS
def test_a_model_is_left_in_eval_mode_without_gradients_and_what_is_frozen_stays(
    trained_by, targets
):
    trained = model().eval()
    trained[0].requires_grad_(False)
    train_by(trained_by, trained, targets, settings())
    assert not any(part.training for part in trained.modules())
    assert [weight.grad for weight in trained.parameters()] == [None] * 4
    assert [weight.requires_grad for weight in trained.parameters()] == [False] * 2 + [True] * 2
    assert same_weights(trained[0], model()[0])
    assert not same_weights(trained[3], model()[3])


@TRAINERS
def test_a_student_of_probabilities_learns_as_one_of_logits(trained_by, targets):
    plain, probable = model(), nn.Sequential(*model(), nn.Softmax(-1))
    train_by(trained_by, plain, targets, settings())
    train_by(trained_by, probable, targets, settings(), outputs="probabilities")
    assert furthest(plain, probable) < 1e-5


@TRAINERS
def test_a_data_sets_validation_samples_are_scored_after_each_epoch(trained_by, targets):
    trained = model()
    history = train_by(trained_by, trained, targets, settings(), data=data_set())
    assert len(history.validation) == 3
    assert history.validation[-1] == accuracy(trained, slice(20))
    assert accuracy(trained, slice(20)) not in (accuracy(trained, slice(50)), 0.0)


@TRAINERS
def test_of_several_heads_the_first_is_validated(trained_by, tmp_path):
    samples = ArraySamples(INPUTS, {"kind": LABELS, "price": PRICES})
    data = DataSet(train=samples, validation=samples, test=samples, heads=(KIND, PRICE))
    kept, trained = capture(TwoHeads(seed=1), data, tmp_path), TwoHeads()
    history = train_by(trained_by, trained, kept, settings(), data=data)
    right = (trained(INPUTS)["kind"].argmax(-1) == LABELS).double().mean()
    assert history.validation[-1] == float(right)


@TRAINERS
def test_probabilities_are_validated_at_a_half(trained_by, tmp_path):
    tags, head = INPUTS[:, :3] > 0, Head(space="binary", size=3)
    data = data_set(
        split(tags.float()), validation=split(tags[:20].float(), INPUTS[:20]), head=head
    )
    kept, trained = capture(model(seed=1), data, tmp_path), nn.Sequential(model(), nn.Sigmoid())
    how = settings(epochs=10)
    history = train_by(trained_by, trained, kept, how, data=data, outputs="probabilities")
    right = ((trained(INPUTS[:20]) > 0.5) == tags[:20]).all(-1).double().mean()
    assert history.validation[-1] == float(right)
    assert right != tags[:20].all(-1).double().mean()  # as if every tag were set


@TRAINERS
def test_the_best_epoch_is_the_one_of_the_smallest_error_in_numbers(trained_by, tmp_path):
    head, truth = Head(space="real", size=1), model(seed=1, outputs=1)
    data = data_set(split(PRICES), validation=split(-PRICES[:9], INPUTS[:9]), head=head)
    kept = capture(truth, data, tmp_path)
    trained = model(outputs=1)
    how = settings(keep="best", epochs=6, learning_rate=0.01)
    history = train_by(trained_by, trained, kept, how, data=data)
    with torch.no_grad():
        error = float((trained(INPUTS[:9]) + PRICES[:9]).square().mean().sqrt())
    assert error == pytest.approx(min(history.validation), rel=1e-5)
    assert error < 0.99 * max(history.validation)


class Stops(nn.Module):
    """A student at whose so-many-th batch the user presses Ctrl-C; 0 is never."""

    def __init__(self, seed, at):
        super().__init__()
        self.inner, self.left = model(seed, dropout=0.5), at

    def forward(self, inputs):
        self.left -= 1
        if self.left == 0:
            os.kill(os.getpid(), signal.SIGINT)
        return self.inner(inputs)


@TRAINERS
@pytest.mark.parametrize("kind", [str, lambda path: path])
def test_a_stopped_training_goes_on_to_the_same_weights(trained_by, kind, targets, tmp_path):
    checkpoint, how = kind(tmp_path / "state"), settings(optimizer="AdamW")
    unbroken, again = Stops(0, 0), Stops(5, 0)
    history = train_by(trained_by, unbroken, targets, how)
    with pytest.raises(Interrupted, match="What was reached is kept"):
        train_by(trained_by, Stops(0, 10), targets, how, checkpoint=checkpoint)
    assert (tmp_path / "state").is_file()
    # Other initial weights: everything must come from the checkpoint.
    gone_on = train_by(trained_by, again, targets, how, checkpoint=checkpoint)
    assert same_weights(unbroken, again)
    assert gone_on == history
    assert -again.left == 21 - 10
    assert not (tmp_path / "state").exists()


@TRAINERS
@pytest.mark.parametrize("kind", [str, lambda path: path])
def test_logs_are_written_where_they_are_wanted(trained_by, kind, targets, tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    folder = tmp_path / "logs"
    how = settings(log="tensorboard")
    history = train_by(trained_by, model(), targets, how, log_folder=kind(folder))
    (file,) = folder.rglob("events.out.tfevents.*")
    logged = EventAccumulator(str(file)).Reload()
    name = {"distil": "student", "supervise": "model"}[trained_by]
    losses = [event.value for event in logged.Scalars(f"{name}/loss")]
    assert losses == pytest.approx(history.loss)


@TRAINERS
def test_the_watcher_is_told_each_step(trained_by, targets):
    watch = Watch()
    train_by(trained_by, model(), targets, settings(), progress=watch)
    name = {"distil": "student", "supervise": "model"}[trained_by]
    assert watch.started == [(f"training {name}", 21)]
    assert watch.advanced == 21


@pytest.mark.parametrize("hard", [0.0, 0.4])
def test_a_run_makes_the_very_same_models(hard, tmp_path):
    changed = ["seeds=1", "data.limit=300", "teacher.train.epochs=2", "train.epochs=2"]
    recipe = small(tmp_path, *changed, f"distil.hard_weight={hard}", 'train.keep="best"')
    limbeck.run(recipe, tmp_path / "run")
    made, report = weights(tmp_path / "run"), read_results(tmp_path / "run")[0]
    data = limbeck.data.load("digits", limit=300)
    teacher = build("mlp", {"hidden": [32]}, Interface.of(data))
    student, control = (build("mlp", {"hidden": [8]}, Interface.of(data)) for _ in range(2))
    supervise(teacher, data, recipe.teacher.train)
    targets = capture(teacher, data, tmp_path / "targets")
    distil(student, data, targets, recipe.train, hard_weight=hard)
    supervise(control, data, recipe.train)
    for path, mine in (
        ("teacher/teacher.safetensors", teacher),
        ("distil/seed-0/small.safetensors", student),
        ("control/seed-0/small.safetensors", control),
    ):
        assert equal({"": made[path]}, {"": dict(mine.state_dict())}), path
    assert targets.manifest == TransferSet(tmp_path / "run" / "targets").manifest
    found = evaluate(student, data, teacher=teacher)
    assert [found.score] == report.models["student"].score.values
    assert found.nearness.kl == report.fidelity.kl


def test_gradients_that_someone_left_change_nothing(targets):
    for name in ("supervise", "distil"):
        fresh, used = model(), model()
        used(INPUTS).sum().backward()
        for trained in (fresh, used):
            train_by(name, trained, targets, settings())
        assert same_weights(fresh, used), name


def test_a_data_set_made_by_hand_is_checked(targets):
    for wrong, said in (
        (split(LABELS + 1), r"labels of the train split must be 0\.\.2"),
        (split(LABELS, INPUTS / 0), "input of train sample 0 .* not finite"),
        (ArraySamples(INPUTS, {}), "the train split has no labels for head label"),
    ):
        with pytest.raises(DataError, match=said):
            supervise(model(), data_set(wrong))
    with pytest.raises(DataError, match=r"labels of the validation split must be 0\.\.2"):
        distil(model(), data_set(validation=split(LABELS + 1)), targets)


@TRAINERS
def test_what_is_no_module_or_no_training_is_refused_by_name(trained_by, targets):
    with pytest.raises(OptionError, match=r"train must be a limbeck\.Train, got dict"):
        train_by(trained_by, model(), targets, {"epochs": 1})
    name = "student" if trained_by == "distil" else "model"
    with pytest.raises(
        OptionError, match=rf"{name} must be a torch module, got function\. Call it"
    ):
        train_by(trained_by, model, targets, settings())
