"""Students that begin with their teacher's weights, their controls, and what is done again."""

import pytest

import limbeck
from limbeck._errors import ModelError
from limbeck.results import read_results
from tests.pipeline.examples import small, weights

WARM = ("seeds=1", "students.small.start={how = 'width'}")
STILL = "train.learning_rate=1e-9"
"""At such a learning rate what is saved is what they began with."""


@pytest.fixture
def run(tmp_path, written):
    """Run the small recipe, changed; the stages that were done."""

    def again(*overrides):
        written.clear()
        limbeck.run(small(tmp_path, *WARM, *overrides), tmp_path / "out")
        return set(written)

    return again


def is_teachers(state, teacher):
    """Whether every hidden unit is one of the teacher's, with the same weights."""
    rows = teacher["layers.1.weight"]
    near = (state["layers.1.weight"][:, None] - rows[None]).abs().amax(-1) < 1e-6
    return bool(near.any(1).all())


def test_the_student_begins_with_its_teachers_units_and_the_control_if_it_is_told_to(run, tmp_path):
    run(STILL)
    made = weights(tmp_path / "out")
    teacher = made["teacher/teacher.safetensors"]
    assert is_teachers(made["distil/seed-0/small.safetensors"], teacher)
    assert not is_teachers(made["control/seed-0/small.safetensors"], teacher)
    report, _ = read_results(tmp_path / "out")
    # 64 * 8 + 8 and 8 * 10 + 10.
    told = "610 weights of its teacher; layers.1: 8 of 32 units"
    assert report.students["small"].begins == told
    assert report.students["small"].control_begins == ""
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert "The student began with 610 weights of its teacher" in page
    assert "the same initial weights" not in page

    assert run(STILL, "students.small.start.control=true") == {"control-0", "evaluate"}
    made = weights(tmp_path / "out")
    assert is_teachers(made["control/seed-0/small.safetensors"], teacher)
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert "the same initial weights, the same number of steps" in " ".join(page.split())
    assert "answers were worth" in page


def test_another_teacher_or_way_to_begin_trains_the_students_again_and_not_their_controls(run):
    run()
    assert run() == set()
    cold = run("students.small={model = 'mlp', options = {hidden = [8]}}")
    assert cold == {"distil-0", "evaluate"}
    assert run("teacher.seed=1") == {"teacher", "targets", "distil-0", "evaluate"}
    both = "students.small.start.control=true"
    assert run("teacher.seed=1", both) == {"control-0", "evaluate"}
    assert run("teacher.seed=2", both) == {
        "teacher",
        "targets",
        "control-0",
        "distil-0",
        "evaluate",
    }


def test_a_student_that_does_not_fit_is_refused_before_a_teacher_is_trained(run, tmp_path):
    with pytest.raises(ModelError, match=r"its layers\.1\.weight is \(8, 64\), and the teacher's"):
        run("students.small.start.how=layers")
    assert not (tmp_path / "out").exists()
