"""Break the code on purpose, one change at a time, and show that a test goes red for each.

    python tests/mutants.py                                      # every family, minutes
    python tests/mutants.py tests/losses/mutants/sequences.toml
    python tests/mutants.py --only _decoupled.py                 # of files with this in their name

A family is a file `tests/**/mutants/FAMILY.toml` of entries like this one:

    [[mutant]]
    file = "limbeck/losses/_x.py"
    old = "temperature**2 * "        # occurs exactly once in the file
    new = ""
    tests = ["tests/losses/test_x.py"]

The tests run in a copy of the tree, with `-x`. Before any change they must be green. Exits with 1
if a mutant survives, which says that a test is missing; with 2 if an entry is wrong.
"""

import argparse
import multiprocessing
import os
import re
import shutil
import sys
import tempfile
import tomllib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import pytest

REPOSITORY = Path(__file__).parents[1]
COPIED = ("limbeck", "tests", "pyproject.toml")
SECONDS = 600
"""After which a mutant that hangs counts as found."""


class WrongEntry(Exception):
    """An entry that can show nothing."""


@dataclass(frozen=True, kw_only=True)
class Mutant:
    """One change, and the tests of which one must go red."""

    file: str
    old: str
    new: str
    tests: tuple[str, ...]

    def __str__(self) -> str:
        old, new = (" ".join(text.split()) for text in (self.old, self.new))
        return f"{self.file}: {old!r} -> {new!r}"

    def applied(self, root: Path) -> str:
        """The text of its file under `root`, changed."""
        text = (root / self.file).read_text(encoding="utf-8")
        if text.count(self.old) != 1:
            raise WrongEntry(
                f"{self}: expected the old text once in the file, got it {text.count(self.old)} "
                "times. Write more of the line."
            )
        if self.new == self.old:
            raise WrongEntry(f"{self}: it changes nothing.")
        return text.replace(self.old, self.new)


def families(root: Path = REPOSITORY) -> list[Path]:
    """Every file of mutants."""
    return sorted((root / "tests").glob("**/mutants/*.toml"))


def read(path: Path) -> list[Mutant]:
    """The mutants of a family."""
    entries = tomllib.loads(path.read_text(encoding="utf-8"))["mutant"]
    return [Mutant(**{**entry, "tests": tuple(entry["tests"])}) for entry in entries]


def first_red(root: Path, tests: Iterable[str]) -> str | None:
    """The first test that fails under `root`, or None where all pass."""
    with tempfile.NamedTemporaryFile("r") as output:
        # A fork, for to import torch takes longer than most of these tests.
        child = multiprocessing.get_context("fork").Process(
            target=_run, args=(root, sorted(tests), output.name)
        )
        child.start()
        child.join(SECONDS)
        if child.exitcode is None:
            child.kill()
            child.join()
            return f"nothing ended within {SECONDS} s"
        said = output.read()
    if child.exitcode == 0:
        return None
    failed = re.search(r"^FAILED (\S+)", said, re.MULTILINE)
    if child.exitcode != 1 or failed is None:
        raise WrongEntry(f"the tests did not run:\n{said[-2000:]}")
    return failed[1]


def _run(root: Path, tests: list[str], output: str) -> NoReturn:
    """Run tests under `root` in a process of its own; its status is that of pytest."""
    with open(output, "w", encoding="utf-8") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
        os.chdir(root)
        sys.path.insert(0, str(root))
        sys.dont_write_bytecode = True  # two mutants of one second and size would be one
        status = pytest.main(["-x", "-q", "-p", "no:cacheprovider", *tests])
        sys.stdout.flush()
    os._exit(status)


def _import_what_is_slow() -> None:
    """Once, before the forks; nothing of the package, which each of them imports changed."""
    os.environ["OMP_NUM_THREADS"] = "1"
    import torch

    torch.testing.assert_close(torch.zeros(1), torch.zeros(1))


def survivors(mutants: Sequence[Mutant], root: Path = REPOSITORY) -> list[Mutant]:
    """Try each mutant in a copy of `root`, print what became of it, return those not found."""
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        copy = Path(folder)
        for name in COPIED:
            source = root / name
            if source.is_dir():
                shutil.copytree(source, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(source, copy / name)
        changed = [mutant.applied(copy) for mutant in mutants]  # a wrong entry is found at once
        _import_what_is_slow()
        red = first_red(copy, sorted({test for mutant in mutants for test in mutant.tests}))
        if red is not None:
            raise WrongEntry(f"red before any change: {red}.")
        survived = []
        for mutant, text in zip(mutants, changed, strict=True):
            path = copy / mutant.file
            before = path.read_text(encoding="utf-8")
            path.write_text(text, encoding="utf-8")
            try:
                red = first_red(copy, mutant.tests)
            except WrongEntry as error:
                raise WrongEntry(f"{mutant}: {error}") from error
            finally:
                path.write_text(before, encoding="utf-8")
            print(f"{'SURVIVED' if red is None else 'red'}  {mutant}", flush=True)
            if red is None:
                survived.append(mutant)
            else:
                print(f"     by {red}", flush=True)
    return survived


def main(arguments: Sequence[str] | None = None) -> int:
    """Try the mutants that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("families", nargs="*", type=Path, help="files of mutants; all if none")
    parser.add_argument("--only", default="", help="of mutants whose file has this in its name")
    parser.add_argument("--root", type=Path, default=REPOSITORY, help="the tree; this one if none")
    chosen = parser.parse_args(arguments)
    for path in chosen.families:
        if not path.is_file():
            parser.error(f"no such file: {path}. Name one of tests/*/mutants/*.toml.")
    mutants = [
        mutant
        for path in chosen.families or families(chosen.root)
        for mutant in read(path)
        if chosen.only in mutant.file
    ]
    if not mutants:
        print("no mutants: nothing was shown.", file=sys.stderr)
        return 2
    try:
        survived = survivors(mutants, chosen.root)
    except WrongEntry as error:
        print(error, file=sys.stderr)
        return 2
    print(f"{len(mutants) - len(survived)} of {len(mutants)} mutants were found")
    return 1 if survived else 0


if __name__ == "__main__":
    sys.exit(main())
