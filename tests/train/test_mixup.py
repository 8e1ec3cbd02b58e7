"""Mixed samples are of two of the batch, drawn from seed and step, and seen by all alike."""

import os
import signal

import pytest
import torch
from accelerate import Accelerator

from limbeck._errors import Interrupted, OptionError
from limbeck._progress import Silence
from limbeck.data import ArraySamples
from limbeck.methods import objective
from limbeck.models import MLP
from limbeck.recipe import Train
from limbeck.signals import Batch, Dense, Head
from limbeck.train import Learner, check_mixup, fit, generator
from limbeck.train._mixup import mixed_up

LABEL = Head(space="categorical", size=3)
SOFT = objective("soft_targets", [LABEL], temperature=1.0, hard_weight=0.0, soft_weight=1.0)
TRAIN = Train(epochs=2, batch_size=8, validate_every=0)


def batch(inputs):
    count = torch.arange(len(inputs))
    return Batch(inputs=inputs, labels={"label": count % 3}, index=count)


def test_every_sample_is_a_part_of_two_of_the_batch():
    corners = torch.eye(6)
    mixed = mixed_up(batch(corners), generator(0)).inputs
    torch.testing.assert_close(mixed.sum(1), torch.ones(6))
    assert bool((mixed >= 0).all())
    assert int((mixed > 0).sum(1).max()) == 2
    others = (mixed - mixed.diagonal().diag()).argmax(1)[mixed.diagonal() < 1]
    assert len(set(others.tolist())) == len(others)  # each is taken once


def test_parts_are_drawn_evenly():
    inputs = torch.eye(2).repeat(2000, 1)
    mixed = mixed_up(batch(inputs), generator(1)).inputs
    part = mixed.gather(1, inputs.argmax(1, keepdim=True)).squeeze(1)[(mixed.amax(1) < 1)]
    # Evenly over 0..1: mean 1/2, variance 1/12.
    assert float(part.mean()) == pytest.approx(0.5, abs=0.03)
    assert float(part.var()) == pytest.approx(1 / 12, abs=0.01)


def test_samples_of_any_shape_and_type_keep_it_and_their_place():
    images = torch.rand(5, 1, 4, 4)
    one = mixed_up(batch(images), generator(2))
    assert one.inputs.shape == images.shape
    assert one.index.tolist() == [0, 1, 2, 3, 4]
    assert torch.equal(one.inputs, mixed_up(batch(images), generator(2)).inputs)
    assert not torch.equal(one.inputs, mixed_up(batch(images), generator(3)).inputs)
    assert mixed_up(batch(images.half()), generator(2)).inputs.dtype == torch.float16


@pytest.fixture
def samples():
    numbers = torch.randn(40, 4, generator=torch.Generator().manual_seed(0))
    return ArraySamples(numbers, {"label": torch.arange(40) % 3})


def learner(terms=SOFT, name="student"):
    torch.manual_seed(5)
    return Learner(name=name, model=MLP(4, [6], 3), objective=terms)


class Asked:
    """A live teacher that remembers what it was shown."""

    def __init__(self):
        torch.manual_seed(1)
        self.model, self.seen = MLP(4, [6], 3), []

    def __call__(self, batch):
        self.seen.append(batch.inputs)
        with torch.no_grad():
            return {"label": Dense(values=self.model(batch.inputs))}


def run(samples, *, mixup=True, seed=0, settings=TRAIN, **options):
    one, asked, heard = learner(), Asked(), []
    one.model.register_forward_pre_hook(lambda _, given: heard.append(given[0]))
    fit([one], samples, settings, heads=[LABEL], seed=seed, teach=asked, mixup=mixup, **options)
    return one.model.state_dict(), asked.seen, heard


def same(one, other):
    return all(torch.equal(one[name], other[name]) for name in one)


def test_teacher_and_student_see_the_same_mixed_samples(samples):
    _, asked, heard = run(samples)
    assert len(asked) == len(heard) == 10  # 2 epochs of 5 batches
    assert all(torch.equal(one, other) for one, other in zip(asked, heard, strict=True))
    plain = samples.fetch(torch.arange(40)).inputs
    found = (asked[0][:, None] == plain[None]).all(-1).any(1)
    assert int(found.sum()) <= 2  # a sample may be mixed with itself


def test_every_step_of_every_process_draws_anew(samples, monkeypatch):
    seeds = []

    def spy(batch, drawn):
        seeds.append(drawn.initial_seed())
        return mixed_up(batch, drawn)

    monkeypatch.setattr("limbeck.train._fit.mixed_up", spy)
    for place in (0, 1):
        monkeypatch.setattr(Accelerator, "process_index", place)
        run(samples)
    assert len(set(seeds)) == 20


def test_the_same_seed_mixes_alike_and_another_otherwise(samples):
    one, seen, _ = run(samples)
    again, _, _ = run(samples)
    assert same(one, again)
    _, other, _ = run(samples, seed=1)
    assert not torch.equal(seen[0], other[0])


def test_without_it_nothing_is_mixed(samples):
    _, asked, _ = run(samples, mixup=False)
    plain = samples.fetch(torch.arange(40)).inputs
    assert bool((asked[0][:, None] == plain[None]).all(-1).any(1).all())


class _StopsAt(Silence):
    def __init__(self, monkeypatch):
        monkeypatch.setattr("limbeck.train._fit.CHECK_EVERY", 1)
        self._left = 4

    def advance(self, steps, **numbers):
        self._left -= bool(numbers)
        if self._left == 0:
            os.kill(os.getpid(), signal.SIGINT)


def test_stopped_it_goes_on_to_the_same_weights(samples, tmp_path, monkeypatch):
    whole, seen, _ = run(samples)
    path = tmp_path / "state.safetensors"
    with pytest.raises(Interrupted):
        run(samples, checkpoint=path, progress=_StopsAt(monkeypatch))
    assert path.is_file()
    found, rest, _ = run(samples, checkpoint=path)
    assert same(found, whole)
    assert len(rest) == 6
    assert torch.equal(rest[-1], seen[-1])


def test_a_stopped_pass_without_it_is_not_gone_on_with(samples, tmp_path, monkeypatch):
    path = tmp_path / "state.safetensors"
    with pytest.raises(Interrupted):
        run(samples, mixup=False, checkpoint=path, progress=_StopsAt(monkeypatch))
    _, seen, _ = run(samples, checkpoint=path)
    assert len(seen) == 10


def test_micro_batches_are_parts_of_one_mixed_batch(samples):
    _, whole, _ = run(samples)
    _, parts, _ = run(samples, settings=TRAIN.model_copy(update={"accumulate": 2}))
    torch.testing.assert_close(torch.cat(parts), torch.cat(whole))


def test_labels_and_what_is_no_number_are_refused(samples):
    with_labels = objective(
        "soft_targets", [LABEL], temperature=1.0, hard_weight=0.1, soft_weight=1.0
    )
    with pytest.raises(OptionError, match=r"needs labels\. Set distil\.hard_weight = 0"):
        check_mixup(with_labels, torch.rand(2, 4))
    with pytest.raises(OptionError, match="the hard loss needs labels"):
        fit([learner(with_labels)], samples, TRAIN, heads=[LABEL], seed=0, mixup=True)
    with pytest.raises(OptionError, match=r"got torch\.int64"):
        check_mixup(SOFT, torch.zeros(2, 4, dtype=torch.int64))
    with pytest.raises(OptionError, match=r"got keyword inputs \(input_ids\)"):
        check_mixup(SOFT, {"input_ids": torch.zeros(2, 4)})
