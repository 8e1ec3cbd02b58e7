"""A student of a recipe that has branches."""

import json

import pytest

import limbeck
from limbeck._errors import LimbeckError
from limbeck.doctor import examine
from limbeck.pipeline import _chain as chain
from limbeck.pipeline import tune
from limbeck.pipeline._context import Context
from limbeck.pipeline._stages import distil_words
from limbeck.recipe_file import load_recipe, to_toml
from tests.pipeline.examples import equal, small, weights

SHORT = (
    "seeds=1",
    "data.limit=200",
    "teacher.train.epochs=1",
    "train.epochs=1",
    "students.small.options={hidden = [12, 8]}",
)
BRANCHES = 'distil.branches={taps = ["layers.2"], feature_weight = 0.1, features = "layers.4"}'
LABELS = ("distil.soft_weight=0", "distil.hard_weight=1", "data.labelled=0.3")


def stages_of(out):
    return {
        name: json.loads((out / "stages" / f"{name}-0.json").read_text("utf-8"))
        for name in ("control", "distil")
    }


def terms_of(stages, who="small"):
    return {name: set(one["facts"]["histories"][who]["terms"]) for name, one in stages.items()}


def test_a_student_learns_from_labels_with_its_branches_which_are_not_kept(tmp_path, written):
    limbeck.run(small(tmp_path, *SHORT, *LABELS, BRANCHES), tmp_path / "run")
    own = {"branches hard", "branches soft", "branches feature"}
    assert terms_of(stages_of(tmp_path / "run")) == {"control": {"hard"}, "distil": {"hard"} | own}
    made = weights(tmp_path / "run")
    student, control = (made[f"{who}/seed-0/small.safetensors"] for who in ("distil", "control"))
    assert student.keys() == control.keys()
    assert not equal({"": student}, {"": control})
    written.clear()
    again = BRANCHES.replace("0.1", "0.2")
    limbeck.run(small(tmp_path, *SHORT, *LABELS, again), tmp_path / "run")
    assert set(written) == {"distil-0", "evaluate"}


def test_without_a_teacher_and_live_nothing_is_asked_or_stored(tmp_path, monkeypatch):
    def never(batch):
        raise AssertionError("asked")

    monkeypatch.setattr(chain, "teach_live", lambda context, teacher: never)
    recipe = small(tmp_path, *SHORT, *LABELS, BRANCHES, "distil.live=true")
    limbeck.run(recipe, tmp_path / "run")
    assert not (tmp_path / "run" / "targets").exists()


def test_they_go_beside_a_teacher_an_average_and_other_students(tmp_path):
    others = ("students.twin={model = 'mlp', options = {hidden = [12, 8]}}", "distil.ema={}")
    recipe = small(tmp_path, *SHORT, BRANCHES, *others, "distil.mutual_weight=1")
    limbeck.run(recipe, tmp_path / "run")
    own = {"branches hard", "branches soft", "branches feature"}
    for who in ("small", "twin"):
        terms = terms_of(stages_of(tmp_path / "run"), who)
        assert terms["distil"] == {"soft", "mutual", "ema"} | own


def test_they_go_beside_features_of_a_teacher(tmp_path):
    taps = 'distil.taps=[{student = "layers.2", teacher = "layers.2"}]'
    recipe = small(tmp_path, *SHORT, BRANCHES, "distil.method=fitnets", taps)
    limbeck.run(recipe, tmp_path / "run")
    found = terms_of(stages_of(tmp_path / "run"))["distil"]
    assert found == {"soft", "features", "branches hard", "branches soft", "branches feature"}


def test_what_was_made_without_them_or_before_there_were_any_stays(tmp_path, written):
    assert "branches" not in distil_words(small(tmp_path))
    assert "branches" in distil_words(small(tmp_path, BRANCHES))
    limbeck.run(small(tmp_path, *SHORT), tmp_path / "run")
    written.clear()
    limbeck.run(small(tmp_path, *SHORT, BRANCHES), tmp_path / "run")
    assert set(written) == {"distil-0", "evaluate"}


def test_samples_without_a_label_are_seen_where_the_last_answer_teaches_and_only_there(tmp_path):
    seen = {}
    for weight in ("0.033", "0"):
        only = f'distil.branches={{taps = ["layers.2"], soft_weight = {weight}}}'
        limbeck.run(small(tmp_path, *SHORT, *LABELS, only), tmp_path / weight)
        seen[weight] = weights(tmp_path / weight)["distil/seed-0/small.safetensors"]
    assert not equal({"": seen["0.033"]}, {"": seen["0"]})


