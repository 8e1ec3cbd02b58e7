"""The correction that makes up for digits that were never shown looks at no label."""

import sys
from importlib import import_module
from pathlib import Path

import pytest
import torch

BENCH = Path(__file__).parents[2] / "bench"


@pytest.fixture
def hinton(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(str(BENCH))
    monkeypatch.delitem(sys.modules, "hinton", raising=False)
    return import_module("hinton")


def logits(samples=400, classes=5):
    generator = torch.Generator().manual_seed(0)
    rows = 4 * torch.randn(samples, classes, generator=generator)
    rows[:, 3] -= 6.0  # never shown
    return rows


def mean(rows, added):
    return torch.softmax(rows.double() + added, dim=-1).mean(dim=0)


def by_bisection(rows, digit, share):
    low, high = -50.0, 50.0
    for _ in range(80):
        middle = (low + high) / 2
        added = torch.zeros(rows.shape[1], dtype=torch.float64)
        added[digit] = middle
        low, high = (middle, high) if mean(rows, added)[digit] < share else (low, middle)
    return middle


@pytest.mark.parametrize("share", [0.1, 0.35])
def test_one_class_gets_the_offset_that_bisection_finds(hinton, share):
    rows = logits()
    added = hinton.offsets(rows, [3], [share])
    assert float(added[3]) == pytest.approx(by_bisection(rows, 3, share), abs=1e-3)
    assert added[[0, 1, 2, 4]].tolist() == [0.0] * 4


def test_several_classes_are_as_frequent_as_they_are_known_to_be(hinton):
    rows = logits()
    added = hinton.offsets(rows, [3, 1], [0.3, 0.1])
    assert mean(rows, added)[[3, 1]].tolist() == pytest.approx([0.3, 0.1], abs=1e-5)


def test_wrong_answers_are_counted_after_the_correction(hinton):
    rows = torch.tensor([[1.0, 0.0], [3.0, 0.0], [0.0, 1.0]])
    answers = hinton.Answers(rows=rows, labels=torch.tensor([1, 0, 1]))
    assert hinton.wrong(answers).tolist() == [True, False, False]
    assert hinton.wrong(answers, torch.tensor([0.0, 2.0])).tolist() == [False, False, False]
