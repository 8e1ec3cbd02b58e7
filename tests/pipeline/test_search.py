"""Which settings a search proposes, which it gives up, and within which bounds."""

import math
from dataclasses import replace
from itertools import pairwise
from statistics import fmean

import pytest
import torch

from limbeck._errors import StorageError
from limbeck.methods import METHODS
from limbeck.pipeline._search import Search
from limbeck.pipeline._search_space import Candidate, SearchSpace
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
