"""Numbers, rows per token and yes-or-no classes run as classes do; what does not apply is null."""

import csv
import json
import math

import pytest
import torch

import limbeck
from limbeck.recipe_file import parse_recipe

TEXT = "the quick brown fox jumps over the lazy dog; " * 60


def _recipe(**sections):
    train = {"epochs": 3, "batch_size": 32, "learning_rate": 0.01}
    model = {"model": "mlp", "options": {"hidden": [8]}}
    return parse_recipe(
        {
            "name": "any",
            "seeds": 2,
            "teacher": {**model, "train": {**train, "epochs": 40}},
            "students": {"small": model},
            "train": train,
            **sections,
        }
    )


@pytest.fixture
def numbers(tmp_path):
    """A CSV whose target is 2 a - 3 b."""
    generator = torch.Generator().manual_seed(3)
    with (tmp_path / "numbers.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["a", "b", "target"])
        for a, b in torch.randn(200, 2, generator=generator).tolist():
            writer.writerow([a, b, 2 * a - 3 * b])
    return {
        "source": "table",
        "path": str(tmp_path / "numbers.csv"),
        "options": {"target": "target"},
    }


def test_a_regression_ends_in_a_report(numbers, tmp_path):
    report = limbeck.run(_recipe(data=numbers), tmp_path / "run")
    said = json.loads((tmp_path / "run" / "report.json").read_text())
    assert said["metric"] == {"name": "rmse", "higher_is_better": False}
    assert said["fidelity"] == {
        "agreement": None,
        "agreement_when_teacher_wrong": None,
        "kl": None,
        "ece": None,
        "control_agreement": None,
    }
    assert said["targets"]["kl_to_teacher"] is None
    assert said["targets"]["agreement_with_teacher"] is None
    assert report.models["teacher"].score.mean < 1.8  # half the standard deviation of the target
    details = json.loads((tmp_path / "run" / "details.json").read_text())
    assert details["per_class"] is None
    assert details["reliability"] == {}
    assert details["disagreements"] == []
    assert len(details["curves"]) == 5


def test_a_students_gain_in_a_regression_is_positive_where_its_error_is_smaller(numbers, tmp_path):
    report = limbeck.run(_recipe(data=numbers), tmp_path / "run")
    control, student = (report.models[role].score.mean for role in ("control", "student"))
    assert report.verdict.gain == pytest.approx(control - student)


def _text(tmp_path, **options):
    (tmp_path / "text.txt").write_text(TEXT)
    path = str(tmp_path / "text.txt")
    return {"source": "characters", "path": path, "options": {"length": 16}, **options}


def test_rows_per_token_end_in_a_report_of_rows(tmp_path):
    own = {"model": "tests.pipeline.models:successors", "options": {"characters": len(set(TEXT))}}
    train = {"epochs": 12, "batch_size": 16, "learning_rate": 0.05}
    recipe = _recipe(
        data=_text(tmp_path, metric="cross_entropy"),
        teacher={**own, "train": train},
        students={"table": own},
        train=train,
    )
    report = limbeck.run(recipe, tmp_path / "run")
    assert report.metric.name == "cross_entropy"
    assert report.models["teacher"].score.mean < 0.6 * math.log(len(set(TEXT)))
    assert report.targets is not None
    # 1944 training characters make 121 windows of 16; the text repeats, and so do windows.
    assert report.targets.rows % 16 == 0
    assert 0 < report.targets.rows <= 121 * 16
    assert report.fidelity.agreement is not None
    details = json.loads((tmp_path / "run" / "details.json").read_text())
    assert details["per_class"]["classes"] == sorted(set(TEXT))
    assert sum(details["per_class"]["rows"]) % 16 == 0
    assert details["disagreements"] == []


def test_a_transformer_learns_from_tokens(tmp_path):
    options = {"n_embd": 8, "n_layer": 1, "n_head": 1, "n_positions": 16}
    small = {"model": "transformers:GPT2LMHeadModel", "options": options}
    train = {"epochs": 1, "batch_size": 32, "learning_rate": 0.01}
    recipe = _recipe(
        data=_text(tmp_path),
        teacher={**small, "train": train},
        students={"small": small},
        train=train,
        seeds=1,
    )
    report = limbeck.run(recipe, tmp_path / "run")
    assert report.metric.name == "accuracy"
    loaded = limbeck.load(tmp_path / "run" / "students" / "small")
    said = loaded(input_ids=torch.zeros(1, 16, dtype=torch.long)).logits
    assert said.shape == (1, 16, len(set(TEXT)))


def test_yes_or_no_classes_end_in_a_report(tmp_path):
    recipe = _recipe(data={"source": "tests.pipeline.models:two_signs"})
    report = limbeck.run(recipe, tmp_path / "run")
    assert report.metric.name == "exact_match"
    assert report.targets is not None
    assert report.fidelity.kl is None
    assert report.models["teacher"].score.mean > 0.75  # one in four by chance
