"""The reference pages say what the code says, and README.md what was measured."""

import importlib
import inspect
import sys
from pathlib import Path

import pytest

from limbeck import losses

DOCS = Path(__file__).parents[1] / "docs"


def pages():
    if str(DOCS) not in sys.path:
        sys.path.insert(0, str(DOCS))
    return importlib.import_module("make_pages").PAGES


@pytest.mark.parametrize(
    "name",
    [
        "docs/recipes.md",
        "docs/data.md",
        "docs/methods.md",
        "docs/losses.md",
        "docs/targets.md",
        "docs/bars.md",
        "README.md",
    ],
)
def test_a_page_is_what_the_code_and_the_result_files_make(name):
    path = DOCS.parent / name
    assert path.read_text(encoding="utf-8") == pages()[path](), "run `python docs/make_pages.py`"


@pytest.mark.parametrize("module", [losses, losses.features])
def test_every_public_loss_has_a_line_of_its_own(module):
    lines = (DOCS / "losses.md").read_text(encoding="utf-8").splitlines()
    for name in module.__all__:
        (line,) = [line for line in lines if line.startswith(f"| `{name}` |")]
        assert inspect.getdoc(getattr(module, name)).splitlines()[0].replace("|", "\\|") in line
