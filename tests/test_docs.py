"""The reference pages say what the code says."""

import importlib.util
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[1] / "docs"


def pages():
    spec = importlib.util.spec_from_file_location("make_pages", DOCS / "make_pages.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.PAGES


@pytest.mark.parametrize("name", ["recipes.md", "data.md"])
def test_a_page_is_what_the_code_makes(name):
    made = pages()[name]()
    said = (DOCS / name).read_text(encoding="utf-8")
    assert said == made, "run `python docs/make_pages.py`"
