"""Stop a pass anywhere: the same call goes on, to the same weights."""

import os
import signal

import pytest
import torch

from limbeck._errors import Interrupted
from limbeck._progress import Silence
from limbeck.data import ArraySamples
from limbeck.methods import supervised
from limbeck.train import _resume, fit
from tests.train.problem import (
    INPUTS,
    LABEL,
    LABELS,
    NEVER,
    SAMPLES,
    learner,
    model,
    same_weights,
    settings,
    soft,
    stopper,
    teach,
    train,
)


@pytest.fixture
def stop_after(monkeypatch):
    return stopper(monkeypatch)


def one_pass(models, checkpoint, **changed):
    """Two learners, dropout, a best epoch to remember: all there is to keep."""
    scores = iter(range(100))
    terms = [supervised([LABEL]), soft(hard_weight=0.5)]
    return fit(
        [learner(each, part, name) for each, part, name in zip(models, terms, "ab", strict=True)],
        SAMPLES,
        settings(**{"epochs": 2, "keep": "best", "schedule": "cosine"} | changed),
        heads=[LABEL],
        seed=5,
        teach=teach,
        validate=lambda watched: -abs(next(scores) - 1),
        checkpoint=checkpoint,
    )


@pytest.fixture(scope="module")
def unbroken():
    models = [model(seed, dropout=0.5) for seed in (0, 1)]
    return models, one_pass(models, None)


# A look after each of 2 x 7 steps, and after each of 2 epochs.
@pytest.mark.parametrize("looks", range(1, 17))
def test_a_pass_that_was_stopped_goes_on_to_the_same_weights(looks, unbroken, stop_after, tmp_path):
    checkpoint = tmp_path / "state.safetensors"
    stop_after(looks)
    with pytest.raises(Interrupted, match=r"training a \+ b. What was reached is kept"):
        one_pass([model(seed, dropout=0.5) for seed in (0, 1)], checkpoint)
    assert checkpoint.is_file()
    stop_after(NEVER)
    # Other initial weights: everything must come from the checkpoint.
    models = [model(seed + 7, dropout=0.5) for seed in (0, 1)]
    done = one_pass(models, checkpoint)
    expected, expected_done = unbroken
    assert [same_weights(*pair) for pair in zip(models, expected, strict=True)] == [True, True]
    for name in "ab":
        assert done.histories[name].loss == expected_done.histories[name].loss
        assert done.histories[name].terms == expected_done.histories[name].terms
        assert len(done.histories[name].validation) == 2
    assert not checkpoint.exists()


@pytest.mark.parametrize("optimizer", ["AdamW", "NAdam", "Rprop", "ASGD", "RMSprop", "Adafactor"])
def test_what_an_optimiser_remembers_is_kept(optimizer, stop_after, tmp_path):
    how = {"optimizer": optimizer, "learning_rate": 0.01, "epochs": 2}
    unbroken, broken = model(), model()
    train(unbroken, **how)
    stop_after(9)
    with pytest.raises(Interrupted):
        train(broken, checkpoint=tmp_path / "state", **how)
    stop_after(NEVER)
    again = model(3)
    train(again, checkpoint=tmp_path / "state", **how)
    assert same_weights(again, unbroken)


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_half_precision_goes_on_to_the_same_weights(precision, stop_after, tmp_path):
    unbroken = model()
    train(unbroken, precision=precision)
    stop_after(5)
    with pytest.raises(Interrupted):
        train(model(), precision=precision, checkpoint=tmp_path / "state")
    stop_after(NEVER)
    again = model(3)
    train(again, precision=precision, checkpoint=tmp_path / "state")
    assert same_weights(again, unbroken)


