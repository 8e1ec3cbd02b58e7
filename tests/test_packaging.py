"""What is installed: the metadata, the data files, the pins, and a command that starts at once."""

import ast
import importlib
import json
import pkgutil
import re
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import pytest

import limbeck
from tests.conftest import REPOSITORY

PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))
CORE = PROJECT["project"]["dependencies"]
EXTRAS = PROJECT["project"]["optional-dependencies"]
PACKAGE = REPOSITORY / "limbeck"
SHIPPED = {"digits", "digits-hurt", "mnist", "fashion-mnist", "trec6", "shakespeare", "housing"}
HEAVY = ("torch", "accelerate", "transformers", "keras", "datasets", "pandas")
HEAVY += ("sklearn", "scipy", "pyarrow", "plotly")
DISTRIBUTION = {"PIL": "pillow", "sklearn": "scikit-learn"}


def python(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, timeout=60, check=False
    )


def normal(requirement: str) -> str:
    """A requirement's distribution, in the one spelling of PEP 503."""
    name = re.match(r"[\w.-]+", requirement)
    assert name, requirement
    return re.sub(r"[-_.]+", "-", name[0]).lower()


def third_party(source: str, *, lazy: bool) -> set[str]:
    """The distributions that `source` imports; without `lazy`, outside functions only."""
    found = set()
    waiting: list[ast.AST] = [ast.parse(source)]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module.split(".")[0])
        if lazy or not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            waiting.extend(ast.iter_child_nodes(node))
    found -= sys.stdlib_module_names | {"limbeck"}
    return {normal(DISTRIBUTION.get(name, name)) for name in found}


def test_help_imports_no_heavy_library():
    shown = python(
        "-c",
        "import sys\n"
        "from limbeck.cli import main\n"
        "sys.argv = ['limbeck', '--help']\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        f"print('loaded:', [name for name in {HEAVY} if name in sys.modules])",
    )
    assert shown.returncode == 0, shown.stderr
    assert "doctor" in shown.stdout
    assert shown.stdout.rstrip().endswith("loaded: []")


def test_python_m_limbeck_is_the_command():
    shown = python("-m", "limbeck", "--help")
    assert shown.returncode == 0, shown.stderr
    assert set(re.findall(r"\w+", shown.stdout)) >= {
        "run",
        "doctor",
        "report",
        "recipes",
        "targets",
    }


def test_the_command_line_is_an_entry_point():
    (command,) = metadata.entry_points(group="console_scripts", name="limbeck")
    assert command.value == "limbeck.cli:main"
    assert callable(command.load())


def test_the_version_is_said_once():
    assert limbeck.__version__ == PROJECT["project"]["version"] == metadata.version("limbeck")
    assert f"## [{limbeck.__version__}]" in (REPOSITORY / "CHANGELOG.md").read_text(
        encoding="utf-8"
    )


PUBLIC = ["limbeck"] + [
    module.name for module in pkgutil.iter_modules(limbeck.__path__, "limbeck.") if module.ispkg
]


@pytest.mark.parametrize("name", PUBLIC)
def test_public_names_are_sorted_and_there(name):
    package = importlib.import_module(name)
    names = getattr(package, "__all__", [])

    def rank(public: str) -> tuple[int, str]:  # as ruff's RUF022 does: CONSTANTS, Classes, rest
        return (0 if public.isupper() else 1 if public[0].isupper() else 2, public)

    assert list(names) == sorted(names, key=rank)
    assert not [public for public in names if not hasattr(package, public)]


def test_the_package_says_what_is_public():
    assert {"TransferSet", "capture", "distil", "evaluate", "losses"} <= set(limbeck.__all__)


def test_every_data_file_is_installed():
    """Against the globs, without building a wheel."""
    globs = PROJECT["tool"]["setuptools"]["package-data"]["limbeck"]
    installed = {path for glob in globs for path in PACKAGE.glob(glob)}
    data = {
        path
        for path in PACKAGE.rglob("*")
        if path.is_file() and path.suffix != ".py" and "__pycache__" not in path.parts
    }
    assert PACKAGE / "py.typed" in data
    assert data == installed
    assert {path.stem for path in PACKAGE.glob("recipes/*.toml")} >= SHIPPED


def test_every_folder_with_modules_is_a_package():
    folders = {path.parent for path in PACKAGE.rglob("*.py")}
    assert not [folder for folder in folders if not (folder / "__init__.py").is_file()]


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: path.stem)
def test_every_import_is_a_declared_dependency(path):
    source = path.read_text(encoding="utf-8")
    core = {normal(requirement) for requirement in CORE}
    extras = {
        normal(requirement) for name in EXTRAS if name != "dev" for requirement in EXTRAS[name]
    }
    assert third_party(source, lazy=False) <= core
    assert third_party(source, lazy=True) <= core | extras


def test_every_dependency_is_pinned_and_no_pin_names_a_place():
    lines = (REPOSITORY / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = [line for line in lines if not line.startswith("#")]
    assert not [pin for pin in pins if not re.fullmatch(r"[\w.-]+==[\w.]+", pin)]
    assert "torch==2.13.0" in pins
    wanted = {normal(name) for group in (CORE, *EXTRAS.values()) for name in group} - {"limbeck"}
    assert wanted <= {normal(pin) for pin in pins}


def bar(**changes: object) -> dict[str, object]:
    return {"name": "b/a", "value": 1.02, "relation": "<=", "bar": 1.05} | changes


@pytest.mark.parametrize(
    ("bars", "status", "says"),
    [
        ([bar(), bar(relation=">=", bar=1.0)], 0, "Every bar holds."),
        ([bar(), bar(value=1.07)], 1, "loop: b/a: 1.07, not <= 1.05"),
        ([bar(value=None)], 1, "loop: b/a: None, not <= 1.05"),
    ],
)
def test_the_benchmarks_end_with_the_bars_that_do_not_hold(tmp_path: Path, bars, status, says):
    (tmp_path / "loop.json").write_text(json.dumps({"bars": bars}), encoding="utf-8")
    shown = python(str(REPOSITORY / "bench" / "_bars.py"), str(tmp_path))
    assert shown.stdout.strip() == says
    assert shown.returncode == status
