"""The mutants are of this code, and the script that tries them tells a survivor from a find."""

import os
import subprocess
import sys
from collections import Counter

import pytest

from tests.mutants import REPOSITORY, families, main, read

LOSSES = REPOSITORY / "limbeck" / "losses"
ENTRY = """
[[mutant]]
file = "limbeck/code.py"
old = '''{old}'''
new = '''{new}'''
tests = ["tests/test_code.py"]
"""


@pytest.fixture
def tree(tmp_path):
    """A small project of one function and one test."""
    (tmp_path / "limbeck").mkdir()
    (tmp_path / "tests" / "mutants").mkdir(parents=True)
    (tmp_path / "limbeck" / "__init__.py").touch()
    (tmp_path / "limbeck" / "code.py").write_text("def f(x):\n    return 2 * x + 0\n")
    (tmp_path / "tests" / "test_code.py").write_text(
        "from limbeck.code import f\n\n\ndef test_it_doubles():\n    assert f(3) == 6\n"
    )
    (tmp_path / "pyproject.toml").write_text("[tool.pytest.ini_options]\ntestpaths = ['tests']\n")

    def with_mutants(*changes):
        text = "".join(ENTRY.format(old=old, new=new) for old, new in changes)
        (tmp_path / "tests" / "mutants" / "code.toml").write_text(text)
        return tmp_path

    return with_mutants


def run(root, *arguments):
    """In a process of its own, which has not imported another `limbeck`."""
    script = REPOSITORY / "tests" / "mutants.py"
    command = [sys.executable, str(script), "--root", str(root), *arguments]
    bare = os.environ | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}  # none is needed, and all take time
    return subprocess.run(command, capture_output=True, text=True, env=bare)


@pytest.mark.parametrize("family", families(), ids=lambda path: path.stem)
def test_a_mutant_is_a_change_of_this_code(family):
    for mutant in read(family):
        compile(mutant.applied(REPOSITORY), str(mutant), "exec")
        assert mutant.tests
        for test in mutant.tests:
            assert (REPOSITORY / test.partition("::")[0]).exists(), mutant


def test_every_file_of_losses_is_broken_in_three_ways_or_more():
    counts = Counter(mutant.file for path in families() for mutant in read(path))
    files = [path.relative_to(REPOSITORY) for path in LOSSES.rglob("*.py")]
    few = [str(file) for file in files if counts[str(file)] < 3 and file.name != "__init__.py"]
    assert not few


def test_a_find_and_a_survivor_are_told_apart_and_the_tree_is_left_as_it_was(tree):
    root = tree(("+ 0", "- 0"), ("2 * x", "3 * x"), ("+ 0", "+ 1"))
    done = run(root)
    assert done.returncode == 1
    assert done.stdout == (
        "SURVIVED  limbeck/code.py: '+ 0' -> '- 0'\n"
        "red  limbeck/code.py: '2 * x' -> '3 * x'\n"
        "     by tests/test_code.py::test_it_doubles\n"
        "red  limbeck/code.py: '+ 0' -> '+ 1'\n"
        "     by tests/test_code.py::test_it_doubles\n"
        "2 of 3 mutants were found\n"
    )
    assert (root / "limbeck" / "code.py").read_text() == "def f(x):\n    return 2 * x + 0\n"


def test_where_each_is_found_it_ends_well(tree):
    done = run(tree(("2 * x", "3 * x")), "--only", "code.py")
    assert done.returncode == 0
    assert done.stdout.endswith("1 of 1 mutants were found\n")


def test_tests_that_do_not_run_or_are_red_before_show_nothing(tree):
    done = run(tree(("return 2", "return (2")))
    assert done.returncode == 2
    assert "the tests did not run" in done.stderr
    root = tree(("+ 0", "- 0"))
    (root / "limbeck" / "code.py").write_text("def f(x):\n    return 3 * x + 0\n")
    done = run(root)
    assert done.returncode == 2
    assert done.stderr == "red before any change: tests/test_code.py::test_it_doubles.\n"


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("nowhere", "", "expected the old text once in the file, got it 0 times"),
        ("x", "y", "expected the old text once in the file, got it 2 times"),
        ("2 * x", "2 * x", "it changes nothing"),
    ],
)
def test_an_entry_that_can_show_nothing_is_refused(tree, capsys, old, new, said):
    assert main(["--root", str(tree((old, new)))]) == 2
    assert said in capsys.readouterr().err


def test_no_mutants_are_no_success(tree, capsys):
    assert main(["--root", str(tree(("2 * x", "3 * x"))), "--only", "other.py"]) == 2
    assert capsys.readouterr().err == "no mutants: nothing was shown.\n"