def test_a_killed_pass_loses_only_what_came_after_the_last_checkpoint(monkeypatch, tmp_path):
    monkeypatch.setattr(_resume, "CHECKPOINT_SECONDS", 0.0)
    unbroken = model(dropout=0.5)
    train(unbroken)

    class Killed(Exception):
        pass

    def killed(batch):
        if killed.calls == 9:
            raise Killed
        killed.calls += 1
        return teach(batch)

    killed.calls = 0
    with pytest.raises(Killed):
        train(model(dropout=0.5), teach=killed, checkpoint=tmp_path / "state")
    fetched = []

    class Watched(ArraySamples):
        def fetch(self, index, view=0):
            fetched.append(len(index))
            return super().fetch(index, view)

    again = model(3, dropout=0.5)
    train(again, Watched(INPUTS, {"label": LABELS}), teach=teach, checkpoint=tmp_path / "state")
    assert same_weights(again, unbroken)
    assert len(fetched) == 21 - 9


def test_progress_of_a_pass_that_goes_on_begins_where_it_stopped(stop_after, tmp_path):
    class Watch(Silence):
        def __init__(self):
            self.steps = []

        def advance(self, steps, **numbers):
            self.steps.append(steps)

    stop_after(10)
    with pytest.raises(Interrupted):
        train(model(), checkpoint=tmp_path / "state")
    stop_after(NEVER)
    watch = Watch()
    train(model(), checkpoint=tmp_path / "state", progress=watch)
    assert watch.steps[0] == 9  # the eighth look was after the first epoch
    assert sum(watch.steps) == 21


@pytest.mark.parametrize(
    "changed", [{"learning_rate": 0.2}, {"epochs": 4}, {"seed": 6}, {"terms": soft()}]
)
def test_a_checkpoint_of_another_pass_is_not_gone_on_from(changed, stop_after, tmp_path):
    class Watch(Silence):
        warned = ""

        def warn(self, message):
            self.warned += message

    stop_after(5)
    with pytest.raises(Interrupted):
        train(model(), teach=teach, checkpoint=tmp_path / "state")
    stop_after(NEVER)
    anew, expected, watch = model(), model(), Watch()
    train(anew, teach=teach, checkpoint=tmp_path / "state", progress=watch, **changed)
    train(expected, teach=teach, **changed)
    assert same_weights(anew, expected)
    assert "is of other models, samples or settings: training begins anew" in watch.warned


@pytest.mark.parametrize("what", ["inputs", "labels"])
def test_a_checkpoint_of_other_samples_is_not_gone_on_from(what, stop_after, tmp_path):
    inputs, labels = SAMPLES.inputs, SAMPLES.labels["label"]
    changed = {"inputs": inputs, "labels": labels} | {
        what: inputs + 1 if what == "inputs" else labels.flip(0)
    }
    other = ArraySamples(changed["inputs"], {"label": changed["labels"]})
    stop_after(5)
    with pytest.raises(Interrupted):
        train(model(), checkpoint=tmp_path / "state")
    stop_after(NEVER)
    anew, expected = model(), model()
    train(anew, other, checkpoint=tmp_path / "state")
    train(expected, other)
    assert same_weights(anew, expected)


def test_a_pass_without_a_checkpoint_says_that_nothing_was_kept(stop_after):
    stop_after(3)
    with pytest.raises(Interrupted, match="Nothing was kept"):
        train(model())


def test_ctrl_c_ends_the_step_and_keeps_the_state(tmp_path):
    def interrupts(batch):
        if not interrupts.sent:
            interrupts.sent = True
            os.kill(os.getpid(), signal.SIGINT)
        return teach(batch)

    interrupts.sent = False
    with pytest.raises(Interrupted, match="run the same command again"):
        train(model(), teach=interrupts, checkpoint=tmp_path / "state")
    assert (tmp_path / "state").is_file()
    again, unbroken = model(), model()
    train(again, teach=teach, checkpoint=tmp_path / "state")
    train(unbroken, teach=teach)
    assert same_weights(again, unbroken)


def test_a_checkpoint_holds_no_pickle(stop_after, tmp_path):
    from safetensors import safe_open

    stop_after(3)
    with pytest.raises(Interrupted):
        train(model(), checkpoint=tmp_path / "state")
    with safe_open(str(tmp_path / "state"), framework="pt") as file:
        kept = [file.get_tensor(name) for name in file.keys()]  # noqa: SIM118
    assert any(tensor.shape == torch.Size([16, 4]) for tensor in kept)
