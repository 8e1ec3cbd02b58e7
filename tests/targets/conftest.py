from pathlib import Path

import numpy as np
import pytest
import torch

from limbeck.data import ArraySamples
from limbeck.data._views import Views
from limbeck.signals import Dense, Head
from limbeck.targets import CODECS, capture
from limbeck.targets.codecs import Column
from limbeck.teachers import Teacher

LABEL = Head(space="categorical", size=5, classes=("ant", "bee", "cat", "dog", "eel"))


class Asked:
    """A teacher's function that counts how many samples it is asked about.

    An answer is a fixed function of the sample alone, whatever its neighbours in the batch.
    """

    def __init__(self, answer, stop_after=None):
        self.answer = answer
        self.samples = 0
        self.batches = 0
        self.stop_after = stop_after

    __qualname__ = "asked"

    def __call__(self, inputs):
        if self.stop_after is not None and self.batches == self.stop_after:
            raise KeyboardInterrupt
        self.samples += len(inputs)
        self.batches += 1
        return np.stack([self.answer(each) for each in inputs])


def logits_of(sample, size=5):
    """Some logits that depend on every number of a sample."""
    moved = np.arange(1, size + 1)[:, None] * (1 + sample.reshape(-1)[None, :])
    return (3 * np.sin(moved).sum(axis=1)).astype(np.float32)


def make_samples(count=40, seed=0, views=None):
    drawn = torch.rand(count, 4, 4, generator=torch.Generator().manual_seed(seed))
    return ArraySamples(drawn, {}, views=views or Views())


@pytest.fixture
def samples():
    return make_samples()


@pytest.fixture
def ask():
    """A counting function of logits; see `Asked`."""
    return Asked(logits_of)


@pytest.fixture
def teacher(ask):
    return Teacher(ask, [LABEL])


@pytest.fixture
def make():
    """The helpers above, for tests that need others than the fixtures."""

    class Make:
        asked = Asked
        label = LABEL
        logits = staticmethod(logits_of)
        samples = staticmethod(make_samples)

    return Make


@pytest.fixture
def stored(teacher, samples, tmp_path) -> Path:
    """The folder of a small whole transfer set."""
    capture(teacher, samples, tmp_path / "set", batch_size=16)
    return tmp_path / "set"


class _FromMean:
    """A codec that learns: it stores how far each number is from the head's mean row."""

    name, options, biased, takes_logits = "from_mean", {}, False, False

    def columns(self, head):
        return {"values": Column(np.dtype(np.float32), head.size)}

    def fit(self, pieces, head):
        return {"mean": torch.cat(list(pieces)).mean(0)}

    def state_fault(self, state, head):
        return None

    def encode(self, values, head, state, seeds):
        return {"values": (values - state["mean"]).numpy()}

    def fault(self, arrays, head):
        return None

    def decode(self, arrays, head, state, temperature):
        return Dense(values=torch.tensor(arrays["values"]) + state["mean"], temperature=temperature)


@pytest.fixture
def learning(monkeypatch):
    """The name of a codec that learns something."""
    monkeypatch.setitem(CODECS, "from_mean", _FromMean)
    return "from_mean"
