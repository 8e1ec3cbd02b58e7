"""Killed anywhere, a run goes on where it stopped, and ends with the same weights."""

import os
import signal
import time
from pathlib import Path

import pytest

import limbeck
from limbeck._errors import Interrupted, StorageError
from limbeck._progress import Silence
from tests.pipeline.examples import equal, python, small, small_file, weights

# Keeps the state after every step, and kills itself once the named pass has taken a few.
_KILLED = """
import os, signal, sys
import limbeck
from limbeck.train import _resume

_resume.CHECKPOINT_SECONDS = 0.0
keep, kept = _resume.save_checkpoint, []

def keep_or_die(path, state):
    keep(path, state)
    if path.name.startswith(sys.argv[2]):
        kept.append(state["position"])
    if len(kept) == 15:
        assert (kept[-1]["epoch"], kept[-1]["step"]) != (0, 0)
        os.kill(os.getpid(), signal.SIGKILL)

_resume.save_checkpoint = keep_or_die
limbeck.run(limbeck.load_recipe(sys.argv[1]), "run")
"""


def test_killed_in_the_middle_of_any_training_a_run_ends_with_the_same_weights(finished, tmp_path):
    recipe = small_file(tmp_path)
    for stage in ("teacher", "distil-1"):
        process = python("-c", _KILLED, recipe, stage, cwd=tmp_path)
        said, _ = process.communicate(timeout=240)
        assert process.returncode == -signal.SIGKILL, said
        kept = [path.name for path in (tmp_path / "run" / "stages").glob("*.checkpoint.*")]
        assert [name.partition(".")[0] for name in kept] == [stage]
    went_on = _Listener()
    limbeck.run(small(tmp_path), tmp_path / "run", progress=went_on)
    # Of 3 epochs of 10 steps; one of the 15 times was the end of the first epoch.
    assert went_on.advanced == {"training student small, 2 of 2": [14, 30]}
    assert equal(weights(tmp_path / "run"), weights(finished))
    assert not list((tmp_path / "run").rglob("*.checkpoint.*"))


class _Listener(Silence):
    """Remembers how far each training had come, at first and in the end."""

    def __init__(self) -> None:
        self.advanced: dict[str, list[int]] = {}

    def start(self, name: str, total: int) -> None:
        self._now = [] if not name.startswith("training") else self.advanced.setdefault(name, [])

    def advance(self, steps: int, **numbers: float) -> None:
        self._now[:] = [*self._now[:1], sum(self._now[-1:]) + steps]


class _StopsIn(Silence):
    """Presses Ctrl-C during the numbered training: 0 the teacher, 1 the first control, ..."""

    def __init__(self, number: int) -> None:
        self._left = number + 1

    def start(self, name: str, total: int) -> None:
        self._left -= name.startswith("training")

    def advance(self, steps: int, **numbers: float) -> None:
        if self._left == 0 and numbers:
            os.kill(os.getpid(), signal.SIGINT)


@pytest.mark.parametrize("number", range(5))
def test_ctrl_c_keeps_what_was_reached(finished, tmp_path, number):
    recipe = small(tmp_path)
    with pytest.raises(Interrupted, match="kept: run the same command again"):
        limbeck.run(recipe, tmp_path / "run", progress=_StopsIn(number))
    assert len(list((tmp_path / "run" / "stages").glob("*.checkpoint.*"))) == 1
    limbeck.run(recipe, tmp_path / "run")
    assert equal(weights(tmp_path / "run"), weights(finished))


def test_a_stopped_training_is_not_gone_on_with_under_another_teacher(tmp_path):
    hotter = small(tmp_path, "targets.temperature=9", "seeds=1")
    with pytest.raises(Interrupted):
        limbeck.run(small(tmp_path, "seeds=1"), tmp_path / "run", progress=_StopsIn(2))
    limbeck.run(hotter, tmp_path / "run")
    limbeck.run(hotter, tmp_path / "fresh")
    assert equal(weights(tmp_path / "run"), weights(tmp_path / "fresh"))
    assert not list((tmp_path / "run").rglob("*.checkpoint.*"))


def test_the_command_line_says_what_ctrl_c_keeps_and_ends_with_130(tmp_path):
    recipe = ["--set", "seeds=1", "--set", "train.epochs=150"]
    process = python(
        "-m", "limbeck", "run", small_file(tmp_path), *recipe, "--out", "run", cwd=tmp_path
    )
    _wait_for(tmp_path / "run" / "stages" / "targets.json")
    process.send_signal(signal.SIGINT)
    said, _ = process.communicate(timeout=240)
    assert process.returncode == 130, said
    # In a training, or between two stages.
    assert "What was reached is kept: run" in said or "goes on from what it kept" in said
    assert "Traceback" not in said
    changed = small(tmp_path, "seeds=1", "train.epochs=150")
    assert not (tmp_path / "run" / "report.json").exists()
    limbeck.run(changed, tmp_path / "run")
    limbeck.run(changed, tmp_path / "whole")
    assert equal(weights(tmp_path / "run"), weights(tmp_path / "whole"))


def _wait_for(path: Path) -> None:
    until = time.monotonic() + 240
    while not path.exists():
        assert time.monotonic() < until, f"{path} did not come"
        time.sleep(0.01)


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_after_a_full_disk_the_next_run_completes(finished, tmp_path, monkeypatch, call):
    recipe, calls = small(tmp_path), []
    allowed = {"fsync": os.fsync, "replace": Path.replace}[call]

    def fail(*arguments):
        calls.append(arguments)
        if len(calls) > 6:
            raise OSError(28, "No space left on device")
        return allowed(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(*{"fsync": (os, "fsync"), "replace": (Path, "replace")}[call], fail)
        with pytest.raises(StorageError, match=r"no room left.*run the same command again"):
            limbeck.run(recipe, tmp_path / "run")
    assert not list((tmp_path / "run").rglob("*.part"))
    limbeck.run(recipe, tmp_path / "run")
    assert equal(weights(tmp_path / "run"), weights(finished))
