"""Several teachers are asked each by itself, and teach as one."""

from types import SimpleNamespace

import pytest
import torch

import limbeck
from limbeck._errors import Interrupted, OptionError, RecipeError
from limbeck._progress import Silence
from limbeck.doctor import examine
from limbeck.models import MLP, load_weights
from limbeck.pipeline import compare_targets, draw_curve, make_targets
from limbeck.pipeline._chain import chain_stages
from limbeck.pipeline._context import Context
from limbeck.pipeline._summary import _targets as targets_of_all
from limbeck.pipeline._teachers import teachers_stage
from limbeck.recipe import Recipe
from limbeck.recipe_combinations import check_combinations
from limbeck.recipe_file import load_recipe, parse_recipe
from limbeck.results import read_results
from limbeck.targets import TransferSet
from limbeck.tasks import load_task
from limbeck.teachers import Teacher
from tests.pipeline.examples import SMALL, StopsIn, equal, weights

SEVERAL = SMALL.replace(
    """[teacher]
model = "mlp"
options = { hidden = [32] }

[teacher.train]
""",
    """[teachers.wide]
model = "mlp"
options = { hidden = [32] }
train = { epochs = 4, batch_size = 64, learning_rate = 1e-2 }

[teachers.deep]
model = "mlp"
options = { hidden = [16, 16] }
seed = 4

[teachers.deep.train]
""",
).replace("seeds = 2", "seeds = 1")


def several(folder, *overrides) -> Recipe:
    path = folder / "several.toml"
    path.write_text(SEVERAL, encoding="utf-8")
    return load_recipe(str(path), overrides)


@pytest.fixture(scope="module")
def taught(tmp_path_factory):
    """The folder of a finished run. Read it only."""
    folder = tmp_path_factory.mktemp("taught")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("limbeck.evaluation.median_latency_ms", lambda model, inputs: 1.0)
        limbeck.run(several(folder, "ensemble.weights={deep = 3.0}"), folder / "run")
    return folder / "run"


def loaded(folder):
    models = {"wide": MLP(64, [32], 10), "deep": MLP(64, [16, 16], 10)}
    for name, model in models.items():
        load_weights(model, folder / "teacher" / f"{name}.safetensors")
        model.eval()
    return models


def test_each_is_asked_by_itself_and_students_learn_the_mean_of_their_probabilities(taught):
    recipe = load_recipe(str(taught / "recipe.toml"))
    context = Context(recipe, taught, load_task(recipe.data), Silence())
    models = loaded(taught)
    for name, model in models.items():
        said = TransferSet(taught / f"targets-{name}").manifest.settings.teacher
        assert said.fingerprint == Teacher(model, context.task.data.heads).fingerprint
    lecture = chain_stages(context, teachers_stage(context)).last
    batch = context.task.data.train.fetch(torch.arange(50))
    with torch.no_grad():
        wide, deep = (torch.softmax(model(batch.inputs) / 4, -1) for model in models.values())
    taught_rows = lecture.teach(batch)["label"].values.exp()
    torch.testing.assert_close(taught_rows, 0.25 * wide + 0.75 * deep, rtol=1e-2, atol=1e-3)


def test_the_report_has_each_alone_and_all_together(taught):
    report, details = read_results(taught)
    task = load_task(load_recipe(str(taught / "recipe.toml")).data)
    batch = task.data.test.fetch(torch.arange(len(task.data.test)))
    labels = batch.labels["label"]
    with torch.no_grad():
        alone = {name: model(batch.inputs).softmax(-1) for name, model in loaded(taught).items()}
    for name, said in alone.items():
        right = float((said.argmax(-1) == labels).double().mean())
        assert report.teachers[name].score.values == pytest.approx([right])
    together = 0.25 * alone["wide"] + 0.75 * alone["deep"]
    right = float((together.argmax(-1) == labels).double().mean())
    assert report.models["teacher"].score.values == pytest.approx([right])
    assert report.targets is not None
    assert report.targets.rows == 2 * 600
    losses = [TransferSet(taught / f"targets-{name}").card.kl_to_teacher for name in alone]
    assert losses[0] != losses[1]
    assert report.targets.kl_to_teacher == max(losses)  # of the least faithful
    assert [stage.name for stage in report.ledger.stages] == [
        "teacher-wide",
        "teacher-deep",
        "teacher",
        "targets-wide",
        "targets-deep",
        "control",
        "distil",
        "evaluate",
    ]
    assert {curve.role for curve in details.curves} == {"control", "student"}
    page = (taught / "report.html").read_text(encoding="utf-8")
    assert "The teacher is 2 together" in page
    assert '<th scope="row">deep</th>' in page


def test_other_weights_ask_nobody_again(tmp_path, written):
    def again(*overrides):
        written.clear()
        limbeck.run(several(tmp_path, *overrides), tmp_path / "run")
        return set(written)

    again()
    assert again() == set()
    students = {"teacher", "distil-0", "evaluate"}
    assert again("ensemble.how=by_class") == students
    assert again("ensemble.weights.wide=2") == students
    assert again("ensemble.how=agreement") == students
    assert again("teachers.deep.seed=5") == {"teacher-deep", "targets-deep"} | students


