"""A teacher that knows nothing must never be said to have helped: 20 seeds each."""

import pytest
import torch

import limbeck
from limbeck.data import ArraySamples
from limbeck.models import MLP

SEEDS = 20
TRAIN = limbeck.Train(epochs=6, batch_size=64, learning_rate=1e-2, validate_every=0)


def student(seed: int) -> MLP:
    torch.manual_seed(seed)
    return MLP(64, [8], 10)


@pytest.fixture(scope="module")
def data():
    return limbeck.data.load("digits", validation=0.2, test=0.3, labelled=0.1)


@pytest.fixture(scope="module")
def controls(data):
    scores = []
    for seed in range(SEEDS):
        control = student(seed)
        limbeck.supervise(control, data, TRAIN, seed=seed)
        scores.append(limbeck.evaluate(control, data).score)
    return scores


def untrained(data, folder):
    """The rows of a teacher with random weights."""
    torch.manual_seed(99)
    return limbeck.capture(MLP(64, [64], 10), data, folder)


def shuffled(data, folder):
    """The rows of a good teacher, each under the key of another sample."""
    teacher = MLP(64, [64], 10)
    everything = limbeck.data.load("digits", validation=0.2, test=0.3)
    limbeck.supervise(teacher, everything, limbeck.Train(epochs=10, batch_size=64))
    order = torch.randperm(len(data.train))
    others = ArraySamples(data.train.inputs[order], data.train.labels, keys=data.train.keys)
    return limbeck.capture(teacher, others, folder, heads=data.heads)


@pytest.mark.parametrize("false_teacher", [untrained, shuffled])
def test_a_false_teacher_is_never_said_to_have_helped(
    false_teacher, data, controls, tmp_path, monkeypatch
):
    monkeypatch.setattr("limbeck.evaluation.median_latency_ms", lambda model, inputs: 1.0)
    targets = false_teacher(data, tmp_path)
    scores = []
    for seed in range(SEEDS):
        taught = student(seed)
        limbeck.distil(taught, data, targets, TRAIN, hard_weight=0.1, soft_weight=0.9, seed=seed)
        scores.append(limbeck.evaluate(taught, data).score)
    assert limbeck.judge(scores, controls, 0.1, "accuracy").outcome != "helped"
    for first in range(0, SEEDS, 5):
        five = slice(first, first + 5)
        assert limbeck.judge(scores[five], controls[five], 0.1, "accuracy").outcome != "helped"
