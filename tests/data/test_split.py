"""Splits and labelled samples: sizes, proportions, and that they stay the same."""

from collections import Counter
from itertools import chain

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from limbeck._errors import DataError, OptionError
from limbeck.data import Cut
from limbeck.data._split import choose_labelled


def three(num, cut, classes=None, validation=None, test=None):
    return cut.three(
        list(range(num)),
        validation,
        test,
        classes=classes,
        take=lambda whole, index: [whole[i] for i in index.tolist()],
    )


@given(st.integers(10, 300), st.floats(0.05, 0.4), st.floats(0.05, 0.4), st.integers(0, 9))
def test_every_sample_is_in_one_split_and_the_sizes_are_the_fractions(num, validation, test, seed):
    parts = three(num, Cut(validation=validation, test=test, seed=seed))
    assert sorted(chain(*parts)) == list(range(num))
    train, held_validation, held_test = map(len, parts)
    assert 0 <= held_test - test * num < 1
    assert abs(held_validation - validation * (num - held_test)) <= 0.5 or held_validation == 1
    assert train >= 1


def test_the_same_seed_gives_the_same_splits_and_another_seed_others():
    first, again, other = (three(200, Cut(seed=seed)) for seed in (3, 3, 4))
    assert first == again
    assert first[2] != other[2]


def test_splits_keep_the_proportions_of_classes():
    classes = torch.tensor([0] * 100 + [1] * 60 + [2] * 40)
    _, validation, test = three(200, Cut(validation=0.25, test=0.2), classes)
    assert Counter(classes[test].tolist()) == {0: 20, 1: 12, 2: 8}
    assert Counter(classes[validation].tolist()) == {0: 20, 1: 12, 2: 8}


@pytest.mark.parametrize("seed", range(8))
def test_the_only_sample_of_a_class_is_learned_from(seed):
    classes = torch.tensor([0] * 19 + [1])
    parts = three(20, Cut(seed=seed), classes)
    assert [len(part) for part in parts] == [14, 2, 4]
    assert 19 in parts[0]


def test_counts_are_counts():
    assert [len(part) for part in three(100, Cut(validation=7, test=11))] == [82, 7, 11]


def test_splits_that_are_there_are_kept():
    train, validation, test = three(100, Cut(validation=0.1), validation=None, test=["own"])
    assert (len(train), len(validation), test) == (90, 10, ["own"])
    train, validation, test = three(100, Cut(test=0.1), validation=["own"])
    assert (len(train), validation, len(test)) == (90, ["own"], 10)
    assert three(5, Cut(), validation=["a"], test=["b"]) == (list(range(5)), ["a"], ["b"])


@pytest.mark.parametrize("value", [0, 0.0, 1.0, -0.1, 1.5, -3, True, float("nan")])
@pytest.mark.parametrize("name", ["validation", "test"])
def test_what_is_no_fraction_and_no_count_is_refused(name, value):
    with pytest.raises(OptionError, match=f"{name} must be a fraction above 0 and below 1"):
        Cut(**{name: value})


def test_a_negative_seed_is_refused():
    with pytest.raises(OptionError, match="seed must be 0 or more"):
        Cut(seed=-1)


def test_a_split_that_takes_everything_is_refused():
    with pytest.raises(DataError, match="the test split would take 9 of 9 samples"):
        three(9, Cut(test=9))
    with pytest.raises(DataError, match="the validation split would take 1 of 1 samples"):
        three(2, Cut(test=1))


# --- labelled


CLASSES = torch.from_numpy(np.random.default_rng(1).choice(5, 500, p=[0.5, 0.3, 0.15, 0.04, 0.01]))


def proportional(sizes, count):
    """Sainte-Lague's seats by the textbook: the largest of size / (2 seats + 1), one by one."""
    seats = [1] * len(sizes)
    for _ in range(count - len(sizes)):
        seats[max(range(len(sizes)), key=lambda i: sizes[i] / (2 * seats[i] + 1))] += 1
    return seats


@pytest.mark.parametrize("count", [*range(5, 40), 50, 101, 250, 500])
def test_labelled_samples_are_in_proportion_to_the_classes_and_one_of_each(count):
    sizes = torch.bincount(CLASSES).tolist()
    chosen = choose_labelled(count, 500, CLASSES, seed=0)
    assert chosen.dtype == torch.bool
    found = torch.bincount(CLASSES[chosen], minlength=5).tolist()
    assert found == proportional(sizes, count)


def test_fewer_labels_than_classes_go_to_the_largest_classes():
    chosen = choose_labelled(2, 500, CLASSES, seed=0)
    assert sorted(CLASSES[chosen].tolist()) == [0, 1]


@given(st.integers(2, 499), st.integers(0, 5), st.booleans())
def test_a_smaller_labelled_set_is_part_of_a_larger_one(count, seed, by_class):
    classes = CLASSES if by_class else None
    small = choose_labelled(count, 500, classes, seed=seed)
    large = choose_labelled(count + 1, 500, classes, seed=seed)
    assert bool((small <= large).all())
    assert int(large.sum()) - int(small.sum()) == 1


def test_a_fraction_is_rounded_to_the_nearest_sample():
    assert int(choose_labelled(0.1, 1006, None, seed=0).sum()) == 101
    assert int(choose_labelled(0.0001, 100, None, seed=0).sum()) == 1
    assert int(choose_labelled(1.0, 100, None, seed=0).sum()) == 100


def test_1_is_neither_all_nor_one():
    with pytest.raises(OptionError, match=r"a single sample\. Write 1\.0 for all of them"):
        choose_labelled(1, 100, None, seed=0)


def test_another_seed_chooses_others():
    first, again, other = (choose_labelled(50, 500, CLASSES, seed=seed) for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@pytest.mark.parametrize("amount", [0, 0.0, -1, 1.5, True, float("nan")])
def test_what_is_no_amount_is_refused(amount):
    with pytest.raises(OptionError, match="labelled must be a fraction above 0 and up to"):
        choose_labelled(amount, 10, None, seed=0)


def test_more_labels_than_samples_are_refused():
    with pytest.raises(DataError, match="at most the 10 training samples, got 11"):
        choose_labelled(11, 10, None, seed=0)
