"""Imports point down only, and what the design forbids is nowhere in the sources.

Read from the source, so an import inside a function counts too.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "limbeck"
SOURCES = {path.relative_to(PACKAGE).as_posix(): path for path in PACKAGE.rglob("*.py")}
INSIDE = sorted(SOURCES.keys() - {"__init__.py"})  # the package's own face may import everything

FLOORS = [  # top to bottom; a module imports only from the floors below its own
    {"__main__"},
    {"cli"},
    {"pipeline", "doctor", "api"},
    {"train", "evaluation", "_chance"},
    {"targets", "tasks", "methods", "report", "verdict", "proofs", "_together"},
    {"teachers", "models", "_format", "_agreement"},
    {
        "losses",
        "metrics",
        "data",
        "results",
        "recipe_file",
        "recipe_combinations",
        "_checkpoint",
        "_outputs",
        "_mixture",
        "taps",
    },
    {
        "signals",
        "recipe",
        "_files",
        "_lookup",
        "_roles",
        "_values",
        "_state",
        "_shapes",
        "_progress",
        "_interrupt",
    },
    {"_validation", "_devices", "_splitmix"},
    {"_errors"},
]
DEPTH = {name: depth for depth, floor in enumerate(FLOORS) for name in floor}

WITHIN_TARGETS = ["importers", "asking", "reading", "encoding", "format", "codecs"]
"""Of the transfer set's folders, too, each imports from those after it only."""

SPEAKS = {"print", "exit", "quit", "sys.exit", "os._exit", "SystemExit"}
UNPICKLES = {"pickle", "_pickle", "cloudpickle", "dill", "joblib", "shelve"}


def imported(nodes: Iterator[ast.AST]) -> Iterator[str]:
    """Yield the dotted name of everything that these nodes import."""
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: write absolute imports"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def not_below(own: str, source: str) -> set[str]:
    """What `own`, a first name below limbeck, imports from the package but may not."""
    names = [name.split(".") for name in imported(ast.walk(ast.parse(source)))]
    others = {".".join(name[1:2]) for name in names if name[0] == "limbeck"}
    allowed = {own, "__version__"}
    return {other for other in others - allowed if DEPTH.get(other, -1) <= DEPTH[own]}


def calls(source: str) -> set[str]:
    """The names of everything that is called or raised."""
    nodes = list(ast.walk(ast.parse(source)))
    called = {ast.unparse(node.func) for node in nodes if isinstance(node, ast.Call)}
    raised = {ast.unparse(node.exc) for node in nodes if isinstance(node, ast.Raise) and node.exc}
    return called | raised


def unpickles(source: str) -> set[str]:
    """The ways in which `source` could load a pickle."""
    tree = ast.parse(source)
    imports = {name.split(".")[0] for name in imported(ast.walk(tree))} & UNPICKLES
    options = {
        "allow_pickle"
        for node in ast.walk(tree)
        if isinstance(node, ast.keyword)
        and node.arg == "allow_pickle"
        and not (isinstance(node.value, ast.Constant) and node.value.value is False)
    }
    return imports | options | (calls(source) & {"torch.load"})


def outside_functions(node: ast.AST) -> Iterator[ast.AST]:
    """Walk what runs when the module is imported."""
    yield node
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            yield from outside_functions(child)


@pytest.mark.parametrize("name", INSIDE)
def test_imports_point_down(name):
    own = name.removesuffix(".py").split("/")[0]
    assert own in DEPTH, f"limbeck/{own} has no floor: give it one"
    refused = not_below(own, SOURCES[name].read_text(encoding="utf-8"))
    assert not refused, f"limbeck/{name} may not import {sorted(refused)} from limbeck"


@pytest.mark.parametrize(
    "name", [name for name in INSIDE if name.count("/") > 1 and name.startswith("targets/")]
)
def test_imports_within_the_transfer_set_point_down(name):
    own = name.split("/")[1]
    nodes = ast.walk(ast.parse(SOURCES[name].read_text(encoding="utf-8")))
    others = {
        part[2]
        for part in (each.split(".") for each in imported(nodes))
        if part[1:2] == ["targets"]
    }
    above = WITHIN_TARGETS[: WITHIN_TARGETS.index(own)]
    assert not others & set(above), f"limbeck/{name} may not import {sorted(others & set(above))}"


@pytest.mark.parametrize("name", sorted(SOURCES))
def test_only_the_command_line_prints_or_exits(name):
    if not name.startswith("cli/"):
        assert not calls(SOURCES[name].read_text(encoding="utf-8")) & SPEAKS


@pytest.mark.parametrize("name", sorted(SOURCES))
def test_no_pickle_is_ever_loaded(name):
    assert not unpickles(SOURCES[name].read_text(encoding="utf-8"))


def test_the_command_line_imports_torch_only_inside_functions():
    sources = [path.read_text(encoding="utf-8") for name, path in SOURCES.items() if "cli/" in name]
    nodes = [node for source in sources for node in outside_functions(ast.parse(source))]
    first = {name.split(".")[0] for name in imported(iter(nodes))}
    assert "typer" in first
    assert "torch" not in first


@pytest.mark.parametrize(
    ("own", "line", "refused"),
    [
        ("losses", "from limbeck.train import fit", {"train"}),
        ("losses", "def f():\n from limbeck.metrics import accuracy", {"metrics"}),
        ("losses", "from limbeck import methods", {"methods"}),
        ("losses", "from limbeck import capture", {"capture"}),
        ("losses", "import limbeck", {""}),
        ("losses", "import limbeck.cli as c", {"cli"}),
        ("losses", "from limbeck.losses._kl import kl\nfrom limbeck.signals import Dense", set()),
        ("cli", "from limbeck import __version__\nfrom limbeck.pipeline import run", set()),
    ],
)
def test_an_import_that_does_not_point_down_is_found(own, line, refused):
    assert not_below(own, line) == refused


@pytest.mark.parametrize(
    "line",
    [
        "import pickle",
        "from joblib import load",
        "def f(p):\n return torch.load(p)",
        "np.load(path, allow_pickle=True)",
        "np.load(path, allow_pickle=flag)",
    ],
)
def test_a_way_to_load_a_pickle_is_found(line):
    assert unpickles(line)
    assert not unpickles("np.load(path, allow_pickle=False)")


@pytest.mark.parametrize("line", ["print(1)", "sys.exit(2)", "raise SystemExit", "exit()"])
def test_a_line_that_prints_or_exits_is_found(line):
    assert calls(line) & SPEAKS


def test_only_what_runs_at_import_counts_as_outside_functions():
    source = "import a\nif x:\n import b\ndef f():\n import c\nclass D:\n def g(self):\n  import d"
    assert set(imported(outside_functions(ast.parse(source)))) == {"a", "b"}
