"""Assistants and earlier generations stand between teacher and student, and each is kept."""

import pytest
import torch

import limbeck
from limbeck._errors import Interrupted, ModelError, RecipeError
from limbeck.evaluation import answer_all, as_answerer
from limbeck.models import MLP, load_weights
from limbeck.pipeline import compare_targets, tune
from limbeck.pipeline._tune import FIRST_SEED
from limbeck.recipe_combinations import check_combinations
from limbeck.results import read_results
from limbeck.targets import TransferSet
from limbeck.tasks import load_task
from limbeck.teachers import Teacher
from tests.pipeline.examples import StopsIn, equal, small, weights

CHAIN = (
    "seeds=1",
    "assistants.middle={model = 'mlp', options = {hidden = [16]}, seed = 3}",
    "distil.generations=2",
)


@pytest.fixture(scope="module")
def chained(tmp_path_factory):
    """The folder of a finished run of a chain. Read it only."""
    folder = tmp_path_factory.mktemp("chained")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("limbeck.evaluation.median_latency_ms", lambda model, inputs: 1.0)
        limbeck.run(small(folder, *CHAIN), folder / "run")
    return folder / "run"


def loaded(folder, name, hidden):
    model = MLP(64, [hidden], 10)
    load_weights(model, folder / f"{name}.safetensors")
    return model.eval()


def test_everyone_learns_from_the_one_before(chained):
    task = load_task(limbeck.load_recipe(str(chained / "recipe.toml")).data)
    heads = task.data.heads
    teachers = {
        "targets": loaded(chained, "teacher/teacher", 32),
        "targets-middle": loaded(chained, "assistants/middle", 16),
        "targets-generation-1": loaded(chained, "assistants/generation-1", 8),
    }
    for folder, model in teachers.items():
        said = TransferSet(chained / folder)
        assert said.manifest.settings.teacher.fingerprint == Teacher(model, heads).fingerprint
    # What each learned is nearer to the one before it than to the one before that.
    answers = [
        answer_all(as_answerer(model, heads), task.data.train, heads[0]).rows.log_softmax(-1)
        for model in (*teachers.values(), loaded(chained, "distil/seed-0/small", 8))
    ]
    for above, own, below in zip(answers, answers[1:], answers[2:], strict=False):
        near, far = (float((rows.exp() * (rows - below)).sum(-1).mean()) for rows in (own, above))
        assert near < far


def test_the_report_has_everyone_between_and_what_they_cost(chained):
    report, _ = read_results(chained)
    task = load_task(limbeck.load_recipe(str(chained / "recipe.toml")).data)
    head, test = task.data.head, task.data.test
    assert list(report.assistants) == ["middle", "generation-1"]
    for name, hidden in (("middle", 16), ("generation-1", 8)):
        model = loaded(chained, f"assistants/{name}", hidden)
        said = answer_all(as_answerer(model, (head,)), test, head)
        right = float((said.rows.argmax(-1) == said.labels).double().mean())
        assert report.assistants[name].score.values == pytest.approx([right])
        assert report.assistants[name].parameters == 64 * hidden + hidden + hidden * 10 + 10
    names = [stage.name for stage in report.ledger.stages]
    assert names == [
        "teacher",
        "targets",
        "assistant-middle",
        "targets-middle",
        "assistant-generation-1",
        "targets-generation-1",
        "control",
        "distil",
        "evaluate",
    ]
    page = (chained / "report.html").read_text(encoding="utf-8")
    assert "stood, in this order, 2 more" in page
    assert '<th scope="row">generation-1</th>' in page


def test_an_earlier_generation_begins_as_no_student_does(tmp_path):
    chain = small(tmp_path, *CHAIN).chain
    assert [each.options for each in chain.values()] == [{"hidden": [16]}, {"hidden": [8]}]
    seed = chain["generation-1"].seed
    for first in (0, FIRST_SEED):  # of a run's students, and of a search's
        assert not first <= seed < first + 100_000


def test_a_change_is_done_again_from_its_place_on(chained, tmp_path, written):
    def again(*overrides):
        written.clear()
        limbeck.run(small(tmp_path, *CHAIN, *overrides), tmp_path / "run")
        return set(written)

    again()
    students = {"distil-0", "evaluate"}
    generation = {"assistant-generation-1", "targets-generation-1"}
    assert again() == set()
    assert again("assistants.middle.train.epochs=2") == {
        "assistant-middle",
        "targets-middle",
        *generation,
        *students,
    }
    assert again("assistants.middle.train.epochs=2", "distil.generations=1") == students
    assert again("distil.generations=1") == {"assistant-middle"} | students  # its rows came back
    assert equal(
        {"": weights(chained)["teacher/teacher.safetensors"]},
        {"": weights(tmp_path / "run")["teacher/teacher.safetensors"]},
    )


