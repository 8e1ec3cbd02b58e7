"""The reference pages say what the code says, and README.md what was measured."""

import importlib.util
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[1] / "docs"


def pages():
    spec = importlib.util.spec_from_file_location("make_pages", DOCS / "make_pages.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.PAGES


@pytest.mark.parametrize(
    "name", ["docs/recipes.md", "docs/data.md", "docs/methods.md", "docs/targets.md", "README.md"]
)
def test_a_page_is_what_the_code_and_the_result_files_make(name):
    path = DOCS.parent / name
    assert path.read_text(encoding="utf-8") == pages()[path](), "run `python docs/make_pages.py`"