def test_trust_is_earned_on_validation_data(tmp_path):
    """In the test split every label is the opposite: who is trusted there has looked at it."""
    recipe = several(
        tmp_path,
        'data={source="tests.pipeline.models:opposite_test"}',
        "ensemble.how=by_class",
        "train.learning_rate=0.1",
        "teachers.wide.train.learning_rate=0.1",
    )
    context = Context(recipe, tmp_path / "run", load_task(recipe.data), Silence())
    with context.folder():
        trust = teachers_stage(context).trust
    assert float(trust.min()) > 0.8
    assert float(trust.max()) < 1  # as it is of those who are all trusted alike


def test_stopped_in_the_second_teachers_training_it_goes_on_to_the_same_weights(taught, tmp_path):
    recipe = several(tmp_path, "ensemble.weights={deep = 3.0}")
    with pytest.raises(Interrupted, match="stopped in training teacher deep"):
        limbeck.run(recipe, tmp_path / "run", progress=StopsIn("training teacher deep"))
    limbeck.run(recipe, tmp_path / "run")
    assert equal(weights(tmp_path / "run"), weights(taught))


def test_each_transfer_set_is_made_and_compared(taught, tmp_path):
    made = make_targets(several(tmp_path), tmp_path / "run")
    assert [one.folder.name for one in made] == ["targets-wide", "targets-deep"]
    for name in ("wide", "deep"):
        near = compare_targets(taught / f"targets-{name}", taught, limit=5)
        assert near.difference is not None
        assert near.difference < 1e-3


def test_assistants_and_sparse_rows_go_with_several(tmp_path):
    recipe = several(
        tmp_path,
        "assistants.middle={model = 'mlp', options = {hidden = [16]}}",
        "targets.codec=topk",
        "targets.codec_options={k = 3}",
        "ensemble.how=confidence",
    )
    limbeck.run(recipe, tmp_path / "run")
    report, _ = read_results(tmp_path / "run")
    assert list(report.assistants) == ["middle"]


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["distil.live=true"], "distil.live asks one teacher at every step, and there are wide, d"),
        (["targets.folder=there"], "targets.folder holds the rows of one teacher"),
        (
            ["ensemble.weights.deep=2", "ensemble.how=agreement"],
            "have no part in ensemble.how = .agreement",
        ),
        (["ensemble.weights.dep=1"], "there is no teacher dep. Did you mean deep"),
        (["assistants.deep={model = 'mlp'}"], "a teacher and an assistant are both called deep"),
        (
            ["students.small.start={how = 'layers'}"],
            "students.small.start takes the weights",
        ),
        (
            ["teachers.deep.outputs=probabilities"],
            "the teacher deep gives prob.*teachers.d",
        ),
    ],
)
def test_what_several_cannot_do_is_refused(tmp_path, overrides, said):
    with pytest.raises(RecipeError, match=said):
        check_combinations(several(tmp_path, *overrides))


def test_there_is_one_teacher_or_there_are_several(tmp_path):
    with pytest.raises(RecipeError, match=r"\[teacher\], or there are several, \[teachers\.wide\]"):
        several(tmp_path, "teacher.model=mlp")
    raw = several(tmp_path).model_dump(exclude={"teachers"}, exclude_none=True)
    with pytest.raises(RecipeError, match="recipe: teacher is missing"):
        parse_recipe(raw)


def test_teachers_that_agree_need_rows_of_every_class_before_anything_is_made(tmp_path):
    topk = "targets.codec=topk", "targets.codec_options={k = 3}"
    recipe = several(tmp_path, "ensemble.how=agreement", *topk)
    with pytest.raises(OptionError, match="codec topk names only some of head label"):
        limbeck.run(recipe, tmp_path / "run")
    assert not list((tmp_path / "run").glob("teacher/*"))
    assert "codec topk names only some of head label" in str(examine(recipe).faults)


def test_a_way_that_there_is_not_is_refused_before_anything_is_made(tmp_path):
    with pytest.raises(OptionError, match=r"ensemble\.how must be one of mean"):
        limbeck.run(several(tmp_path, "ensemble.how=median"), tmp_path / "run")
    with pytest.raises(OptionError, match="tries the rows of one teacher"):
        draw_curve(several(tmp_path), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_of_several_transfer_sets_the_report_says_how_near_the_least_faithful_is(taught):
    sets = [TransferSet(taught / f"targets-{name}") for name in ("wide", "deep")]
    faithful, coarse = (
        replace_card(one, kl_to_teacher=kl, agreement_with_teacher=agreement)
        for one, kl, agreement in zip(sets, (0.1, 0.3), (0.9, 0.7), strict=True)
    )
    recipe = load_recipe(str(taught / "recipe.toml"))
    for order in ([faithful, coarse], [coarse, faithful]):
        found = targets_of_all(order, recipe, {})
        assert (found.kl_to_teacher, found.agreement_with_teacher) == (0.3, 0.7)
    of_numbers = replace_card(sets[0], kl_to_teacher=None, agreement_with_teacher=None)
    found = targets_of_all([of_numbers, faithful], recipe, {})
    assert (found.kl_to_teacher, found.agreement_with_teacher) == (0.1, 0.9)


def replace_card(targets, **changed):
    """The same set, with other numbers on its card."""
    card = targets.card.model_copy(update=changed)
    return SimpleNamespace(card=card, heads=targets.heads, manifest=targets.manifest)
