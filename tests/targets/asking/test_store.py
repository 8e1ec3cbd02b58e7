"""Answers are encoded beside the teacher or between its answers, and are stored the same."""

import os

import pytest
import torch

import limbeck.targets.asking._ask as asking
import limbeck.targets.asking._store as store
import limbeck.targets.encoding._encoder as encoder
import limbeck.targets.format._shard_writer as shard_writer
from limbeck.data import ArraySamples
from limbeck.targets import capture
from limbeck.teachers import Teacher
from tests.targets.asking.conftest import Reusing


@pytest.fixture
def encoded(monkeypatch):
    """How many samples were encoded each time."""
    encoded, encode = [], encoder.Encoder.encode

    def count(self, keys, view, answers):
        encoded.append(len(keys))
        return encode(self, keys, view, answers)

    monkeypatch.setattr(encoder.Encoder, "encode", count)
    return encoded


@pytest.fixture
def small_answers(make, monkeypatch):
    """A teacher that says a row each of a hundred samples, and small blocks."""
    monkeypatch.setattr(shard_writer, "BLOCK_ROWS", 30)
    many = ArraySamples(torch.arange(400.0).view(100, 4), {"label": torch.zeros(100).long()})
    return Teacher(torch.nn.Linear(4, 5), [make.label]), many


def test_small_answers_are_encoded_by_the_block(small_answers, encoded, tmp_path, beside):
    targets = capture(*small_answers, tmp_path, batch_size=8)
    assert encoded == ([8] * 12 + [4] if beside else [32, 32, 32, 4])
    assert targets.verify() == 100


@pytest.mark.usefixtures("beside")
def test_what_a_slow_teacher_said_is_encoded_however_little_it_is(
    small_answers, encoded, tmp_path, monkeypatch
):
    monkeypatch.setattr(store, "LOT_SECONDS", 0.0)
    assert capture(*small_answers, tmp_path, batch_size=8).verify() == 100
    assert encoded == [8] * 12 + [4]


@pytest.mark.usefixtures("beside")
def test_a_model_that_answers_in_the_same_memory_is_heard_each_time(make, tmp_path):
    inputs = torch.randn(64, 4, generator=torch.Generator().manual_seed(0))
    many = ArraySamples(inputs, {"label": torch.zeros(64).long()})
    targets = capture(
        Teacher(Reusing(), [make.label]), many, tmp_path, codec="dense32", batch_size=8
    )
    expected = (inputs[:, :1] * torch.arange(5.0) / 4).log_softmax(-1)
    torch.testing.assert_close(targets.read(targets.positions(many.keys))["label"].values, expected)


@pytest.mark.parametrize(
    ("device", "threads", "processes", "spare"),
    [("cpu", 1, 1, True), ("cpu", 4, 1, False), ("cpu", 1, 4, False), ("meta", 4, 4, True)],
)
def test_a_thread_encodes_where_a_processor_is_spare(
    make, monkeypatch, device, threads, processes, spare
):
    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    teacher = Teacher(torch.nn.Linear(4, 5), [make.label], device=device)
    assert asking._has_a_processor_to_spare(teacher, processes=processes) is spare
    called = Teacher(lambda inputs: inputs, [make.label])
    assert asking._has_a_processor_to_spare(called, processes=processes)
