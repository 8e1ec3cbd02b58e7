import json
import math

import pytest
from pydantic import ValidationError

from limbeck._errors import DataError
from limbeck.results import (
    Details,
    Fidelity,
    Ledger,
    Measured,
    Metric,
    Report,
    Score,
    Stage,
    Verdict,
    machine,
    read_results,
    versions,
    write_results,
)


def make(**changes):
    measured = Measured(
        score=Score(mean=0.9, std=None, values=[0.9]),
        parameters=1,
        bytes=4,
        flops_per_example=2,
        latency_ms=None,
    )
    said = {
        "limbeck": "0.1.0",
        "recipe": {"name": "x"},
        "machine": machine(),
        "versions": versions(),
        "metric": Metric(name="accuracy", higher_is_better=True),
        "data": {"train": 1, "validation": 1, "test": 1, "labelled": 1},
        "models": {"teacher": measured, "control": measured, "student": measured},
        "fidelity": Fidelity(agreement=1.0, agreement_when_teacher_wrong=None, kl=0.0, ece=None),
        "verdict": Verdict(
            outcome="helped", gain=0.1, ci95=(0.05, 0.15), gap_closed=None, seeds=2, sentence="é"
        ),
        "targets": None,
        "ledger": Ledger(
            stages=[Stage(name="teach", seconds=1.5, flops=None)], break_even_predictions=None
        ),
    }
    return Report(**said | changes)


def test_both_files_are_read_back_as_they_were_written(tmp_path):
    write_results(tmp_path, make(), Details())
    assert read_results(tmp_path) == (make(), Details())


def test_the_report_has_the_fields_of_format_1(tmp_path):
    write_results(tmp_path, make(), Details())
    said = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    assert said["format"] == 1
    promised = {
        "format", "limbeck", "recipe", "machine", "versions", "metric", "data", "models",
        "fidelity", "verdict", "targets", "ledger",
    }  # fmt: skip
    assert promised <= set(said)
    assert set(said["models"]) == {"teacher", "control", "student"}
    assert said["verdict"]["ci95"] == [0.05, 0.15]
    assert said["targets"] is None


def test_a_field_that_is_not_declared_is_refused():
    with pytest.raises(ValidationError, match="Extra inputs are not permitted"):
        Metric(name="accuracy", higher_is_better=True, colour="red")


def test_a_missing_file_says_how_to_make_it(tmp_path):
    with pytest.raises(DataError) as error:
        read_results(tmp_path)
    assert str(error.value) == (
        f"no result file {tmp_path / 'report.json'}. Run `limbeck run RECIPE --out {tmp_path}` "
        "first."
    )
    (tmp_path / "mine.toml").write_text("")
    with pytest.raises(DataError, match=r"mine\.toml is a file\. Name the folder of a run\."):
        read_results(tmp_path / "mine.toml")


@pytest.mark.parametrize("content", [b"{", b"\xff\xff", b"9" * 6000, b"[" * 100_000])
def test_a_file_that_is_not_json_is_refused(tmp_path, content):
    (tmp_path / "report.json").write_bytes(content)
    with pytest.raises(DataError, match=r"report\.json is not JSON: .*\. Run the recipe again\."):
        read_results(tmp_path)


def test_a_file_of_another_format_is_refused(tmp_path):
    write_results(tmp_path, make(), Details())
    path = tmp_path / "report.json"
    said = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(said | {"format": 2}), encoding="utf-8")
    with pytest.raises(DataError) as error:
        read_results(tmp_path)
    assert str(error.value) == (
        f"{path} is no result file of format 1: format: Input should be 1. Run the recipe again."
    )


def test_a_number_that_is_not_finite_is_never_written(tmp_path):
    bad = make(teacher_validation=math.nan)
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_results(tmp_path, bad, Details())
    assert not (tmp_path / "report.json").exists()


def test_the_machine_and_versions_are_named():
    assert machine()["cores"] >= 1
    assert machine()["memory_gib"] > 0
    assert machine()["processor"]
    assert {"python", "torch", "numpy", "accelerate", "pyarrow"} <= set(versions())
