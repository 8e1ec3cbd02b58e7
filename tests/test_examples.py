"""Every example runs, is short, and shows what it says."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1"}


def printed(name: str, folder: Path, *arguments: str, data: Path | None = None) -> str:
    """What an example prints, run in a folder of its own."""
    environment = ENVIRONMENT | ({} if data is None else {"LIMBECK_DATA": str(data)})
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / f"{name}.py"), *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_python_api_goes_from_teacher_to_verdict(tmp_path):
    assert printed("python_api", tmp_path).startswith("The teaching helped: accuracy is ")


def test_a_loop_of_ones_own_learns_from_a_transfer_set(tmp_path):
    accuracy = re.search(r"student: (0\.\d+)", printed("own_loop", tmp_path))
    assert accuracy is not None
    assert float(accuracy[1]) > 0.9


def test_a_random_forest_teaches(tmp_path):
    scores = re.search(r"forest (0\.\d+), student (0\.\d+)", printed("any_callable", tmp_path))
    assert scores is not None
    assert float(scores[2]) > float(scores[1]) - 0.05


def test_keras_models_teach_and_learn(tmp_path, data_root):
    said = printed("keras_mnist", tmp_path, "4000", data=data_root)
    assert said.splitlines()[-1].startswith("The teaching helped: accuracy is ")


def test_transformers_trainer_learns_from_stored_rows_alone(tmp_path, data_root):
    said = printed("trainer", tmp_path, data=data_root)
    accuracy = re.search(r"student: (0\.\d+)", said)
    assert accuracy is not None
    assert (
        float(accuracy[1]) > 0.7
    )  # the commonest of the six classes is 0.28 of the test questions


def test_lightning_learns_from_stored_rows_alone(tmp_path):
    accuracy = re.search(r"student: (0\.\d+)", printed("lightning_loop", tmp_path))
    assert accuracy is not None
    assert float(accuracy[1]) > 0.9


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.py")), ids=lambda path: path.stem)
def test_an_example_is_under_40_lines_of_code(path):
    code = path.read_text(encoding="utf-8").split('"""', 2)[2]
    assert sum(bool(line.strip()) for line in code.splitlines()) < 40
