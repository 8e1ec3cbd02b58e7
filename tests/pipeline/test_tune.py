"""What a search of the basics tries, keeps and gives back."""

import json
import math
import sys
from dataclasses import replace
from itertools import pairwise
from statistics import fmean
from types import SimpleNamespace

import pytest
import torch

import limbeck.pipeline._tune as tuning
from limbeck._errors import ExtraError, Interrupted, OptionError, StorageError, TrainingError
from limbeck._progress import Silence
from limbeck.cli._tune import _print
from limbeck.data import ArraySamples
from limbeck.methods import METHODS
from limbeck.metrics import METRICS
from limbeck.pipeline import run, tune
from limbeck.pipeline._search import Search
from limbeck.pipeline._search_space import Candidate, SearchSpace
from limbeck.recipe_file import load_recipe
from limbeck.signals import Dense, Head, Sparse
from tests.pipeline.examples import small

HEAD = Head(space="categorical", size=10)
DENSE = {"label": Dense(values=torch.zeros(1, 10))}
OWN = Candidate(
    method="soft_targets",
    temperature=4.0,
    hard_weight=0.0,
    soft_weight=1.0,
    learning_rate=0.01,
    epochs=8,
)
SPACE = SearchSpace(
    methods=["soft_targets", "dkd"],
    temperature=(1.0, 12.0),
    learning_rate=(0.0025, 0.04),
    epochs=[4, 8, 16],
)


def search(folder, **changed):
    how = {"higher_is_better": True, "own": OWN} | changed
    return Search(folder / "search.json", SPACE, **how)


def within(candidate, space, own):
    return candidate == own or (
        candidate.method in space.methods
        and space.temperature[0] <= candidate.temperature <= space.temperature[1]
        and space.hard_weight[0] <= candidate.hard_weight <= space.hard_weight[1]
        and candidate.soft_weight == 1 - candidate.hard_weight
        and space.learning_rate[0] <= candidate.learning_rate <= space.learning_rate[1]
        and candidate.epochs in space.epochs
    )


# ---- the search ----------------------------------------------------------------------------------


def test_the_recipes_own_setting_comes_first_and_all_of_a_pass_share_rate_and_length(tmp_path):
    asked = search(tmp_path).ask(4)
    assert asked[0].candidate == OWN
    assert {(one.candidate.learning_rate, one.candidate.epochs) for one in asked} == {(0.01, 8)}
    assert len({one.candidate for one in asked}) == 4
    assert all(within(one.candidate, SPACE, OWN) for one in asked)


def test_a_search_learns_what_is_better(tmp_path):
    found = search(tmp_path)
    for _ in range(15):
        for one in found.ask(4):
            near = -abs(math.log(one.candidate.temperature / 3))
            found.tell(one, near + (one.candidate.method == "dkd"))
    late = [one.candidate for one in found.trials[-20:]]
    assert sum(one.method == "dkd" for one in late) >= 15
    near = sorted(abs(math.log(one.temperature / 3)) for one in late)
    assert near[10] < 0.5  # of a uniform draw half lie beyond .7


def test_settings_of_one_pass_lie_apart_even_where_one_place_is_best(tmp_path):
    found, gaps = search(tmp_path), []
    for _ in range(10):
        asked = found.ask(4)
        for one in asked:
            found.tell(one, -abs(math.log(one.candidate.temperature / 3)))
        tried = sorted(math.log(one.candidate.temperature) for one in asked)
        gaps.append(min(after - before for before, after in pairwise(tried)))
    assert fmean(gaps[3:]) > 0.05  # the first eight are drawn at random


def test_a_search_goes_on_and_what_was_stopped_counts_for_nothing(tmp_path):
    first = search(tmp_path)
    for one, score in zip(first.ask(3), (0.5, 0.7, None), strict=True):
        first.tell(one, score)
    first.ask(2)  # stopped here
    again = search(tmp_path)
    assert [one.score for one in again.trials] == [0.5, 0.7, None]
    assert again.trials == first.trials
    (asked,) = again.ask(1)
    assert asked.candidate != OWN
    again.tell(asked, 0.6)
    assert search(tmp_path).trials == again.trials
    assert len(again.trials) == 4


@pytest.mark.parametrize("content", [b"{", b"[1]", b"[" * 100_000, b'[{"score": 1}]'])
def test_a_damaged_file_of_a_search_is_named_with_the_way_out(tmp_path, content):
    (tmp_path / "search.json").write_bytes(content)
    with pytest.raises(StorageError, match=r"search\.json is damaged .* Delete it"):
        search(tmp_path)


@pytest.mark.parametrize("higher", [True, False])
def test_at_each_quarter_the_worse_half_may_be_given_up(tmp_path, higher):
    found = search(tmp_path, higher_is_better=higher)
    for one in found.ask(4):
        for epoch in range(1, 9):
            assert one.goes_on([0.5] * epoch)  # nothing to compare the first ones with
        found.tell(one, 0.5)
    for again in (found, search(tmp_path, higher_is_better=higher)):  # what was read, too
        good, bad = again.ask(2)
        quarter = math.ceil(good.candidate.epochs / 4)
        better, worse = (0.9, 0.1) if higher else (0.1, 0.9)
        assert all(bad.goes_on([worse] * epoch) for epoch in range(1, quarter))
        assert not bad.goes_on([worse] * quarter)
        assert bad.given_up
        assert bad.seen == {1: worse}
        assert good.goes_on([better] * quarter)
        assert not good.given_up


