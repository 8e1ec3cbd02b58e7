"""A run does all of a recipe, writes what it found, and does again only what changed."""

import html
import json
import shutil
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch

import limbeck
from limbeck._errors import StorageError
from limbeck._files import only_writer, write_text
from limbeck.data import Samples
from limbeck.evaluation import answer_all, as_answerer
from limbeck.metrics import METRICS
from limbeck.models import MLP
from limbeck.pipeline import _context, _run, _stages, draw_curve, make_targets, tune
from limbeck.recipe_file import load_recipe, to_toml
from limbeck.results import read_results
from limbeck.tasks import load_task
from limbeck.train import fit
from tests.pipeline.examples import equal, small, weights


def _ages(folder: Path) -> dict[str, int]:
    """When each stage was done, in nanoseconds."""
    return {path.stem: path.stat().st_mtime_ns for path in (folder / "stages").iterdir()}


def _redone(before: dict[str, int], folder: Path) -> set[str]:
    return {stage for stage, when in _ages(folder).items() if before.get(stage) != when}


@pytest.fixture
def again(finished, tmp_path):
    """Run the finished run's recipe again, changed, in a copy; the stages that were done."""

    def run(*overrides: str) -> set[str]:
        folder = tmp_path / "copy"
        if not folder.is_dir():
            shutil.copytree(finished, folder)
        before = _ages(folder)
        limbeck.run(small(tmp_path, *overrides), folder)
        return _redone(before, folder)

    return run


def test_a_run_leaves_its_result_files_and_nothing_half_made(finished):
    files = {str(path.relative_to(finished)) for path in finished.rglob("*") if path.is_file()}
    shards = {file for file in files if file.endswith(".arrow")}
    made = {f"{role}/seed-{seed}/small" for role in ("control", "distil") for seed in (0, 1)}
    stages = {"teacher", "targets", "evaluate"}
    stages |= {f"{role}-{seed}" for role in ("control", "distil") for seed in (0, 1)}
    assert len(shards) == 1
    assert files - shards == {
        "recipe.toml",
        "report.json",
        "details.json",
        "report.html",
        "targets/manifest.json",
        "targets/of.txt",
        "students/small/student.json",
        "students/small/student.safetensors",
        "teacher/teacher.safetensors",
        *(f"{path}.safetensors" for path in made),
        *(f"stages/{stage}.json" for stage in stages),
    }


def test_the_report_is_of_format_1_and_says_what_was_run(finished, tmp_path):
    said = json.loads((finished / "report.json").read_text(encoding="utf-8"))
    report, details = read_results(finished)
    assert said["format"] == 1
    assert said["recipe"] == small(tmp_path).model_dump(mode="json", exclude_none=True)
    assert report.data == {"train": 600, "labelled": 600, "validation": 144, "test": 360}
    assert report.metric.name == "accuracy"
    assert list(report.students) == ["small"]
    assert report.models["student"] == report.students["small"].student
    assert report.verdict.seeds == 2
    assert report.targets is not None
    assert report.targets.rows == 600
    assert [stage.name for stage in report.ledger.stages] == [
        "teacher",
        "targets",
        "control",
        "distil",
        "evaluate",
    ]
    assert {(curve.role, curve.seed) for curve in details.curves} == {
        ("teacher", 0),
        ("control", 0),
        ("control", 1),
        ("student", 0),
        ("student", 1),
    }
    page = html.unescape((finished / "report.html").read_text(encoding="utf-8"))
    assert report.verdict.sentence in page.replace("\u00a0", " ")


def test_scores_are_those_of_the_models_on_disk(finished, tmp_path):
    task = load_task(small(tmp_path).data)
    test = task.data.test
    inputs = test.fetch(torch.arange(len(test))).inputs.flatten(1).double()
    labels = test.labels["label"]

    def accuracy(path: Path) -> float:  # a multilayer perceptron, written down
        first, first_bias, last, last_bias = (
            tensor.double() for _, tensor in sorted(_in_order(path), key=lambda pair: pair[0])
        )
        hidden = (inputs @ first.T + first_bias).relu()
        return float(((hidden @ last.T + last_bias).argmax(1) == labels).double().mean())

    report, _ = read_results(finished)
    assert report.models["teacher"].score.values == pytest.approx(
        [accuracy(finished / "teacher" / "teacher.safetensors")]
    )
    for stage, role in (("control", "control"), ("distil", "student")):
        found = [accuracy(finished / stage / f"seed-{s}" / "small.safetensors") for s in (0, 1)]
        assert report.models[role].score.values == pytest.approx(found)
        assert report.models[role].score.mean == pytest.approx(np.mean(found))
        assert report.models[role].score.std == pytest.approx(np.std(found, ddof=1))


