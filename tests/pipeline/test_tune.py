"""What a search of the basics tries, keeps and gives back."""

import json
import math
import sys
from dataclasses import replace
from statistics import fmean
from types import SimpleNamespace

import pytest

import limbeck.pipeline._tune as tuning
from limbeck._errors import ExtraError, Interrupted, OptionError, TrainingError
from limbeck._progress import Silence
from limbeck.cli._tune import _print
from limbeck.data import ArraySamples
from limbeck.metrics import METRICS
from limbeck.pipeline import run, tune
from limbeck.pipeline._search_space import Candidate
from limbeck.recipe_file import load_recipe
from tests.pipeline.examples import small
from tests.pipeline.test_search import search

# ---- in parts ------------------------------------------------------------------------------------


def test_of_the_minutes_as_many_are_left_as_the_finalists_take(tmp_path, monkeypatch):
    clock, per_pass, per_final = [0.0], 4.0, 1.0

    def scores(asked):
        clock[0] += per_pass
        return [0.5 for _ in asked]

    recipe = small(tmp_path)
    context = SimpleNamespace(recipe=recipe, task=tuning.load_task(recipe.data), progress=Silence())
    trainer = SimpleNamespace(context=context, scores=scores, seconds_of_one=per_final)
    monkeypatch.setattr(tuning, "time", SimpleNamespace(monotonic=lambda: clock[0]))
    tuning._try(search(tmp_path), trainer, None, deadline=100.0)
    finals = (tuning.FINALISTS + 3) * recipe.seeds * per_final  # own, found, and two controls
    assert 100 - per_pass < clock[0] + finals <= 100


def test_the_control_of_what_was_found_learns_as_fast_and_as_long_as_that(tmp_path):
    recipe = small(tmp_path)
    own = Candidate.of(recipe)
    found = replace(own, learning_rate=2 * own.learning_rate, epochs=2 * own.epochs)
    asked = []

    def final(what, candidate, *, from_labels=False):
        asked.append((what, candidate, from_labels))
        return tuning.Finalist(what=what, candidate=candidate, scores=[float(candidate == found)])

    trainer = SimpleNamespace(
        context=SimpleNamespace(recipe=recipe, task=tuning.load_task(recipe.data)), final=final
    )
    trials = [tuning.Trial(candidate=each, score=0.5, seen={}) for each in (own, found)]
    tuning._finals(SimpleNamespace(trials=trials), trainer)
    assert asked == [
        ("recipe", own, False),
        ("finalist 1", found, False),
        ("control recipe", own, True),
        ("control found", found, True),
    ]


@pytest.mark.parametrize(
    ("scores", "named"),
    [
        ([0.1, 0.2, 0.9, 0.3], ["found", "runner-up", "runner-up", "recipe"]),
        ([0.5, 0.2, 0.9, 0.3], ["found", "recipe", "runner-up", "runner-up"]),
        ([0.9, 0.2, 0.5, 0.3], ["recipe", "runner-up", "runner-up", "runner-up"]),
    ],
)
def test_the_best_finalist_alone_is_called_found(tmp_path, scores, named):
    recipe = small(tmp_path)
    own = Candidate.of(recipe)
    settings = [own, *(replace(own, temperature=own.temperature + n) for n in (1, 2, 3))]

    def final(what, candidate, *, from_labels=False):
        score = scores[settings.index(candidate)]
        return tuning.Finalist(what=what, candidate=candidate, scores=[score])

    trainer = SimpleNamespace(
        context=SimpleNamespace(recipe=recipe, task=tuning.load_task(recipe.data)), final=final
    )
    trials = [tuning.Trial(candidate=each, score=0.5, seen={}) for each in settings]
    finalists, _ = tuning._finals(SimpleNamespace(trials=trials), trainer)
    assert [one.what for one in finalists] == named