def test_a_search_that_goes_on_draws_what_it_has_not_drawn(tmp_path):
    first = search(tmp_path)
    for one in first.ask(4):
        first.tell(one, 0.5)
    drawn = set()
    for _ in range(3):
        again = search(tmp_path)
        (asked,) = again.ask(1)
        again.tell(asked, 0.5)
        drawn.add(asked.candidate)
    assert len(drawn) == 3


def test_a_score_that_was_not_measured_gives_nothing_up(tmp_path):
    found = search(tmp_path)
    assert all(one.goes_on([None] * epoch) for one in found.ask(1) for epoch in range(1, 9))


def tell_one(found, scores):
    """Try one candidate to its end, unless it is given up; `scores` by quarter."""
    (one,) = found.ask(1)
    epochs = one.candidate.epochs
    goes_on = [
        one.goes_on([scores[(done - 1) * 4 // epochs]] * done) for done in range(1, 1 + epochs)
    ]
    found.tell(one, scores[-1])
    return one, all(goes_on)


def test_the_first_four_are_not_given_up_and_none_is_at_its_end(tmp_path):
    found = search(tmp_path)
    for score in (0.9, 0.1, 0.1, 0.1):
        assert tell_one(found, [score] * 4)[1]
    one, goes_on = tell_one(found, [0.5, 0.5, 0.5, 0.0])
    assert goes_on
    assert one.seen == {1: 0.5, 2: 0.5, 3: 0.5}


@pytest.mark.filterwarnings("error")
def test_a_pass_that_is_done_again_counts_as_it_was_seen_first(tmp_path):
    (one,) = search(tmp_path).ask(1)
    assert one.goes_on([0.5, 0.5])
    assert one.goes_on([0.5, 0.7])
    assert one.seen == {1: 0.5}


def test_the_recipes_own_setting_may_lie_outside_of_what_is_searched(tmp_path):
    own = replace(OWN, temperature=30.0, epochs=7, method="dist")
    found = search(tmp_path, own=own)
    found.tell(*found.ask(1), 0.5)
    again = search(tmp_path, own=own)
    assert again.trials[0].candidate == own
    assert within(again.ask(1)[0].candidate, SPACE, own)


def test_temperatures_are_drawn_evenly_in_their_logarithm(tmp_path):
    drawn = [one.candidate.temperature for one in search(tmp_path).ask(200)[1:]]
    # Half of them; of those that are drawn evenly in themselves a fifth would be.
    assert sum(each < math.sqrt(12) for each in drawn) > 0.4 * len(drawn)


# ---- what may be tried ---------------------------------------------------------------------------


def space(recipe, rows=DENSE, heads=(HEAD,), every_label=True):
    return SearchSpace.of(recipe, heads, rows, every_label=every_label)


def test_the_bounds_lie_around_the_recipe(tmp_path):
    found = space(small(tmp_path, "train.learning_rate=0.02", "train.epochs=5"))
    assert found.learning_rate == pytest.approx((0.005, 0.08))
    assert found.epochs == [3, 5, 10]
    assert found.temperature == (1.0, 12.0)
    assert found.hard_weight == (0.0, 0.9)
    assert {"soft_targets", "dkd", "dist"} <= set(found.methods)
    assert all(METHODS[name].from_teacher for name in found.methods)


def test_rows_that_name_some_classes_have_one_temperature_and_fewer_methods(tmp_path):
    some = torch.zeros(1, 2)
    rows = {
        "label": Sparse(ids=some.int(), probabilities=some + 0.5, tail=some[:, 0], temperature=2.0)
    }
    found = space(small(tmp_path, "targets.temperature=2.0"), rows)
    assert found.temperature == (2.0, 2.0)
    assert "dist" not in found.methods
    assert "soft_targets" in found.methods


def test_of_several_heads_one_of_classes_has_a_temperature_that_all_rows_must_be_read_at(tmp_path):
    heads = tuple(replace(HEAD, name=name) for name in ("animal", "plant"))
    number = Head(name="size", space="real", size=1)
    some = torch.full((1, 2), 0.4)
    dense = {head.name: Dense(values=torch.zeros(1, 10)) for head in heads}
    named = Sparse(ids=torch.tensor([[0, 1]]), probabilities=some, tail=some[:, 0] / 2)
    rows = {"size": Dense(values=torch.zeros(1, 1)), "animal": dense["animal"]}
    assert space(small(tmp_path), rows, (number, heads[0])).temperature == (1.0, 12.0)
    found = space(small(tmp_path, "targets.temperature=1.0"), dense | {"plant": named}, heads)
    assert found.temperature == (1.0, 1.0)


def test_numbers_have_the_methods_for_numbers(tmp_path):
    head = Head(space="real", size=1)
    found = space(small(tmp_path), {"label": Dense(values=torch.zeros(1, 1))}, (head,))
    assert "soft_targets" in found.methods
    assert "dkd" not in found.methods
    assert found.temperature[0] == found.temperature[1]


def test_with_few_labels_no_method_is_tried_that_would_leave_the_others(tmp_path):
    every, few = (space(small(tmp_path), every_label=flag) for flag in (True, False))
    assert "nkd" in every.methods
    assert not any(METHODS[name].with_labels for name in few.methods)


def test_a_setting_put_in_a_recipe_is_read_back_from_it(tmp_path):
    recipe = small(tmp_path, "distil.method=dkd", "distil.options.beta=2.0")
    weights = {"hard_weight": 0.25, "soft_weight": 0.75}
    other = replace(OWN, method="dkd", temperature=3.0, **weights)
    assert Candidate.of(other.put_in(recipe)) == other
    assert other.put_in(recipe).distil.options == {"beta": 2.0}
    assert replace(other, method="dist").put_in(recipe).distil.options == {}


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
