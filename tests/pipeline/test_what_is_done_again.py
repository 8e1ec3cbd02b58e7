"""A run does again what depends on what changed, and nothing else."""

import sys

import pytest

import limbeck
from limbeck._errors import StorageError
from limbeck.results import read_results
from tests.pipeline.examples import small


@pytest.fixture
def run(tmp_path, written):
    """Run the small recipe, changed; the stages that were done."""

    def again(*overrides):
        written.clear()
        limbeck.run(small(tmp_path, "seeds=1", *overrides), tmp_path / "out")
        return set(written)

    again()
    return again


def test_how_training_is_watched_moves_nothing(run):
    assert run("teacher.train.workers=1", "train.workers=1") == {"evaluate"}


def test_other_labels_are_nothing_to_a_teacher_that_saw_all_and_to_its_answers(run):
    assert run("data.labelled=0.5") == {"control-0", "distil-0", "evaluate"}
    assert run("data.labelled=0.5", "teacher.labels=labelled") >= {"teacher", "targets"}


def test_targets_are_put_aside_and_come_back(run, tmp_path):
    first, _ = read_results(tmp_path / "out")
    kept = (tmp_path / "out" / "targets" / "manifest.json").read_bytes()
    assert run("targets.temperature=2") == {"targets", "distil-0", "evaluate"}
    (aside,) = (tmp_path / "out").glob("targets-*")
    assert (aside / "manifest.json").read_bytes() == kept
    assert run() == {"distil-0", "evaluate"}  # the teacher is not asked again
    back, _ = read_results(tmp_path / "out")
    assert (tmp_path / "out" / "targets" / "manifest.json").read_bytes() == kept
    seconds = [
        next(s for s in r.ledger.stages if s.name == "targets").seconds for r in (first, back)
    ]
    assert seconds[0] == seconds[1]


def test_a_model_whose_code_changed_is_trained_again(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    source = (
        "from torch import nn\n\n\nclass Net(nn.Module):\n    def __init__(self):\n"
        "        super().__init__()\n        self.layer = nn.Linear(64, 10)\n\n"
        "    def forward(self, x):\n        return self.layer(x.flatten(1)) * {factor}\n"
    )
    path = tmp_path / "changing_model.py"
    path.write_text(source.format(factor=1))
    own = ("students.small.model=changing_model:Net", "students.small.options={}")
    assert run(*own) == {"control-0", "distil-0", "evaluate"}
    assert run(*own) == set()
    path.write_text(source.format(factor=0.25))
    assert run(*own) == {"control-0", "distil-0", "evaluate"}


def test_a_loss_whose_code_changed_is_learned_by_again(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    path = tmp_path / "changing_loss.py"
    path.write_text(
        "def squares(student_logits, teacher_logits, weight=1.0):\n"
        "    return weight * (student_logits - teacher_logits).square().sum(-1)\n"
    )
    own = ("distil.method=changing_loss:squares", "distil.options.weight=0.1")
    assert run(*own) == {"distil-0", "evaluate"}
    assert run(*own) == set()
    path.write_text(path.read_text() + "\n# changed\n")
    monkeypatch.delitem(sys.modules, "changing_loss")
    assert run(*own) == {"distil-0", "evaluate"}


def test_a_folder_of_another_recipe_is_refused(run, tmp_path):
    before = (tmp_path / "out" / "report.json").read_bytes()
    with pytest.raises(StorageError, match="holds a run of the recipe small, and this one is call"):
        run("name=other")
    assert (tmp_path / "out" / "report.json").read_bytes() == before