def _in_order(path: Path) -> list[tuple[tuple[int, bool], torch.Tensor]]:
    """Weights and biases, keyed so that they sort into the order of layers, weight first."""
    found = safetensors.torch.load_file(path)
    return [((int(name.split(".")[-2]), "bias" in name), part) for name, part in found.items()]


def test_the_kept_student_is_the_seed_best_on_validation_data(finished):
    facts = [
        json.loads((finished / "stages" / f"distil-{seed}.json").read_text())["facts"]
        for seed in (0, 1)
    ]
    best = int(np.argmax([fact["validation"]["small"] for fact in facts]))
    made = weights(finished)
    kept = made["students/small/student.safetensors"]
    assert equal({"": kept}, {"": made[f"distil/seed-{best}/small.safetensors"]})


def test_load_gives_the_student_back_with_its_score(finished, tmp_path):
    task = load_task(small(tmp_path).data)
    student = limbeck.load(finished / "students" / "small")
    answers = answer_all(as_answerer(student, task.data.heads), task.data.test, task.data.head)
    score = METRICS["accuracy"].score(answers.rows, answers.labels)
    report, _ = read_results(finished)
    assert not student.training
    assert score in report.models["student"].score.values


def test_two_plain_lines_load_the_student_without_limbeck(finished):
    model = MLP(64, [8], 10)
    safetensors.torch.load_model(model, finished / "students" / "small" / "student.safetensors")
    loaded = limbeck.load(finished / "students" / "small")
    inputs = torch.rand(5, 8, 8)
    assert torch.equal(model.eval()(inputs), loaded(inputs))


def test_the_recipe_in_the_folder_gives_the_very_same_scores_elsewhere(finished, tmp_path):
    report = limbeck.run(load_recipe(str(finished / "recipe.toml")), tmp_path / "elsewhere")
    first, _ = read_results(finished)
    assert {role: model.score for role, model in report.models.items()} == {
        role: model.score for role, model in first.models.items()
    }
    assert equal(weights(finished), weights(tmp_path / "elsewhere"))


@pytest.mark.parametrize(
    "command", [limbeck.run, make_targets, draw_curve, partial(tune, trials=1)]
)
def test_a_folder_that_another_process_writes_to_is_refused_and_left_as_it_is(tmp_path, command):
    out = tmp_path / "run"
    out.mkdir()
    write_text(out / "recipe.toml", to_toml(small(tmp_path)))
    before = (out / "recipe.toml").read_text()
    with only_writer(out), pytest.raises(StorageError, match="another process is writing to"):
        command(small(tmp_path, "train.epochs=1"), out)
    assert [path.name for path in out.iterdir()] == ["recipe.toml"]
    assert (out / "recipe.toml").read_text() == before


def test_run_again_nothing_is_done_again(again, finished, tmp_path, monkeypatch):
    def refuse(*arguments, **options):
        raise AssertionError("a finished stage was done again")

    for module, name in ((_context, "fit"), (_stages, "capture"), (_run, "summarise")):
        monkeypatch.setattr(module, name, refuse)
    assert again() == set()
    assert (tmp_path / "copy" / "report.json").read_bytes() == (
        finished / "report.json"
    ).read_bytes()


def test_a_lost_page_is_made_again_from_the_result_files(again, finished, tmp_path):
    assert again() == set()
    (tmp_path / "copy" / "report.html").unlink()
    assert again() == set()
    assert (tmp_path / "copy" / "report.html").read_bytes() == (
        finished / "report.html"
    ).read_bytes()


def test_a_lost_or_damaged_model_is_trained_again_alone(again, finished, tmp_path):
    again()
    path = tmp_path / "copy" / "distil" / "seed-1" / "small.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    assert again() == {"distil-1"}
    assert equal(weights(tmp_path / "copy"), weights(finished))


def test_a_changed_student_redoes_control_and_distil_alone(again):
    students = {"control-0", "control-1", "distil-0", "distil-1", "evaluate"}
    assert again("students.small.options.hidden=[9]") == students
    assert again("students.small.options.hidden=[9]", "train.epochs=2") == students


