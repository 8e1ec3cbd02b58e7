"""A result file says what was run, and nothing of the machine's folders."""

import json
import sys

import _results
import pytest


@pytest.mark.parametrize(
    ("given", "command"),
    [
        (["--rounds", "3"], "python bench/x.py --rounds 3"),
        (["--out", "/somewhere/else", "kd"], "python bench/x.py kd"),
    ],
)
def test_the_command_is_written_without_its_folder(given, command, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["bench/x.py", *given])
    monkeypatch.setattr(_results, "RESULTS", tmp_path)
    _results.write("x", [], [])
    assert json.loads((tmp_path / "x.json").read_text())["command"] == command
