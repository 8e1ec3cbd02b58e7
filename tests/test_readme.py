"""What the README says is so: its commands run, its files are there, its code works."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from limbeck import cli
from limbeck.recipe_file import parse_recipe

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```(\w*)\n(.*?)```", README, flags=re.DOTALL)
OF_MAKE = {"MAKEFLAGS", "MAKELEVEL", "MFLAGS"}
"""What `make test` tells a make within it: a user's shell has none."""
ENVIRONMENT = {name: value for name, value in os.environ.items() if name not in OF_MAKE} | {
    "OMP_NUM_THREADS": "1",
    "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    "COLUMNS": "100",
}


def commands() -> list[str]:
    """Every `$ command` of the README, in order."""
    return [
        line[2:]
        for language, block in BLOCKS
        if language == "console"
        for line in block.splitlines()
        if line.startswith("$ ")
    ]


def shell(command: str, folder: Path) -> str:
    done = subprocess.run(
        command,
        shell=True,
        cwd=folder,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_limbeck_commands_run_in_order(tmp_path, monkeypatch, capsys):
    """In one process, which imports torch once; from a shell, `make demo` below is."""
    monkeypatch.chdir(tmp_path)
    limbeck = [command for command in commands() if command.startswith("limbeck ")]
    assert len(limbeck) >= 6
    printed = {}
    for command in limbeck:
        monkeypatch.setattr(sys, "argv", shlex.split(command))
        with pytest.raises(SystemExit) as end:
            cli.main()
        printed[command] = capsys.readouterr().out
        assert end.value.code == 0, printed[command]
    assert "report: runs/smaller/report.html" in next(
        text for command, text in printed.items() if command.startswith("limbeck run")
    )
    assert (tmp_path / "runs/smaller/report.html").is_file()


def test_make_demo_ends_with_the_verdict_and_the_page():
    printed = shell("make demo", ROOT)
    assert "The teaching helped" in printed
    assert printed.rstrip().endswith("report: runs/digits/report.html")


@pytest.mark.parametrize("target", ["demo", "test", "check", "bench"])
def test_every_make_target_that_is_named_exists(target):
    assert f"make {target}" in README
    assert shell(f"make -n {target}", ROOT)


def test_the_python_code_prints_what_is_shown(tmp_path):
    (code,) = [block for language, block in BLOCKS if language == "python"]
    (tmp_path / "use.py").write_text(code, encoding="utf-8")
    printed = shell(f"{sys.executable} use.py", tmp_path)
    line = r"^accuracy (0\.\d+), as the teacher says: (\d+\.\d)%$"
    (shown,) = re.findall(line, README, flags=re.MULTILINE)
    (measured,) = re.findall(line, printed, flags=re.MULTILINE)
    assert [float(number) for number in measured] == pytest.approx(
        [float(number) for number in shown], rel=0.02
    )


def test_the_recipe_is_one():
    import tomllib

    (text,) = [block for language, block in BLOCKS if language == "toml"]
    recipe = parse_recipe(tomllib.loads(text))
    assert recipe.data.labelled == 0.1
    assert recipe.teacher.weights == "big.safetensors"


def test_every_linked_file_is_there():
    links = re.findall(r"\]\(([^)#]+)\)", README)
    assert links
    missing = [link for link in links if "://" not in link and not (ROOT / link).exists()]
    assert missing == []


def test_the_file_list_is_the_package():
    listed = set(re.findall(r"^limbeck/([\w.]+)/?\s", README, flags=re.MULTILINE))
    public = {
        path.name
        for path in (ROOT / "limbeck").iterdir()
        if not path.name.startswith(("_", ".")) and path.name != "py.typed"
    }
    assert listed == public
