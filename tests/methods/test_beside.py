"""What stands beside a method is in recipes, and is found by what it is called."""

from pathlib import Path
from typing import get_args, get_origin

import pytest
from pydantic import BaseModel

from limbeck._errors import OptionError
from limbeck.methods import BESIDE, every_method, find_beside, find_method, name_here
from limbeck.recipe import Recipe

DOCS = Path(__file__).parents[2] / "docs"
NAMES = [(name, key) for key, one in BESIDE.items() for name in (key, *one.called, *one.keys)]


def section_of(kind):
    """The section that a field holds, or holds by name; None if it holds none."""
    if get_origin(kind) is None:
        return kind if isinstance(kind, type) and issubclass(kind, BaseModel) else None
    return next((found for part in get_args(kind) if (found := section_of(part))), None)


@pytest.mark.parametrize("path", [key for one in BESIDE.values() for key in one.keys])
def test_every_key_is_one_of_a_recipe(path):
    section = Recipe
    for word in path.split("."):
        if word != "NAME":
            assert word in section.model_fields, path
            section = section_of(section.model_fields[word].annotation) or section


@pytest.mark.parametrize(("name", "key"), NAMES)
def test_each_is_found_by_every_name_and_no_other_is_called_so(name, key):
    assert find_beside(name) is BESIDE[key]
    assert find_beside(name.upper().replace("_", "-")) is BESIDE[key] or "." in name
    assert [other for other, of in NAMES if of != key].count(name) == 0
    assert name not in every_method()


def test_what_is_no_name_is_not_found():
    assert find_beside("dkd") is None


def test_a_recipe_that_names_one_as_its_method_is_told_what_to_set():
    with pytest.raises(OptionError, match=r"byot is no method.*: set distil\.branches\. `limbeck"):
        find_method("byot")


@pytest.mark.parametrize("name", BESIDE)
def test_its_page_is_there_and_speaks_of_its_last_key(name):
    one = BESIDE[name]
    last = one.keys[0].removesuffix(".NAME").split(".")[-1]
    assert last in (DOCS / one.page).read_text(encoding="utf-8").partition("## Beside a method")[0]


CALLED = [(word, name) for name, one in every_method().items() for word in one.card.called]


@pytest.mark.parametrize(("word", "name"), CALLED)
def test_a_method_is_found_by_what_papers_call_it_and_no_other_is_called_so(word, name):
    assert name_here(word) == name_here(word.upper().replace("_", "-")) == name
    assert [other for other, _ in CALLED].count(word) == 1
    assert word not in every_method()
    assert find_beside(word) is None
    with pytest.raises(OptionError, match=f"^{word} is called {name} here"):
        find_method(word)


def test_what_no_method_is_called_is_none():
    assert name_here("byot") is None
    assert name_here("dkd") == "dkd"
