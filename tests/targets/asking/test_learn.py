"""What a codec learns from: asked first, shown, and kept as far as there is room."""

import numpy as np
import pytest
import torch

import limbeck.targets.asking._learn as learning_rows
from limbeck._progress import Silence
from limbeck.data import ArraySamples
from limbeck.signals import Head
from limbeck.targets import TransferSet, capture
from limbeck.targets.asking._capture import ASKED_AGAIN
from limbeck.teachers import Teacher
from tests.targets.asking.conftest import Reusing

TWO = [Head(name=name, space="categorical", size=5) for name in ("one", "other")]


def learned(folder):
    return TransferSet(folder).states


def test_what_has_no_room_is_asked_again_and_no_more(make, tmp_path, monkeypatch):
    monkeypatch.setattr(learning_rows, "FITTED_ROWS", 50)
    monkeypatch.setattr(learning_rows, "_KEPT_NUMBERS", 5 * 20)
    ask = make.asked(make.logits)
    teacher = Teacher(ask, [make.label])
    capture(teacher, make.samples(120), tmp_path, codec="selected", batch_size=40)
    assert ask.samples == 120 + (50 - 20)


def test_every_head_learns_from_each_sample_once_whatever_is_kept(
    make, tmp_path, monkeypatch, learning
):
    """The last lot, of 5, has room where those before it, of 10, had none."""
    ask = make.asked(make.logits)

    def answer(inputs):
        said = ask(inputs)
        return {"one": said, "other": np.cos(said)}

    samples = make.samples(45)
    states = []
    for name, kept in (("all", 1 << 20), ("some", 2 * 5 * 25)):
        monkeypatch.setattr(learning_rows, "_KEPT_NUMBERS", kept)
        capture(Teacher(answer, TWO), samples, tmp_path / name, codec=learning, batch_size=40)
        states.append(learned(tmp_path / name))
    for head in ("one", "other"):
        assert states[0][head]["mean"].equal(states[1][head]["mean"])


@pytest.mark.parametrize("names", [("a", "a.low"), ("a.low", "a"), ("", "."), ("a.b.c", "a.b")])
def test_heads_may_be_called_by_what_begins_like_another(samples, tmp_path, names):
    heads = [Head(name=name, space="real", size=4) for name in names]

    def answer(inputs):
        return {names[0]: inputs[:, 0], names[1]: 2 - inputs[:, 1]}

    made = capture(Teacher(answer, heads), samples, tmp_path, codec="real8")
    rows = TransferSet(tmp_path).read(made.positions(samples.keys))
    for name, said in answer(samples.inputs).items():
        torch.testing.assert_close(rows[name].values, said, atol=0.01, rtol=0)


def test_a_model_that_answers_in_the_same_memory_is_heard_each_time(make, tmp_path, learning):
    inputs = torch.randn(64, 4, generator=torch.Generator().manual_seed(0))
    many = ArraySamples(inputs, {})
    made = capture(Teacher(Reusing(), [make.label]), many, tmp_path, codec=learning, batch_size=32)
    expected = (inputs[:, :1] * torch.arange(5.0) / 4).log_softmax(-1)
    torch.testing.assert_close(made.read(made.positions(many.keys))["label"].values, expected)


class Seen(Silence):
    """Keeps each bar: its name, its end, and how far it came."""

    def __init__(self):
        self.bars = []

    def start(self, name, total):
        self.bars.append([name, total, 0])

    def advance(self, steps, **numbers):
        self.bars[-1][2] += steps


@pytest.mark.parametrize(("count", "of_each"), [(40, 40), (120, 50)], ids=["all", "some"])
def test_whoever_watches_sees_how_far_the_learning_is(make, tmp_path, monkeypatch, count, of_each):
    monkeypatch.setattr(learning_rows, "FITTED_ROWS", 100)
    texts, seen = make.samples(count), Seen()

    def answer(inputs):  # two rows of each sample
        said = np.stack([[make.logits(one[:2]), make.logits(one[2:])] for one in inputs])
        return {"one": said, "other": -said}

    teacher = Teacher(answer, TWO)
    capture(teacher, texts, tmp_path, codec="selected", batch_size=40, progress=seen)
    assert seen.bars == [["learning", 2 * of_each, 2 * of_each], ["targets", count, count]]


def test_a_codec_that_learns_nothing_shows_no_bar_for_it(teacher, samples, tmp_path):
    seen = Seen()
    capture(teacher, samples, tmp_path, progress=seen)
    assert [name for name, _, _ in seen.bars] == ["targets"]


def test_stopped_while_the_codec_learns_all_is_asked_again(make, samples, tmp_path):
    stopped, again = make.asked(make.logits, stop_after=2), make.asked(make.logits)
    with pytest.raises(KeyboardInterrupt):
        capture(Teacher(stopped, [make.label]), samples, tmp_path, codec="selected", batch_size=40)
    assert stopped.samples == 20  # in quarters of a batch
    assert list(tmp_path.iterdir()) == []
    made = capture(Teacher(again, [make.label]), samples, tmp_path, codec="selected")
    assert (again.samples, made.verify()) == (40, 40)


def test_stopped_after_the_codec_has_learned_what_it_learned_from_is_kept(
    make, tmp_path, monkeypatch
):
    monkeypatch.setattr(learning_rows, "FITTED_ROWS", 20)
    stopped, again = make.asked(make.logits, stop_after=2), make.asked(make.logits)
    many = make.samples(80)
    with pytest.raises(KeyboardInterrupt):
        capture(Teacher(stopped, [make.label]), many, tmp_path, codec="selected", batch_size=40)
    capture(Teacher(again, [make.label]), many, tmp_path, codec="selected")
    assert again.samples == 80 - 20 + ASKED_AGAIN
