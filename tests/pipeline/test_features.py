"""A run by a feature method: from a recipe's taps to a plain student."""

import pytest
import torch

import limbeck
from limbeck._errors import LimbeckError
from limbeck._progress import Silence
from limbeck.methods.features import features_of
from limbeck.pipeline import _context, _stages, compare_targets, make_targets, tune
from limbeck.pipeline._chain import chain_stages
from limbeck.pipeline._context import Context
from limbeck.pipeline._teachers import teachers_stage
from limbeck.results import read_results
from limbeck.targets import TransferSet, describe
from limbeck.tasks import load_task
from limbeck.train import fit
from tests.pipeline.examples import equal, small, weights

CNN = (
    "seeds=1",
    "data.limit=200",
    "teacher.model=cnn",
    "teacher.options={channels = [6, 8]}",
    "students.small.model=cnn",
    "students.small.options={channels = [3, 4]}",
)
TAPS = 'distil.taps=[{student = "features.3", teacher = "features.3"}]'


def test_what_is_learned_beside_a_student_is_neither_kept_nor_the_controls(tmp_path):
    out = tmp_path / "out"
    limbeck.run(small(tmp_path, *CNN), out)
    plain = weights(out)
    limbeck.run(small(tmp_path, *CNN, "distil.method=crd", TAPS), out)
    taught = weights(out)
    assert plain.keys() == taught.keys()
    changed = {name for name in plain if not equal({"": plain[name]}, {"": taught[name]})}
    assert changed == {"distil/seed-0/small.safetensors", "students/small/student.safetensors"}
    assert all(plain[name].keys() == taught[name].keys() for name in plain)
    limbeck.run(small(tmp_path, *CNN, "distil.method=crd", TAPS, "distil.live=true"), out)
    live = weights(out)["distil/seed-0/small.safetensors"]
    for name, tensor in taught["distil/seed-0/small.safetensors"].items():
        assert float((tensor - live[name]).abs().max()) < 1e-2  # dense16 rows are rounded


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (
            ["distil.method=fitnets"],
            "method fitnets takes one or more taps, got 0. Set distil.taps",
        ),
        (["targets.features=true"], "stores what distil.taps names, and there is none"),
        (
            ["distil.method=sp", TAPS, "targets.features=true", "distil.live=true"],
            "targets.features = true stores what distil.live = true asks at every step",
        ),
        ([TAPS], "method soft_targets learns from rows, and has no taps"),
        (["distil.feature_weight=2"], "has no feature_weight. Leave distil.feature_weight out"),
        (["distil.soft_weight=0"], "distil.soft_weight = 0 leaves nothing of method soft_targets"),
        (
            ["distil.method=fitnets", TAPS, "distil.soft_weight=0"],
            "leaves the last layer of the student untaught",
        ),
        (
            ["distil.method=at", 'distil.taps=[{student = "feature.3", teacher = "features.3"}]'],
            "student small has no module 'feature.3' to tap. Did you mean features.3?",
        ),
        (
            ["distil.method=at", 'distil.taps=[{student = "features.3", teacher = "feature"}]'],
            "the teacher has no module 'feature' to tap. Did you mean features?",
        ),
        (
            ["distil.method=at", 'distil.taps=[{student = "dropout", teacher = "features.3"}]'],
            "this method's taps must give maps; for one sample student 'dropout' gives (4,), "
            "teacher 'features.3' (6, 4, 4)",
        ),
        (
            ["distil.method=at", 'distil.taps=[{student = "features.3"}]'],
            "distil.taps.0.teacher is missing",
        ),
        (
            ["distil.method=at", 'distil.taps=[{student = "a", teacher = "b", techer = "c"}]'],
            "there is no key distil.taps.0.techer. Did you mean teacher?",
        ),
        (
            ["distil.method=at", TAPS, "train.optimizer=Muon"],
            "Muon takes matrices alone",
        ),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_is_made(tmp_path, overrides, said):
    with pytest.raises(LimbeckError) as error:
        limbeck.run(small(tmp_path, *CNN, *overrides), tmp_path / "out")
    assert said in str(error.value)
    assert not (tmp_path / "out").exists()


def test_the_layers_of_a_keras_teacher_cannot_be_tapped(tmp_path):
    pytest.importorskip("keras")
    keras = (
        "teacher.model=tests.pipeline.models:keras_classes",
        "teacher.options={}",
        "teacher.outputs=probabilities",
        "targets.compress=normalised",
    )
    with pytest.raises(LimbeckError, match="the teacher is a Keras model, whose layers cannot"):
        limbeck.run(small(tmp_path, *CNN, *keras, "distil.method=sp", TAPS), tmp_path / "out")


def test_both_sets_are_made_without_a_student(tmp_path):
    by = (*CNN, "distil.method=fitnets", TAPS, "targets.features=true")
    rows, features = make_targets(small(tmp_path, *by), tmp_path / "out")
    assert [head.name for head in rows.heads] == ["label"]
    assert [head.name for head in features.heads] == ["tap:features.3 6x4x4"]


