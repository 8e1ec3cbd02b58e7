"""A recipe that runs in a second, and what a run of it leaves."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import safetensors.torch
from torch import Tensor

from limbeck._progress import Silence
from limbeck.recipe import Recipe
from limbeck.recipe_file import load_recipe

REPOSITORY = Path(__file__).parents[2]

SMALL = """
name = "small"
seeds = 2

[data]
source = "digits"
limit = 600

[teacher]
model = "mlp"
options = { hidden = [32] }

[teacher.train]
epochs = 4
batch_size = 64
learning_rate = 1e-2

[students.small]
model = "mlp"
options = { hidden = [8] }

[train]
epochs = 3
batch_size = 64
learning_rate = 1e-2
"""


def small_file(folder: Path) -> str:
    """The small recipe's file, made below `folder`."""
    path = folder / "small.toml"
    path.write_text(SMALL, encoding="utf-8")
    return str(path)


def small(folder: Path, *overrides: str) -> Recipe:
    """The small recipe with `section.key=value` overrides; its file lies below `folder`."""
    return load_recipe(small_file(folder), overrides)


def weights(folder: Path) -> dict[str, dict[str, Tensor]]:
    """Every model that the run in `folder` made, by its file below it."""
    return {
        str(path.relative_to(folder)): safetensors.torch.load_file(path)
        for stage in ("teacher", "control", "distil", "students")
        for path in sorted((folder / stage).rglob("*.safetensors"))
    }


def equal(one: dict[str, dict[str, Tensor]], other: dict[str, dict[str, Tensor]]) -> bool:
    """Whether two runs made the same models, bit for bit."""
    return one.keys() == other.keys() and all(
        models.keys() == other[file].keys()
        and all(tensor.equal(other[file][name]) for name, tensor in models.items())
        for file, models in one.items()
    )


def python(*arguments: str, cwd: Path, **environment: str) -> "subprocess.Popen[str]":
    """A Python process on one thread that can import the package, started in `cwd`."""
    path = os.pathsep.join([str(REPOSITORY), os.environ.get("PYTHONPATH", "")])
    return subprocess.Popen(
        [sys.executable, *arguments],
        cwd=cwd,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": path, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


class StopsIn(Silence):
    """Presses Ctrl-C in the training of that title."""

    def __init__(self, title):
        self._title = title

    def start(self, name, total):
        self._here = name == self._title

    def advance(self, steps, **numbers):
        if self._here and numbers:
            os.kill(os.getpid(), signal.SIGINT)