def test_where_lower_is_better_the_lowest_trials_are_trained_again_and_the_lowest_is_found(
    tmp_path,
):
    recipe = small(tmp_path)
    own = Candidate.of(recipe)
    settings = [replace(own, temperature=own.temperature + n) for n in range(1, 6)]
    again = {own: 0.9, **dict(zip(settings, (0.5, 0.4, 0.3, 0.2, 0.1), strict=True))}

    def final(what, candidate, *, from_labels=False):
        return tuning.Finalist(what=what, candidate=candidate, scores=[again[candidate]])

    task = SimpleNamespace(metric=METRICS["cross_entropy"])
    trainer = SimpleNamespace(context=SimpleNamespace(recipe=recipe, task=task), final=final)
    trials = [
        tuning.Trial(candidate=each, score=score, seen={})
        for each, score in zip(settings, (0.1, 0.2, 0.3, 0.4, 0.5), strict=True)
    ]
    finalists, _ = tuning._finals(SimpleNamespace(trials=trials), trainer)
    assert [one.candidate for one in finalists] == [*reversed(settings[:3]), own]


def test_what_was_given_up_has_no_score(tmp_path):
    found = search(tmp_path)
    asked = found.ask(2)
    asked[1].given_up = True
    tuning._try_together(found, asked, SimpleNamespace(scores=lambda asked: [0.5, 0.9]))
    assert [one.score for one in found.trials] == [0.5, None]


def test_what_is_tried_is_balanced_as_the_recipe_says_and_controls_are_not(tmp_path):
    recipe = small(tmp_path, "distil.balance=7")
    context = tuning.Context(recipe, tmp_path / "run", tuning.load_task(recipe.data), Silence())
    lecture = SimpleNamespace(teacher=None, teach=None, depends=[])
    trainer = tuning._Trainer(context, "small", lecture)
    balance = {role: trainer._learner(role, (), 0, role).balance for role in ("distil", "control")}
    assert balance == {"distil": 7, "control": None}


# ---- whole ---------------------------------------------------------------------------------------


@pytest.fixture
def fits(monkeypatch):
    """Each training of students, in order: its stage, seed, terms and samples."""
    seen, fit = [], tuning.Context.fit

    def watched(self, stage, name, learners, settings, seed, who, **how):
        if stage != "teacher":
            terms = [{term.name for term in learner.objective} for learner in learners]
            seen.append((stage, seed, terms, who))
        return fit(self, stage, name, learners, settings, seed, who, **how)

    monkeypatch.setattr(tuning.Context, "fit", watched)
    return seen


def test_finalists_have_seeds_that_neither_trials_nor_a_verdict_have(tmp_path, fits):
    tune(small(tmp_path), tmp_path / "run", trials=1)
    trials = {seed for stage, seed, *_ in fits if stage == "tune"}
    finals = {seed for stage, seed, *_ in fits if stage != "tune"}
    assert len(finals) == 2
    assert not finals & trials
    assert min(finals | trials) > 1000  # more seeds than any recipe has


def test_each_sees_the_samples_that_it_would_see_in_a_run(tmp_path, fits):
    few = small(tmp_path, "seeds=1", "data.labelled=0.3", "distil.method=teacher_free")
    tune(few, tmp_path / "run", trials=4)
    trials, finals = ([one for one in fits if (one[0] == "tune") == flag] for flag in (True, False))
    assert [(len(terms), who) for _, _, terms, who in trials] == [(1, "labelled"), (3, "taught")]
    own, *found, control = finals
    assert own[-1] == control[-1] == "labelled"
    assert control[2] == [{"hard"}]
    assert {who for *_, who in found} == {"taught"}


def test_branches_that_learn_without_labels_show_a_student_every_sample(tmp_path, fits):
    branches = 'distil.branches={taps = ["layers.2"]}'
    labels = ("data.labelled=0.3", "distil.method=teacher_free", "seeds=1")
    tune(small(tmp_path, *labels, branches), tmp_path / "run", trials=1)
    assert [who for *_, who in fits] == ["taught", "taught", "labelled"]


@pytest.mark.parametrize(
    ("controls", "helps"), [((0.3, 0.4), True), ((0.3, 0.6), False), ((0.6, 0.3), False)]
)
def test_it_helps_only_where_it_beats_each_control(tmp_path, monkeypatch, controls, helps):
    recipe = small(tmp_path)
    found, *others = (
        tuning.Finalist(what="found", candidate=Candidate.of(recipe), scores=[score])
        for score in (0.5, *controls)
    )
    monkeypatch.setattr(tuning, "_try", lambda *search: None)
    monkeypatch.setattr(tuning, "_finals", lambda *search: ([found], others))
    assert tune(recipe, tmp_path / "run", trials=1).helps == helps