def test_a_changed_temperature_redoes_targets_and_distil_alone(again):
    done = {stage for stage in again("targets.temperature=2") if not stage.startswith("targets-")}
    assert done == {"targets", "distil-0", "distil-1", "evaluate"}  # and what was there is aside


def test_a_changed_temperature_of_the_loss_redoes_distil_alone(again):
    assert again("distil.temperature=2") == {"distil-0", "distil-1", "evaluate"}


def test_more_seeds_only_add_seeds(again, finished, tmp_path):
    assert again("seeds=3") == {"control-2", "distil-2", "evaluate"}
    more, before = weights(tmp_path / "copy"), weights(finished)
    del more["students/small/student.safetensors"], before["students/small/student.safetensors"]
    assert equal({name: more[name] for name in before}, before)


def test_a_changed_metric_measures_everything_again(again, tmp_path):
    again("data.metric=cross_entropy")
    report, _ = read_results(tmp_path / "copy")
    assert report.metric.name == "cross_entropy"
    assert report.teacher_validation is not None
    chosen = json.loads((tmp_path / "copy" / "stages" / "teacher.json").read_text())
    history = chosen["facts"]["history"]["validation"]
    assert report.teacher_validation == pytest.approx(history[-1])


def test_students_of_one_pass_become_what_each_becomes_alone(finished, tmp_path):
    both = [
        "students.wide.model=mlp",
        "students.wide.options.hidden=[12]",
        "students.wide.options.dropout=0.5",
    ]
    limbeck.run(small(tmp_path, *both), tmp_path / "both")
    alone = small(
        tmp_path, "students.small.options.hidden=[12]", "students.small.options.dropout=0.5"
    )
    limbeck.run(alone, tmp_path / "alone")
    made, wide = weights(tmp_path / "both"), weights(tmp_path / "alone")
    first = weights(finished)
    for stage in ("control", "distil"):
        for seed in (0, 1):
            folder = f"{stage}/seed-{seed}"
            for name, other in (("small", first), ("wide", wide)):
                mine = made[f"{folder}/{name}.safetensors"]
                theirs = other[f"{folder}/small.safetensors"]
                assert equal({"": mine}, {"": theirs})
    report, _ = read_results(tmp_path / "both")
    assert list(report.students) == ["small", "wide"]


def test_controls_see_labelled_samples_alone_and_students_all_in_as_many_steps(
    tmp_path, monkeypatch
):
    seen: dict[str, list[tuple[Samples, torch.Tensor, int]]] = {}

    def spy(learners, samples, settings, *, order, teach=None, **options):
        role = (
            learners[0].name if learners[0].name == "teacher" else ("distil", "control")[not teach]
        )
        seen.setdefault(role, []).append((samples, order.pool, order.length))
        fitted = fit(learners, samples, settings, order=order, teach=teach, **options)
        seen[role][-1] += (fitted.samples_seen,)
        return fitted

    monkeypatch.setattr(_context, "fit", spy)
    report = limbeck.run(small(tmp_path, "data.labelled=0.1", "seeds=1"), tmp_path / "run")
    assert report.data["labelled"] == 60
    [(taught, pool, _, steps)] = seen["control"]
    labelled = taught.labelled
    assert labelled is not None
    assert int(labelled.sum()) == 60
    assert sorted(pool.tolist()) == labelled.nonzero()[:, 0].tolist()
    [(samples, pool, _, student_steps)] = seen["distil"]
    assert sorted(pool.tolist()) == list(range(600))
    assert samples.labelled is not None
    assert samples.labelled.equal(labelled)
    assert steps == student_steps == 3 * 600
    [(shown, pool, _, _)] = seen["teacher"]
    assert len(pool) == 600
    assert shown.labelled is None or bool(shown.labelled.all())


def test_a_teacher_may_learn_from_the_labelled_samples_alone(tmp_path, monkeypatch):
    pools = {}

    def spy(learners, samples, settings, *, order, **options):
        pools.setdefault(learners[0].name, order.pool)
        return fit(learners, samples, settings, order=order, **options)

    monkeypatch.setattr(_context, "fit", spy)
    settings = ["data.labelled=60", "seeds=1", "teacher.labels=labelled"]
    limbeck.run(small(tmp_path, *settings), tmp_path / "run")
    assert len(pools["teacher"]) == 60


