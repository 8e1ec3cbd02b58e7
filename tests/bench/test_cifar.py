"""The benchmark on CIFAR, small, on a CPU: every method learns from its own view's rows."""

import sys
from importlib import import_module
from pathlib import Path

import pytest

BENCH = Path(__file__).parents[2] / "bench"


def test_every_method_is_measured_and_nothing_is_written(
    data_root, tmp_path, monkeypatch: pytest.MonkeyPatch, capsys
):
    monkeypatch.setenv("LIMBECK_DATA", str(data_root))
    monkeypatch.syspath_prepend(str(BENCH))
    for name in ("cifar", "_cifar", "_results", "_side_by_side"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    script = import_module("cifar")
    monkeypatch.setattr(sys, "argv", ["cifar.py", "--small", "--out", str(tmp_path)])
    monkeypatch.setattr(script, "write", lambda *given: pytest.fail("a result file was written"))
    script.main()
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[:-1]] == list(script.METHODS)
    assert lines[-1].startswith("not all of it")