def test_a_recipe_that_does_not_validate_is_looked_at_each_quarter_all_the_same(tmp_path):
    unseen = small(tmp_path, "train.validate_every=0", "train.epochs=4", "seeds=1")
    (trial,) = tune(unseen, tmp_path / "run", trials=1).trials
    assert list(trial.seen) == [1, 2, 3]


@pytest.fixture(scope="module")
def tuned(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tuned")
    recipe = small(folder)
    return recipe, folder / "run", tune(recipe, folder / "run", trials=6)


@pytest.mark.parametrize("helps", [True, False])
def test_that_labels_alone_are_better_is_said(tuned, capsys, helps):
    _print(replace(tuned[2], helps=helps))
    assert ("Nothing that was tried is better" in capsys.readouterr().out) != helps


def test_it_ends_with_a_recipe_that_runs_and_goes_on_from_what_is_there(tuned):
    recipe, out, found = tuned
    assert len(found.trials) == 6
    assert Candidate.of(found.recipe) == found.finalists[0].candidate
    controls = [fmean(control.scores) for control in found.controls]
    assert found.helps == (fmean(found.finalists[0].scores) > max(controls))
    read = load_recipe(str(found.path))
    assert read == found.recipe
    assert (
        found.recipe.model_copy(update={"distil": recipe.distil, "train": recipe.train}) == recipe
    )
    teacher = (out / "stages" / "teacher.json").read_text()
    report = run(read, out)
    assert report.verdict.outcome in ("helped", "hurt", "not shown")
    assert (out / "stages" / "teacher.json").read_text() == teacher  # not trained again
    assert json.loads((out / "tune.json").read_text())["trials"][0]["method"] == "soft_targets"
    assert found.page.is_file()


def test_finalists_have_the_recipes_seeds_and_the_recipes_own_is_among_them(tuned):
    recipe, _, found = tuned
    means = [one.mean for one in found.finalists]
    assert means == sorted(means, reverse=True)
    assert all(len(one.scores) == recipe.seeds for one in (*found.finalists, *found.controls))
    assert [one.candidate for one in found.finalists if one.what == "recipe"] == [
        Candidate.of(recipe)
    ]
    assert found.controls[0].candidate == Candidate.of(recipe)
    tried = [one.candidate for one in found.trials if one.score is not None]
    assert all(one.candidate in tried for one in found.finalists)


def test_done_already_it_trains_nothing_and_with_more_trials_it_goes_on(tuned, monkeypatch):
    recipe, out, found = tuned
    passes = []
    trained = tuning._Trainer.scores

    def counted(self, asked):
        passes.append(len(asked))
        return trained(self, asked)

    def never(*arguments, **options):
        raise AssertionError("trained again")

    monkeypatch.setattr(tuning._Trainer, "scores", counted)
    with monkeypatch.context() as patch:
        patch.setattr(tuning.Context, "fit", never)
        again = tune(recipe, out, trials=6)
    assert again.finalists == found.finalists
    assert again.trials == found.trials
    more = tune(recipe, out, trials=7)
    assert passes == [1]
    assert more.trials[:6] == found.trials


def test_the_test_data_are_not_looked_at(tmp_path, monkeypatch):
    recipe = small(tmp_path, "seeds=1", "data.limit=200")
    test = tuning.load_task(recipe.data).data.test
    wanted = {int(key) for key in test.keys}
    asked = []
    fetch = ArraySamples.fetch

    def watched(self, index, view=0):
        asked.extend(int(key) for key in self.keys[index.numpy()])
        return fetch(self, index, view)

    monkeypatch.setattr(tuning, "check_parts", lambda *parts: None)  # it calls models with some
    monkeypatch.setattr(ArraySamples, "fetch", watched)
    tune(recipe, tmp_path / "run", trials=2)
    assert asked
    assert not wanted & set(asked)


def test_a_setting_that_does_not_stay_finite_is_given_up_and_the_others_are_tried(
    tmp_path, monkeypatch
):
    trained = tuning._Trainer.scores

    def breaks(self, asked):
        if any(one.candidate.method == "soft_targets" for one in asked):
            raise TrainingError("the loss is nan")
        return trained(self, asked)

    monkeypatch.setattr(tuning._Trainer, "scores", breaks)
    found = tune(small(tmp_path, "seeds=1"), tmp_path / "run", trials=4)
    for one in found.trials:
        assert (one.score is None) == (one.candidate.method == "soft_targets")


def test_a_finalist_that_does_not_stay_finite_with_every_seed_is_left_out(tmp_path, monkeypatch):
    once = tuning._Trainer._once

    def breaks(self, what, candidate, number, from_labels):
        if what.startswith("finalist") and number == 1:
            raise TrainingError("the loss is nan")
        return once(self, what, candidate, number, from_labels)

    monkeypatch.setattr(tuning._Trainer, "_once", breaks)
    found = tune(small(tmp_path), tmp_path / "run", trials=3)
    assert [one.what for one in found.finalists] == ["recipe"]
    monkeypatch.setattr(tuning._Trainer, "final", lambda *asked, **how: None)
    with pytest.raises(TrainingError, match="no setting stayed finite"):
        tune(small(tmp_path), tmp_path / "run", trials=3)


def test_stopped_it_says_what_is_kept_and_goes_on_from_there(tmp_path, monkeypatch):
    trained, passes = tuning._Trainer.scores, []

    def stops(self, asked):
        passes.append(len(asked))
        if len(passes) == 2:
            raise Interrupted("stopped in trying. Nothing was kept.")
        return trained(self, asked)

    monkeypatch.setattr(tuning._Trainer, "scores", stops)
    recipe = small(tmp_path, "seeds=1")
    with pytest.raises(Interrupted, match=r"The 4 settings .* are kept: run the same command"):
        tune(recipe, tmp_path / "run", trials=6)
    assert len(tune(recipe, tmp_path / "run", trials=6).trials) == 6
    assert passes == [4, 2, 2]


def test_stopped_after_its_minutes_it_goes_on_with_the_finalists(tmp_path, monkeypatch):
    once, tries, searched = tuning._Trainer._once, tuning._try_until, []

    def stops(self, *asked):
        raise Interrupted("stopped in a finalist.")

    def counted(search, trainer, bounds, begun):
        searched.append(bounds.minutes)
        tries(search, trainer, bounds, begun)

    monkeypatch.setattr(tuning, "_try_until", counted)

    recipe = small(tmp_path, "seeds=1")
    monkeypatch.setattr(tuning._Trainer, "_once", stops)
    with pytest.raises(Interrupted, match="in a finalist"):
        tune(recipe, tmp_path / "run", minutes=1e-6)
    monkeypatch.setattr(tuning._Trainer, "_once", once)
    again = tune(recipe, tmp_path / "run", minutes=1e-6)
    assert searched == [1e-6]  # in the first call alone
    assert len(again.trials) == tuning.TOGETHER
    more = tune(recipe, tmp_path / "run", trials=tuning.TOGETHER + 1)
    assert len(more.trials) == tuning.TOGETHER + 1


def test_a_time_that_is_over_still_leaves_a_recipe(tmp_path):
    found = tune(small(tmp_path, "seeds=1"), tmp_path / "run", minutes=1e-6)
    assert len(found.trials) == tuning.TOGETHER
    assert found.path.is_file()


@pytest.mark.parametrize(
    ("how", "overrides", "said"),
    [
        ({}, [], "say how long to search: --trials 40, or --minutes 10"),
        ({"trials": 0}, [], "trials must be 1 or more, got 0"),
        ({"minutes": 0.0}, [], "minutes must be above 0, got 0"),
        ({"minutes": math.nan}, [], "minutes must be above 0, got nan"),
        ({"trials": 1}, ["distil.live=true"], r"Set distil\.live = false"),
        ({"trials": 1}, ["students.other.model=mlp"], "the recipe has small, other"),
    ],
)
def test_what_cannot_be_searched_is_refused_before_anything_is_made(tmp_path, how, overrides, said):
    with pytest.raises(OptionError, match=said):
        tune(small(tmp_path, *overrides), tmp_path / "run", **how)
    assert not (tmp_path / "run").exists()


def test_without_optuna_it_says_how_to_get_it_before_anything_is_made(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(ExtraError, match=r"pip install 'limbeck\[tune\]'"):
        tune(small(tmp_path), tmp_path / "run", trials=1)
    assert not (tmp_path / "run").exists()
