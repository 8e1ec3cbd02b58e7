"""A recipe's students see mixed samples with their teacher; its teacher and controls do not."""

import json

import pytest

import limbeck
from limbeck._errors import OptionError, RecipeError
from limbeck.doctor import examine
from limbeck.pipeline import _context
from limbeck.recipe_file import load_recipe
from limbeck.train import fit
from tests.pipeline.examples import small

MIXED = ("seeds=1", "distil.live=true", "distil.mixup=true")


def test_students_and_assistants_alone_see_mixed_samples(tmp_path, monkeypatch):
    mixed = {}

    def spy(learners, *arguments, title, mixup, **options):
        mixed[title] = mixup
        return fit(learners, *arguments, title=title, mixup=mixup, **options)

    monkeypatch.setattr(_context, "fit", spy)
    middle = "assistants.middle={model = 'mlp'}"
    limbeck.run(small(tmp_path, *MIXED, middle), tmp_path / "run")
    assert mixed == {
        "training teacher": False,
        "training assistant middle": True,
        "training control small, 1 of 1": False,
        "training student small, 1 of 1": True,
    }


def test_the_shipped_recipe_of_it_teaches_by_mixed_samples_alone(tmp_path):
    short = ("seeds=1", "train.epochs=1", "teacher.train.epochs=1")
    recipe = load_recipe("digits-matching", short)
    limbeck.run(recipe, tmp_path / "run")
    made = json.loads((tmp_path / "run" / "stages" / "distil-0.json").read_text("utf-8"))
    assert set(made["facts"]["histories"]["small"]["terms"]) == {"soft"}
    assert (recipe.distil.mixup, (tmp_path / "run" / "targets").exists()) == (True, False)


@pytest.mark.parametrize(
    ("overrides", "error", "said"),
    [
        (["distil.live=false"], RecipeError, "distil.mixup shows samples that are mixed anew"),
        (["distil.hard_weight=0.1"], OptionError, "the hard loss needs labels"),
        (["distil.method=dkd"], OptionError, "the soft loss needs labels"),
    ],
)
def test_what_does_not_go_with_it_is_refused_before_anything_is_made(
    tmp_path, overrides, error, said
):
    recipe = small(tmp_path, *MIXED, *overrides)
    with pytest.raises(error, match=said):
        limbeck.run(recipe, tmp_path / "run")
    assert not (tmp_path / "run").exists()
    assert any(said in fault for fault in examine(recipe).faults)
