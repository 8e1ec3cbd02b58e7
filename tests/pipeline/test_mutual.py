"""Students of a recipe that learn from each other."""

import json

import pytest
import torch

import limbeck
from limbeck._errors import OptionError, RecipeError
from limbeck.doctor import examine
from limbeck.methods import objective_of
from limbeck.pipeline import _stages
from limbeck.recipe_combinations import check_combinations
from limbeck.results import read_results
from tests.pipeline.examples import equal, small, weights
from tests.train.problem import LABEL

TWIN = "students.twin={model = 'mlp', options = {hidden = [8]}}"
SHORT = ("seeds=1", "teacher.train.epochs=1", "train.epochs=1")
MUTUAL = (*SHORT, TWIN, "distil.mutual_weight=1.0")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The folders of a run in which they do, and of one in which they do not. Read them only."""
    folder = tmp_path_factory.mktemp("mutual")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("limbeck.evaluation.median_latency_ms", lambda model, inputs: 1.0)
        limbeck.run(small(folder, *MUTUAL), folder / "with")
        limbeck.run(small(folder, *SHORT, TWIN), folder / "without")
    return folder / "with", folder / "without"


def terms_of(run, role):
    """What the second student of a role learned from."""
    record = json.loads((run / "stages" / f"{role}-0.json").read_text(encoding="utf-8"))
    return set(record["facts"]["histories"]["twin"]["terms"])


def test_twins_begin_each_with_its_own_weights_and_so_do_their_controls(made):
    mutual, apart = (weights(folder) for folder in made)
    first, second = (mutual[f"control/seed-0/{name}.safetensors"] for name in ("small", "twin"))
    assert any(not torch.equal(first[name], second[name]) for name in first)
    # Without they are one model twice; the first of the two is as it was.
    alike = {name: apart[f"control/seed-0/{name}.safetensors"] for name in ("small", "twin")}
    assert equal({"": alike["small"]}, {"": alike["twin"]})
    assert equal({"": alike["small"]}, {"": first})


def test_a_recipe_says_who_begins_how(tmp_path):
    mutual = small(tmp_path, *MUTUAL)
    assert [mutual.first_seed(name, 1) for name in ("small", "twin")] == [1, 3_000_001]
    assert small(tmp_path, TWIN).first_seed("twin", 1) == 1


def test_students_learn_from_each_other_and_controls_alone(made):
    both = [weights(folder) for folder in made]
    name = "distil/seed-0/small.safetensors"
    assert not equal({"": both[0][name]}, {"": both[1][name]})
    assert terms_of(made[0], "distil") == {"soft", "mutual"}
    assert terms_of(made[0], "control") == {"hard"}
    assert terms_of(made[1], "distil") == {"soft"}


def test_no_pass_is_paid_for_that_was_not_made(made):
    mutual, apart = (read_results(folder)[0].ledger.stages for folder in made)
    assert [(one.name, one.flops) for one in mutual] == [(one.name, one.flops) for one in apart]


def test_without_the_teacher_it_is_not_asked_while_they_learn(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(_stages, "flops_of_asking", lambda *given: asked.append(given) or 0)
    recipe = small(tmp_path, *MUTUAL, "distil.soft_weight=0", "distil.hard_weight=1")
    assert [term.name for term in objective_of(recipe, [LABEL])] == ["hard", "mutual"]
    limbeck.run(recipe, tmp_path / "run")
    assert terms_of(tmp_path / "run", "distil") == {"hard", "mutual"}
    assert not asked


def test_an_assistant_learns_alone(tmp_path, written):
    middle = "assistants.middle={model = 'mlp', options = {hidden = [16]}}"
    limbeck.run(small(tmp_path, *MUTUAL, middle), tmp_path / "run")
    assert "assistant-middle" in written
    written.clear()
    limbeck.run(small(tmp_path, *SHORT, TWIN, middle), tmp_path / "run")
    assert set(written) == {"control-0", "distil-0", "evaluate"}


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (("distil.mutual_weight=1",), "learn from each other, and there is one, small. Add a"),
        (
            (
                TWIN,
                "distil.mutual_weight=1",
                "students.small.start={how = 'width'}",
                "students.twin.start={how = 'width', control = true}",
            ),
            r"students\.twin\.start lets it begin as another student does",
        ),
        ((*MUTUAL, "distil.generations=2"), "distils one student again and again"),
    ],
)
def test_students_with_nothing_to_learn_from_each_other_are_refused(tmp_path, overrides, said):
    with pytest.raises(RecipeError, match=said):
        check_combinations(small(tmp_path, *overrides))


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (
            (),
            r"hard_weight = 0 and distil\.soft_weight = 0 leave the last layer of the students",
        ),
        (("distil.hard_weight=1", "distil.method=dkd"), "leaves nothing of method dkd"),
    ],
)
def test_somebody_who_knows_must_teach_too(tmp_path, overrides, said):
    with pytest.raises(OptionError, match=said):
        objective_of(small(tmp_path, *MUTUAL, "distil.soft_weight=0", *overrides), [LABEL])


def test_doctor_shows_what_they_say_to_each_other(tmp_path):
    found = examine(small(tmp_path, *MUTUAL))
    assert found.faults == []
    (rows,) = [rows for title, _, rows in found.tables if title == "Loss terms"]
    terms = {(row[0], row[1]): row for row in rows}
    assert ("control twin", "mutual") not in terms
    for name in ("student small", "student twin"):
        row = terms[name, "mutual"]
        assert row[2] == "1"
        assert 0 < float(row[3]) < 5
        assert float(row[5]) > 0