REFUSED = [
    (["distil.branches={}"], "distil.branches.taps is missing"),
    (["distil.branches={taps = []}"], "distil.branches.taps: list should have at least 1 item"),
    (
        ['distil.branches={taps = ["layers.2", "layers.2"]}'],
        "taps of branches must be different modules, got ['layers.2', 'layers.2']",
    ),
    (
        ['distil.branches={taps = ["layers.2"], hard_weight = 0, soft_weight = 0}'],
        "of branches are all 0: they learn nothing. Set one of them above 0",
    ),
    (
        ['distil.branches={taps = ["layers.2"], feature_weight = 1}'],
        "got feature_weight = 1 and no features. Set both, or leave both out",
    ),
    (
        ['distil.branches={taps = ["layers.2"], features = "layers.4"}'],
        'got feature_weight = 0 and features = "layers.4". Set both, or leave both out',
    ),
    (
        ['distil.branches={taps = ["layers.2"], temperature = -1}'],
        "distil.branches.temperature: input should be greater than 0, got -1",
    ),
    (
        ['distil.branches={taps = ["layers.2"], hard_weight = -1}'],
        "distil.branches.hard_weight: input should be greater than or equal to 0, got -1",
    ),
    (
        ['distil.branches={taps = ["layers.2"], weight = 1}'],
        "there is no key distil.branches.weight. Did you mean soft_weight?",
    ),
    (
        ['distil.branches={taps = ["layer.2"]}'],
        "student small has no module 'layer.2' to tap. Did you mean layers.2?",
    ),
    (
        ['distil.branches={taps = ["layers.2"], feature_weight = 1, features = "deep"}'],
        "student small has no module 'deep' to tap.",
    ),
    (
        ['distil.branches={taps = ["layers.0"]}'],
        "what the module 'layers.0' of student small gives has no gradient",
    ),
    (
        [BRANCHES, "distil.soft_weight=0"],
        "leave the last layer of the students nothing to learn but what they say themselves",
    ),
    (
        [BRANCHES, "assistants.middle={model = 'mlp', options = {hidden = [16]}}"],
        "distil.branches are on modules of the students, who alone learn by them, and assistants",
    ),
    ([BRANCHES, "distil.generations=2"], "and distil.generations has others learn as they do"),
    (
        [BRANCHES, "distil.live=true", "distil.mixup=true"],
        "learn from labels, hard_weight = 0.7. Set distil.branches.hard_weight = 0.",
    ),
]


@pytest.mark.parametrize(("overrides", "said"), REFUSED)
def test_what_does_not_fit_is_refused_before_anything_is_made(tmp_path, overrides, said):
    with pytest.raises(LimbeckError) as error:
        limbeck.run(small(tmp_path, *SHORT, *overrides), tmp_path / "out")
    assert said in str(error.value)
    assert not (tmp_path / "out").exists()


def test_doctor_shows_their_modules_and_losses(tmp_path):
    found = examine(small(tmp_path, *SHORT, *LABELS, BRANCHES))
    assert found.faults == []
    tables = {title: rows for title, _, rows in found.tables}
    assert [[who, path, shape, what] for who, path, shape, _, what in tables["Branches"]] == [
        ["student small", "layers.2", "(64, 12)", "a branch"],
        ["student small", "layers.4", "(64, 8)", "features for the branches"],
    ]
    rows = {name: weight for who, name, weight, *_ in tables["Loss terms"] if "student" in who}
    assert rows == {
        "hard": "1",
        "branches hard": "0.7",
        "branches soft": "0.033",
        "branches feature": "0.1",
    }
    # 12 to 16 to 16, each normalised; ten classes; eight features
    learned = 12 * 16 + 16 + 32 + 16 * 16 + 16 + 32 + 16 * 10 + 10 + 16 * 8 + 8
    note = f"Beside student small its branches train {learned:,} weights"
    assert any(note in one for one in found.notes)


def test_doctor_says_by_which_key_a_branch_drowns_another_loss(tmp_path):
    strong = 'distil.branches={taps = ["layers.2"], hard_weight = 1e6}'
    found = examine(small(tmp_path, *SHORT, *LABELS, strong))
    (text, *_) = [one for one in found.warnings if "branches hard" in one and "hard loss" in one]
    assert "distil.branches.hard_weight or distil.hard_weight" in text


def test_a_search_trains_candidates_with_their_branches_and_controls_without(tmp_path, monkeypatch):
    pytest.importorskip("optuna")
    learned, fit = [], Context.fit

    def watched(self, stage, name, learners, *arguments, **how):
        learned.extend({term.name for term in one.objective} for one in learners)
        return fit(self, stage, name, learners, *arguments, **how)

    monkeypatch.setattr(Context, "fit", watched)
    out = tmp_path / "out"
    tune(small(tmp_path, *SHORT, "distil.hard_weight=0.5", BRANCHES), out, trials=1)
    assert load_recipe(str(out / "tuned.toml")).distil.branches is not None
    teacher, *candidates = learned
    assert teacher == {"hard"}
    controls = [names for names in candidates if names == {"hard"}]
    others = [names for names in candidates if names not in controls]
    assert len(controls) >= 1
    assert len(others) >= 2
    assert all("branches soft" in names for names in others)


def test_they_are_written_and_read_again(tmp_path):
    recipe = small(tmp_path, BRANCHES)
    path = tmp_path / "again.toml"
    path.write_text(to_toml(recipe), encoding="utf-8")
    assert load_recipe(str(path)) == recipe
