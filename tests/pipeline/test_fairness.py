"""Nobody peeks at the test data, student and control begin alike, and the ledger is honest."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import limbeck
from limbeck.evaluation import median_latency_ms
from limbeck.results import read_results
from tests.pipeline.examples import small, weights

SAMPLES = 600
HIDDEN_8 = 2 * (64 * 8 + 8 * 10)
"""FLOPs of one forward pass of the small recipe's student, written down."""
HIDDEN_32 = 2 * (64 * 32 + 32 * 10)
"""Those of its teacher."""


def _records(folder: Path, stage: str) -> list[dict[str, Any]]:
    """The records of a stage, seed by seed."""
    return [json.loads(path.read_text()) for path in sorted(folder.glob(f"stages/{stage}*.json"))]


def test_nothing_but_the_result_is_measured_on_test_data(tmp_path):
    """In the test split every label is the opposite, so who is right there has looked at it."""
    settings = ['data={source="tests.pipeline.models:opposite_test"}', 'train.keep="best"']
    limbeck.run(small(tmp_path, *settings, "train.learning_rate=0.1"), tmp_path / "run")
    report, details = read_results(tmp_path / "run")
    for model in report.models.values():
        assert max(model.score.values) < 0.2
    assert report.teacher_validation is not None
    assert report.teacher_validation > 0.8
    for stage in ("control", "distil"):
        for record in _records(tmp_path / "run", stage):
            assert record["facts"]["validation"]["small"] > 0.8
    assert len(details.curves) == 5
    for curve in details.curves:
        assert max(score for score in curve.validation if score is not None) > 0.8


def test_student_and_control_begin_with_the_same_weights(tmp_path):
    # At such a learning rate what is saved is what they began with.
    limbeck.run(small(tmp_path, "train.learning_rate=1e-9"), tmp_path / "run")
    found = weights(tmp_path / "run")
    control, student = (
        [found[f"{role}/seed-{seed}/small.safetensors"] for seed in (0, 1)]
        for role in ("control", "distil")
    )
    for name in control[0]:
        for seed in (0, 1):
            torch.testing.assert_close(student[seed][name], control[seed][name], atol=1e-6, rtol=0)
        assert not torch.allclose(control[0][name], control[1][name], atol=1e-3)


def test_a_stored_view_teaches_what_the_teacher_says_of_that_view(tmp_path):
    """A live teacher sees the very image that the student sees."""
    views = ["data.augment.shift=2", "targets.views=2", "targets.codec=dense32", "seeds=1"]
    limbeck.run(small(tmp_path, *views), tmp_path / "stored")
    limbeck.run(small(tmp_path, *views, "distil.live=true"), tmp_path / "live")
    stored, asked = (
        weights(tmp_path / folder)["distil/seed-0/small.safetensors"]
        for folder in ("stored", "live")
    )
    for name, tensor in stored.items():
        torch.testing.assert_close(asked[name], tensor, atol=1e-4, rtol=1e-3)


def test_the_ledger_counts_three_forward_passes_for_a_sample_learned_from(finished):
    report, _ = read_results(finished)
    assert {stage.name: stage.flops for stage in report.ledger.stages} == {
        "teacher": 3 * HIDDEN_32 * SAMPLES * 4,  # 4 epochs
        "targets": HIDDEN_32 * SAMPLES,  # asked once
        "control": 3 * HIDDEN_8 * SAMPLES * 3 * 2,  # 3 epochs, 2 seeds
        "distil": 3 * HIDDEN_8 * SAMPLES * 3 * 2,
        "evaluate": None,
    }


def test_break_even_is_the_price_of_one_student_by_what_one_answer_saves(tmp_path, monkeypatch):
    def milliseconds(model: nn.Module, inputs: Tensor) -> float:
        teacher = sum(part.numel() for part in model.parameters()) > 2000
        if len(inputs) > 1:
            return 9.0 if teacher else 1.0
        return 0.005 if teacher else 0.004

    monkeypatch.setattr("limbeck.evaluation.median_latency_ms", milliseconds)
    wide = ["students.wide.model=mlp", "students.wide.options.hidden=[12]"]
    between = "assistants.middle={model = 'mlp', options = {hidden = [16]}}"
    report = limbeck.run(small(tmp_path, *wide, between, "seeds=3"), tmp_path / "run")
    before = [*_records(tmp_path / "run", "targets"), *_records(tmp_path / "run", "assistant")]
    assert len(before) == 3  # what the teacher said, who learned from that, and what it said
    distil = [record["seconds"] for record in _records(tmp_path / "run", "distil")]
    assert len(distil) == 3
    price = sum(record["seconds"] for record in before) + sum(distil) / 6  # 3 seeds of 2 students
    assert report.ledger.break_even_predictions == pytest.approx(math.ceil(price / 1e-6), abs=2)


class _Stopwatch(nn.Module):
    """Tells the time, and takes longer at each pass; the first three are slow."""

    def __init__(self) -> None:
        super().__init__()
        self.now, self.passes = 0.0, 0

    def forward(self, inputs: Tensor) -> Tensor:
        self.passes += 1
        self.now += 0.5 if self.passes <= 3 else 1e-3 * (self.passes - 3)
        return inputs


def test_latency_leaves_out_the_passes_that_warm_up(monkeypatch):
    watch = _Stopwatch()
    monkeypatch.setattr("limbeck.evaluation.time.perf_counter", lambda: watch.now)
    # After the warm-up passes take 1, 2, ..., 10 ms.
    assert median_latency_ms(watch, torch.zeros(1)) == pytest.approx(5.5)
    assert watch.passes == 13