@pytest.mark.parametrize(("method", "asks"), [("soft_targets", 1), ("label_smoothing", 0)])
def test_what_a_live_teacher_says_is_paid_for(tmp_path, method, asks):
    cost = {}
    middle = "assistants.middle={model = 'cnn', options = {channels = [4, 4]}}"
    by = (*CNN, middle, f"distil.method={method}", "distil.hard_weight=0", "train.epochs=1")
    for live in ("true", "false"):
        limbeck.run(small(tmp_path, *by, f"distil.live={live}"), tmp_path / live)
        report, _ = read_results(tmp_path / live)
        cost[live] = {stage.name: stage.flops for stage in report.ledger.stages}
    asked = {
        "assistant-middle": report.models["teacher"],
        "distil": report.assistants["middle"],
    }
    for stage, who in asked.items():
        more = cost["true"][stage] - cost["false"][stage]
        assert more == asks * who.flops_per_example * report.data["train"]


def test_a_search_is_refused(tmp_path):
    with pytest.raises(LimbeckError, match=r"distil.taps is for those of features"):
        tune(small(tmp_path, *CNN, "distil.method=sp", TAPS), tmp_path / "out", trials=1)


def test_stored_features_teach_as_the_teacher_does_and_are_not_asked_twice(tmp_path, monkeypatch):
    out = tmp_path / "out"
    by = (*CNN, "distil.method=fitnets", TAPS, "distil.feature_weight=1")
    limbeck.run(small(tmp_path, *by), out)
    live = weights(out)["distil/seed-0/small.safetensors"]
    limbeck.run(small(tmp_path, *by, "targets.features=true"), out)
    stored = weights(out)["distil/seed-0/small.safetensors"]
    for name, tensor in stored.items():
        assert float((tensor - live[name]).abs().max()) < 2e-2
    assert not equal({"": live}, {"": stored})  # a byte a number
    assert [head.name for head in TransferSet(out / "features").heads] == ["tap:features.3 6x4x4"]
    faithful = compare_targets(out / "features", out, limit=20)
    assert faithful.rows == 20 * 4 * 4
    facts = describe(TransferSet(out / "features"))
    assert facts["compressed by"] == "nothing: numbers are kept as they are"
    report, _ = read_results(out)
    assert report.targets.feature_bytes == TransferSet(out / "features").card.bytes
    monkeypatch.setattr(_stages, "inside", None)
    limbeck.run(small(tmp_path, *by, "targets.features=true", "distil.hard_weight=0.5"), out)
    assert (out / "report.json").is_file()


def test_beside_stored_features_the_classifier_is_the_teachers_own(tmp_path):
    out = tmp_path / "out"
    last = TAPS.replace("features.3", "features.7")
    by = (*CNN, "distil.method=srrl", "distil.feature_weight=1")
    limbeck.run(small(tmp_path, *by, last), out)
    live = weights(out)["distil/seed-0/small.safetensors"]
    limbeck.run(small(tmp_path, *by, last, "targets.features=true"), out)
    stored = weights(out)["distil/seed-0/small.safetensors"]
    assert max(float((tensor - live[name]).abs().max()) for name, tensor in stored.items()) < 2e-2
    with pytest.raises(LimbeckError, match="no linear layer answers from what its module 'feat"):
        limbeck.run(small(tmp_path, *by, TAPS), out)


STORED = ("distil.method=fitnets", TAPS, "targets.features=true", "teacher.train.epochs=1")
"""What is learned from stored features of a hasty teacher."""


def lecture(folder, *overrides):
    """What the students of such a run would learn from, and the samples; no student learns."""
    recipe = small(folder, *CNN, *STORED, *overrides)
    context = Context(recipe, folder / "out", load_task(recipe.data), Silence())
    with context.folder():
        return chain_stages(context, teachers_stage(context)).last, context.task.data.train


def test_stored_features_are_those_of_the_view_that_is_seen(tmp_path):
    last, train = lecture(tmp_path, "targets.views=2", "data.augment.shift=2")
    for view in (0, 1):
        batch = train.fetch(torch.arange(50), view)
        stored = last.teach(batch)["tap:features.3"].values
        live = features_of(last.teacher, batch.inputs, ["features.3"])["tap:features.3"].values
        assert (stored - live).abs().max() < 0.01 * (live.max() - live.min())  # a byte a number


def test_other_taps_views_and_teachers_have_features_of_their_own(tmp_path):
    def held(*overrides):
        lecture(tmp_path, *overrides)
        kept = TransferSet(tmp_path / "out" / "features")
        return [head.name for head in kept.heads], kept.views, kept.fingerprint

    first, second = "tap:features.3 6x4x4", "tap:features.0 6x8x8"
    earlier = TAPS.replace("features.3", "features.0")
    names, views, numbers = held()
    assert (names, views) == ([first], 1)
    assert held(earlier)[:2] == ([second], 1)
    assert held("targets.views=2")[:2] == ([first], 2)
    *same, others = held("teacher.seed=5")
    assert same == [[first], 1]
    assert others != numbers
    assert held() == ([first], 1, numbers)  # they came back


def test_each_seed_draws_what_is_learned_beside_its_student(tmp_path, monkeypatch):
    drawn = []

    def spy(learners, *arguments, **options):
        drawn.extend(part.clone() for part in learners[0].beside.parameters() if part.dim() > 1)
        return fit(learners, *arguments, **options)

    monkeypatch.setattr(_context, "fit", spy)
    limbeck.run(small(tmp_path, *CNN, *STORED, "seeds=2", "train.epochs=1"), tmp_path / "out")
    first, second = drawn
    assert not torch.equal(first, second)