def test_stopped_in_an_assistants_training_it_goes_on_to_the_same_weights(chained, tmp_path):
    for name in ("middle", "generation-1"):
        with pytest.raises(Interrupted, match=f"stopped in training assistant {name}"):
            limbeck.run(
                small(tmp_path, *CHAIN),
                tmp_path / "run",
                progress=StopsIn(f"training assistant {name}"),
            )
        assert len(list((tmp_path / "run" / "stages").glob("assistant-*.checkpoint.*"))) == 1
    limbeck.run(small(tmp_path, *CHAIN), tmp_path / "run")
    assert equal(weights(tmp_path / "run"), weights(chained))


def test_with_a_live_teacher_nothing_is_stored(tmp_path):
    limbeck.run(small(tmp_path, *CHAIN, "distil.live=true"), tmp_path / "run")
    report, _ = read_results(tmp_path / "run")
    assert report.targets is None
    assert not list((tmp_path / "run").glob("targets*"))
    assert [stage.name for stage in report.ledger.stages] == [
        "teacher",
        "assistant-middle",
        "assistant-generation-1",
        "control",
        "distil",
        "evaluate",
    ]


def test_a_live_teacher_that_changed_is_learned_from_again(tmp_path, written):
    def again(*overrides):
        written.clear()
        live = ("distil.live=true", "train.epochs=1", *overrides)
        limbeck.run(small(tmp_path, *CHAIN, *live), tmp_path / "run")
        return set(written)

    again()
    below = {"assistant-generation-1", "distil-0", "evaluate"}
    other = "assistants.middle.seed=4"
    assert again(other) == {"assistant-middle", *below}
    assert again(other, "teacher.seed=5") == {"teacher", "assistant-middle", *below}


def test_every_links_rows_can_be_compared_with_who_said_them(chained):
    for folder in ("targets", "targets-middle", "targets-generation-1"):
        near = compare_targets(chained / folder, chained, limit=5)
        assert near.difference is not None
        assert near.difference < 1e-3


def test_a_student_begins_with_the_weights_of_who_teaches_it(tmp_path):
    start = "students.small.start={how = 'layers'}"
    alike = "assistants.middle={model = 'mlp', options = {hidden = [8]}, seed = 3}"
    still = "train.learning_rate=1e-9"
    limbeck.run(small(tmp_path, "seeds=1", alike, start, still), tmp_path / "run")
    made = loaded(tmp_path / "run", "distil/seed-0/small", 8)
    above = loaded(tmp_path / "run", "assistants/middle", 8)
    torch.testing.assert_close(made.layers[1].weight, above.layers[1].weight, atol=1e-6, rtol=0)
    with pytest.raises(ModelError, match=r"layers\.1\.weight is \(8, 64\)"):
        limbeck.run(small(tmp_path, *CHAIN[:2], start), tmp_path / "other")


def test_a_search_learns_from_the_last_of_the_chain(tmp_path):
    pytest.importorskip("optuna")
    tune(small(tmp_path, *CHAIN), tmp_path / "run", trials=1)
    assert (tmp_path / "run" / "stages" / "targets-generation-1.json").is_file()


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (
            ["distil.generations=2", "students.other={model = 'mlp'}"],
            "distil.generations = 2 distils one student again and again, and there are small, othe",
        ),
        (
            ["distil.generations=2", "students.small.start={how = 'layers'}"],
            "students.small.start would begin it as a copy of the one before",
        ),
        (
            ["distil.generations=2", "assistants.generation-1={model = 'mlp'}"],
            "an assistant is called as a generation of the student is",
        ),
        (
            ["assistants.middle={model = 'mlp', train = {views = true}}"],
            "^assistants.middle.train.views makes new views without end",
        ),
        (["train.views=true"], "^train.views makes new views without end"),
    ],
)
def test_what_contradicts_itself_is_refused(tmp_path, overrides, said):
    with pytest.raises(RecipeError, match=said):
        check_combinations(small(tmp_path, *overrides))


def test_an_assistant_that_cannot_answer_is_refused_before_a_teacher_is_trained(tmp_path):
    misfit = "assistants.middle={model = 'tests.pipeline.models:misfit'}"
    with pytest.raises(ModelError, match="assistant middle cannot be called"):
        limbeck.run(small(tmp_path, misfit), tmp_path / "run")
    assert not (tmp_path / "run").exists()
