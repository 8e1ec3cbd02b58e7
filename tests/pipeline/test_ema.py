"""A student of a recipe that learns from a moving average of itself."""

import json

import pytest

import limbeck
from limbeck._errors import OptionError
from limbeck.doctor import examine
from limbeck.methods import objective_of
from limbeck.results import read_results
from tests.pipeline.examples import small, weights
from tests.train.problem import LABEL

SHORT = ("seeds=1", "teacher.train.epochs=1", "train.epochs=1")
EMA = (*SHORT, "distil.ema={decay = 0.9, weight = 2.0}")
LABELS = ("distil.soft_weight=0", "distil.hard_weight=1", "data.labelled=0.3")


def test_a_student_learns_from_labels_and_its_average_and_pays_a_pass_for_that(tmp_path):
    report = limbeck.run(small(tmp_path, *EMA, *LABELS), tmp_path / "run")
    done = {
        name: json.loads((tmp_path / "run" / "stages" / f"{name}-0.json").read_text("utf-8"))
        for name in ("control", "distil")
    }
    terms = {name: set(one["facts"]["histories"]["small"]["terms"]) for name, one in done.items()}
    assert terms == {"control": {"hard"}, "distil": {"hard", "ema"}}
    assert 3 * done["distil"]["flops"] == 4 * done["control"]["flops"] > 0
    made = weights(tmp_path / "run")
    assert set(made["distil/seed-0/small.safetensors"]) == set(
        made["control/seed-0/small.safetensors"]
    )
    assert read_results(tmp_path / "run")[0] == report


def test_what_was_made_without_it_stays_and_with_it_is_done_anew(tmp_path, written):
    limbeck.run(small(tmp_path, *SHORT), tmp_path / "run")
    written.clear()
    limbeck.run(small(tmp_path, *EMA), tmp_path / "run")
    assert set(written) == {"distil-0", "evaluate"}


def test_somebody_who_knows_must_teach_too(tmp_path):
    with pytest.raises(OptionError, match="nothing to learn but what they say themselves"):
        objective_of(small(tmp_path, *EMA, "distil.soft_weight=0"), [LABEL])


def test_doctor_says_that_it_begins_as_the_student_itself(tmp_path):
    found = examine(small(tmp_path, *EMA))
    assert found.faults == []
    (rows,) = [rows for title, _, rows in found.tables if title == "Loss terms"]
    (row,) = [row for row in rows if row[1] == "ema"]
    assert row[0] == "student small"
    assert row[2] == "2"
    assert float(row[3]) == pytest.approx(0.0, abs=1e-6)
    assert any("is the student itself before it learns" in note for note in found.notes)
