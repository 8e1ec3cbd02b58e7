"""The doctor looks at everyone between teacher and student."""

from limbeck.doctor import examine
from limbeck.recipe_file import load_recipe

FAST = ["seeds=2", "data.limit=150", "teacher.options={hidden = [16]}"]
CHAIN = ["assistants.middle={model = 'mlp', options = {hidden = [4]}}", "distil.generations=2"]


def look(*overrides):
    return examine(load_recipe("digits", [*FAST, *overrides]))


def table(found, title):
    (rows,) = [rows for name, _, rows in found.tables if name == title]
    return rows


def test_assistants_and_generations_are_among_the_models_and_stages():
    found = look(*CHAIN)
    assert found.faults == []
    sizes = {row[0]: row[2] for row in table(found, "Models")}
    # 64 * 4 + 4 and 4 * 10 + 10; the student has 16 units.
    assert sizes["assistant middle"] == "310"
    assert sizes["assistant generation-1"] == sizes["student small"] == "1,210"
    time = [(row[0], row[1], row[2]) for row in table(found, "Time (an estimate)")]
    assert time[:-3] == [
        ("teacher", "teacher", "120 steps"),  # 40 epochs of 3
        ("targets", "teacher", "150 samples"),
        ("targets", "assistant middle", "150 samples"),
        ("targets", "assistant generation-1", "150 samples"),
        ("assistant", "assistant middle", "180 steps"),  # 60 epochs of 3
        ("assistant", "assistant generation-1", "180 steps"),
    ]
    assert "One like it is kept for each of middle, generation-1." in found.notes


def test_an_assistant_of_other_batches_is_looked_at_with_those_that_the_teacher_answered():
    found = look(CHAIN[0].removesuffix("}") + ", train = {batch_size = 128, epochs = 2}}")
    assert found.faults == []
    assert ("assistant", "assistant middle", "4 steps") in [
        (row[0], row[1], row[2]) for row in table(found, "Time (an estimate)")
    ]


def test_an_assistant_that_does_not_fit_is_a_fault():
    found = look("assistants.middle={model = 'tests.pipeline.models:misfit'}")
    (fault,) = found.faults
    assert "assistant middle cannot be called" in fault
