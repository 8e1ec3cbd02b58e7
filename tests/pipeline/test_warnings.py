"""A teacher that has nothing to teach gets a warning that says so."""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import pytest
import torch

import limbeck
from limbeck._progress import Silence
from limbeck.data import ArraySamples, DataSet
from limbeck.metrics import METRICS
from limbeck.models import MLP, save_weights
from limbeck.pipeline._warnings import leaked_samples, teacher_warnings
from limbeck.tasks import Task
from tests.pipeline.examples import small
from tests.test_chance import CLASSES, LABELS, task_of


def _warnings(
    task: Task,
    teacher: float,
    control: float,
    *,
    student: float = 0.9,
    assistants: Mapping[str, float] = MappingProxyType({}),
    seeds: int = 5,
) -> list[str]:
    return teacher_warnings(
        task,
        teacher_validation=teacher,
        control_validation={"small": [control]},
        student_validation={"small": [student]},
        assistant_validation=assistants,
        seeds=seeds,
    )


def test_a_good_teacher_gets_no_warning():
    assert _warnings(CLASSES, 0.9, 0.8) == []


def test_a_teacher_at_chance_level_is_warned_of():
    [warning] = _warnings(CLASSES, 0.6, 0.5)
    assert "at chance level" in warning


def test_a_student_at_chance_level_like_its_control_is_warned_of():
    assert _warnings(CLASSES, 0.9, 0.5) == []
    [warning] = _warnings(CLASSES, 0.9, 0.5, student=0.6)
    assert "Student small is at chance level, and so is its control: validation acc" in warning
    [warning] = _warnings(CLASSES, 0.9, 0.8, student=0.6)
    assert "Student small is at chance level, and its control is not: validation acc" in warning
    assert "It has not learned yet" in warning


@pytest.mark.parametrize(("teacher", "control"), [(0.8, 0.9), (0.8, 0.8)])
def test_a_teacher_no_better_than_the_control_is_warned_of(teacher, control):
    [warning] = _warnings(CLASSES, teacher, control)
    assert f"not better than student small without it: validation accuracy {teacher}" in warning


def test_where_lower_is_better_a_lower_teacher_is_better():
    task = task_of(CLASSES.data.head, LABELS, "cross_entropy")
    assert _warnings(task, 0.3, 0.4, student=0.35) == []
    assert len(_warnings(task, 0.4, 0.3, student=0.35)) == 1


def test_each_student_is_compared_with_its_own_control():
    controls = {"small": [0.7, 0.7], "large": [0.9, 0.9]}
    [warning] = teacher_warnings(
        CLASSES,
        teacher_validation=0.85,
        control_validation=controls,
        student_validation={},
        assistant_validation={},
        seeds=2,
    )
    assert "student large" in warning


def test_an_assistant_no_better_than_the_control_is_warned_of():
    [warning] = _warnings(CLASSES, 0.9, 0.8, assistants={"middle": 0.85, "low": 0.8})
    assert warning.startswith("Assistant low is not better than student small without it")


def test_one_seed_is_warned_of():
    [warning] = _warnings(CLASSES, 0.9, 0.8, seeds=1)
    assert "One seed shows nothing" in warning


class _Listener(Silence):
    def __init__(self) -> None:
        self.heard: list[str] = []

    def start(self, name: str, total: int) -> None:
        self.heard.append(f"start {name}")

    def say(self, message: str) -> None:
        self.heard.append(message)

    def warn(self, message: str) -> None:
        self.heard.append(f"warning: {message}")


def test_a_run_examines_its_teacher_before_it_teaches_and_reports_the_warnings(tmp_path: Path):
    torch.manual_seed(1)
    save_weights(MLP(64, [32], 10), tmp_path / "random.safetensors")
    weights = f'teacher.weights="{tmp_path / "random.safetensors"}"'
    listener = _Listener()
    report = limbeck.run(small(tmp_path, weights, "seeds=1"), tmp_path / "run", progress=listener)
    assert listener.heard[0].startswith("teacher.train has no effect: teacher.weights is given")
    assert listener.heard[1].startswith("teacher: validation accuracy 0.")
    assert listener.heard[2].startswith("warning: The teacher is at chance level")
    assert listener.heard[3] == "start targets"
    chance, worse, seed = report.warnings
    assert "at chance level" in chance
    assert "not better than student small" in worse
    assert "One seed" in seed
    assert report.teacher_validation == pytest.approx(report.models["teacher"].score.mean, abs=0.15)
    assert report.verdict.outcome == "not shown"


def test_that_unlabelled_samples_teach_nothing_is_said_before_and_reported(tmp_path: Path):
    listener, dkd = _Listener(), ("distil.method=dkd", "seeds=1")
    few = small(tmp_path, *dkd, "data.labelled=0.2")
    report = limbeck.run(few, tmp_path / "run", progress=listener)
    assert listener.heard[0].startswith("warning: Samples without a label teach nothing by method")
    assert "method dkd, which needs labels" in report.warnings[0]
    for quiet in (small(tmp_path, *dkd), small(tmp_path, "data.labelled=0.2", "seeds=1")):
        report = limbeck.run(quiet, tmp_path / "other")
        assert not any("teach nothing" in warning for warning in report.warnings)


def test_test_samples_that_were_trained_on_are_counted_and_warned_of():
    train = ArraySamples(torch.arange(5.0)[:, None], {"label": LABELS[:5]})
    test = ArraySamples(torch.tensor([[9.0], [3.0], [0.0], [7.0]]), {"label": LABELS[:4]})
    data = DataSet(train=train, validation=train, test=test, heads=CLASSES.data.heads)
    assert leaked_samples(data) == 2
    leaky = Task(data=data, metric=METRICS["accuracy"])
    assert any("2 of 4 test samples are training" in said for said in _warnings(leaky, 1.0, 0.9))
    assert _warnings(CLASSES, 1.0, 0.9) == []