def test_unlabelled_samples_are_in_the_transfer_set(tmp_path):
    limbeck.run(small(tmp_path, "data.labelled=30", "seeds=1"), tmp_path / "run")
    task = load_task(small(tmp_path).data)
    targets = limbeck.TransferSet(tmp_path / "run" / "targets")
    assert len(targets.positions(task.data.train.keys)) == 600


def test_loaded_weights_teach_as_the_trained_teacher_did(finished, tmp_path):
    path = finished / "teacher" / "teacher.safetensors"
    report = limbeck.run(small(tmp_path, f'teacher.weights="{path}"'), tmp_path / "run")
    first, _ = read_results(finished)
    assert report.models["student"].score == first.models["student"].score
    assert report.teacher_validation == first.teacher_validation
    assert report.ledger.stages[0].flops == 0
    made, before = weights(tmp_path / "run"), weights(finished)
    del before["teacher/teacher.safetensors"]
    assert equal(made, before)


def test_a_live_teacher_makes_the_students_that_exact_targets_make(tmp_path):
    exact = ["targets.codec=dense32", "seeds=1"]
    limbeck.run(small(tmp_path, *exact), tmp_path / "stored")
    report = limbeck.run(small(tmp_path, *exact, "distil.live=true"), tmp_path / "live")
    assert report.targets is None
    assert not (tmp_path / "live" / "targets").exists()
    stored, live = weights(tmp_path / "stored"), weights(tmp_path / "live")
    for file, tensors in stored.items():
        for name, tensor in tensors.items():
            torch.testing.assert_close(live[file][name], tensor, atol=1e-4, rtol=1e-3)


def test_keras_models_teach_and_learn_and_begin_with_the_same_weights(tmp_path):
    recipe = small(
        tmp_path,
        "train.learning_rate=1e-9",  # what is left is what they began with
        'targets.compress="normalised"',
        *(
            f"{who}.{key}"
            for who in ("teacher", "students.small")
            for key in (
                "model=tests.pipeline.models:keras_classes",
                "options={}",
                "outputs=probabilities",
            )
        ),
    )
    limbeck.run(recipe, tmp_path / "out")
    found = weights(tmp_path / "out")
    control, student = (
        [found[f"{role}/seed-{seed}/small.safetensors"] for seed in (0, 1)]
        for role in ("control", "distil")
    )
    (name,) = [
        name for name in control[0] if name.endswith("kernel") and len(control[0][name]) == 64
    ]
    for seed in (0, 1):
        torch.testing.assert_close(control[seed][name], student[seed][name], atol=1e-6, rtol=0)
    assert not torch.allclose(control[0][name], control[1][name], atol=1e-3)


def test_a_teacher_that_gives_probabilities_teaches_normalised(tmp_path):
    settings = [
        "teacher.model=tests.pipeline.models:probable",
        "teacher.options={}",
        "teacher.outputs=probabilities",
        "targets.compress=normalised",
        "seeds=1",
        "teacher.train.epochs=15",
        "train.epochs=15",
    ]
    report = limbeck.run(small(tmp_path, *settings), tmp_path / "run")
    assert report.models["teacher"].score.mean > 0.8
    assert report.targets is not None
    assert report.targets.compress == "normalised"
    assert report.targets.agreement_with_teacher == pytest.approx(1.0, abs=0.01)
    assert report.fidelity.agreement is not None
    assert report.fidelity.agreement > 0.6


def test_top_k_targets_teach(tmp_path):
    settings = ["targets.codec=topk", "targets.codec_options.k=3", "seeds=1"]
    report = limbeck.run(small(tmp_path, *settings), tmp_path / "run")
    assert report.targets is not None
    assert report.targets.biased
    assert report.targets.bytes_per_row < report.targets.dense_bytes_per_row


def test_stored_views_are_replayed_epoch_by_epoch(tmp_path, monkeypatch):
    asked: list[int] = []

    def spy(learners, samples, settings, *, teach=None, **options):
        def listening(batch):
            asked.append(batch.view)
            return teach(batch)

        return fit(learners, samples, settings, teach=teach and listening, **options)

    monkeypatch.setattr(_context, "fit", spy)
    settings = ["targets.views=2", "data.augment.shift=1", "seeds=1"]
    report = limbeck.run(small(tmp_path, *settings), tmp_path / "run")
    assert report.targets is not None
    assert report.targets.rows == 1200
    steps = 10  # 600 samples in batches of 64
    assert asked == [0] * steps + [1] * steps + [0] * steps
