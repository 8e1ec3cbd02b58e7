"""`limbeck prove`: what it prints, the code it ends with, and that its page says the same."""

import os
import re
import subprocess
import sys

import pytest

from limbeck import cli
from tests.conftest import REPOSITORY, missing
from tests.proofs.test_prove import CAUGHT, run

PAGE = (REPOSITORY / "docs" / "prove.md").read_text(encoding="utf-8")
BROKEN = "tests.proofs.broken"


def limbeck(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    """The exit code, and everything printed."""
    code = cli.run_arguments(arguments)
    said = capsys.readouterr()
    assert "Traceback" not in said.out + said.err
    return code, said.out + said.err


def test_what_holds_ends_with_0(capsys):
    code, said = limbeck(capsys, "prove", "limbeck.losses:soft_targets", "--set", "temperature=2")
    assert code == 0, said
    assert "soft_targets(student, teacher, temperature=2.0): one value for each row." in said
    assert "at T = 2." in said
    assert "BREAKS" not in said
    assert said.endswith("Everything holds that should.\n")


def test_what_breaks_ends_with_1_and_code_that_runs(capsys):
    code, said = limbeck(capsys, "prove", f"{BROKEN}:no_t_squared")
    assert code == 1, said
    assert "BREAKS  T² is right" in said
    assert said.endswith("1 property breaks.\n")
    definition = said[said.index("import torch") : said.index("T² is right: ")]
    example = said[said.index("student = ") : said.rindex("1 property breaks.")]
    first, second = (float(row) for row in run(definition + example).splitlines())
    assert first / second == pytest.approx(4, rel=0.05)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere:loss"], "cannot import nowhere"),
        ([f"{BROKEN}:no_t_square"], "Did you mean no_t_squared"),
        ([f"{BROKEN}:swapped", "--set", "temperature"], "--set takes KEY=VALUE"),
        ([f"{BROKEN}:swapped", "--set", "temp=2"], "no option 'temp'"),
        ([f"{BROKEN}:swapped", "--space", "flat"], "space must be one of"),
        ([f"{BROKEN}:swapped", "--expect", "sideways"], "expect must be one of"),
        (["torch:matmul"], "raised RuntimeError"),
        ([], "Missing argument"),
    ],
)
def test_bad_input_ends_with_2_in_a_sentence(capsys, arguments, message):
    code, said = limbeck(capsys, "prove", *arguments)
    assert code == 2, said
    assert message in " ".join(said.split())


def test_markup_in_what_a_user_writes_is_shown_as_it_is(capsys, tmp_path, monkeypatch):
    (tmp_path / "marked_up.py").write_text(
        "def loss(student, teacher):\n    raise ValueError('[red]no[/red] [/nothing]')\n",
        encoding="utf-8",
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    code, said = limbeck(capsys, "prove", "marked_up:loss")
    assert code == 2
    assert "[red]no[/red] [/nothing]" in said


def test_the_order_and_the_direction_can_be_said(capsys):
    code, said = limbeck(
        capsys, "prove", "limbeck.losses:reverse_kl", "--student-first", "--expect", "forward"
    )
    assert code == 1
    assert "BREAKS  is the forward KL" in said


def test_kerass_own_default_is_caught(capsys):
    pytest.importorskip("keras")
    code, said = limbeck(
        capsys, "prove", "keras.distillation:LogitsDistillation", "--set", "temperature=4"
    )
    assert code == 1
    assert "LogitsDistillation(temperature=4).compute_loss(teacher, student)" in said
    for name in CAUGHT["keras_default"]:
        assert f"BREAKS  {name}" in said


def test_kerass_other_spelling_is_right_but_for_its_clip_where_the_caller_detaches(
    capsys, tmp_path, monkeypatch
):
    keras = pytest.importorskip("keras")
    if not hasattr(keras, "distillation"):
        missing("this Keras has no distillation")
    (tmp_path / "right_keras.py").write_text(
        "import keras\n"
        "loss = keras.losses.KLDivergence()\n"
        "def right(teacher, student, temperature=4.0):\n"
        "    kd = keras.distillation.LogitsDistillation(temperature=temperature, loss=loss)\n"
        "    return kd.compute_loss(teacher.detach(), student)\n",
        encoding="utf-8",
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    code, said = limbeck(capsys, "prove", "right_keras:right")
    assert code == 1, said
    assert "It is the forward KL divergence" in said
    assert re.findall(r"^BREAKS  (.*)$", said, re.MULTILINE) == [
        "pulls where both contradict each other"  # probabilities below 1e-7 are clipped
    ]


def test_the_page_shows_what_is_printed(tmp_path):
    (tmp_path / "my_losses.py").write_text(
        re.search(r"```python\n(.*?)```", PAGE, re.DOTALL)[1], encoding="utf-8"
    )
    shown = re.findall(r"```console\n\$ (limbeck .*?)\n(.*?)```", PAGE, re.DOTALL)
    assert len(shown) == 2
    for command, text in shown:
        done = subprocess.run(
            f"{sys.executable} -m {command}",
            shell=True,
            cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == (1 if "BREAKS" in text else 0), done.stderr
        assert done.stdout.strip() == text.strip()


def test_the_pages_python_runs(tmp_path):
    first, second = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    assert "Hinton's soft targets, at T = 2." in run(first + second)


def test_the_page_lists_what_breaks_of_each_wrong_loss():
    table = PAGE[PAGE.index("## Losses that are known to be wrong") :]
    rows = dict(re.findall(r"^\| `(\w+)`[^|]*\| (.*?) \|$", table, re.MULTILINE))
    assert {name: set(cell.split(", ")) for name, cell in rows.items()} == CAUGHT


def test_the_page_lists_every_property():
    table = PAGE[PAGE.index("## What is looked at") : PAGE.index("Some of it is a matter")]
    cells = re.findall(r"^\| ([^|]*?) \|", table, re.MULTILINE)[1:]
    listed = {name for cell in cells for name in cell.split(", ")}
    assert set().union(*CAUGHT.values()) <= listed
