"""The benchmark of all methods, small: each of its tables has its own students and controls."""

import sys
from importlib import import_module
from pathlib import Path

import pytest

BENCH = Path(__file__).parents[2] / "bench"
ASKED = ["soft_targets", "simkd", "minilm"]


@pytest.fixture
def script(data_root, monkeypatch):
    monkeypatch.setenv("LIMBECK_DATA", str(data_root))
    monkeypatch.syspath_prepend(str(BENCH))
    for name in ("methods", "_results", "_reused", "_side_by_side"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    return import_module("methods")


def test_what_is_asked_for_is_measured_and_no_result_file_is_written(
    script, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(sys, "argv", ["methods.py", "--quick", "--out", str(tmp_path), *ASKED])
    monkeypatch.setattr(script, "write", lambda *given: pytest.fail("a result file was written"))
    script.main()
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[:-1]] == ASKED
    assert lines[-1].startswith("not all of it")


def test_taps_are_the_students_and_the_teachers(script):
    said = script.taps(["both", ("ours", "theirs")])
    assert said == (
        'distil.taps=[{student = "both", teacher = "both"}, {student = "ours", teacher = "theirs"}]'
    )
