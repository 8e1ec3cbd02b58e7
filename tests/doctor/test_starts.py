"""The doctor shows what students would begin with, and says what does not fit."""

from limbeck.doctor import examine
from limbeck.recipe_file import load_recipe

FAST = ["seeds=2", "data.limit=150", "teacher.options={hidden = [16, 16]}"]


def look(*overrides):
    return examine(load_recipe("digits", [*FAST, *overrides]))


def starts(found):
    return [rows for title, _, rows in found.tables if title == "Warm start"]


def test_what_fits_is_shown():
    found = look("students.small.start={how = 'layers', control = true}")
    # 64 * 16 + 16 and 16 * 10 + 10.
    told = "1,210 weights of its teacher; layers: 1, 5 of 1, 3, 5"
    assert starts(found) == [[["student small", "layers", told, "the same"]]]
    assert found.faults == []


def test_what_does_not_fit_is_a_fault():
    found = look("students.small.start={how = 'width'}")
    assert starts(found) == [
        [["student small", "width", "nothing: it does not fit", "random weights"]]
    ]
    (fault,) = found.faults
    assert "it has 2 layers with weights, and the teacher has 3" in fault


def test_without_it_nothing_is_shown():
    assert starts(look()) == []
