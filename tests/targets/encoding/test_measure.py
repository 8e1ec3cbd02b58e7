import math

import numpy as np
import pytest
import torch

from limbeck.signals import Dense, Head, Sparse
from limbeck.targets import Faithfulness, faithfulness, make_codec

LABEL = Head(space="categorical", size=3)


NO_SEEDS = np.zeros(1, dtype=np.uint64)


def kl(p, q):
    return sum(a * math.log(a / b) for a, b in zip(p, q, strict=True) if a > 0)


def test_kl_of_dense_rows_is_the_formulas():
    p, q = [[0.7, 0.2, 0.1], [0.1, 0.3, 0.6]], [[0.5, 0.3, 0.2], [0.4, 0.5, 0.1]]
    got = faithfulness(torch.tensor(p).log(), Dense(values=torch.tensor(q).log()), LABEL)
    want = sum(kl(*pair) for pair in zip(p, q, strict=True)) / 2
    assert got.mean_kl == pytest.approx(want, rel=1e-6)
    assert got.mean_agreement == 0.5
    assert got.difference == pytest.approx(0.5)
    assert got.rows == got.compared == 2


def test_kl_of_sparse_rows_has_the_tail_as_one_class():
    live = torch.tensor([[0.7, 0.2, 0.1]]).log()
    stored = Sparse(
        ids=torch.tensor([[0]]), probabilities=torch.tensor([[0.6]]), tail=torch.tensor([0.4])
    )
    got = faithfulness(live, stored, LABEL)
    assert got.mean_kl == pytest.approx(kl([0.7, 0.3], [0.6, 0.4]), rel=1e-5)
    assert got.mean_agreement == 1.0
    assert got.difference == pytest.approx(0.1)


def test_a_probability_stored_as_zero_is_in_the_tail():
    live = torch.tensor([[30.0, 12.0, 0.0]]).log_softmax(-1)  # the second is 1.5e-8
    codec = make_codec("topk", {"k": 2})
    stored = codec.decode(codec.encode(live, LABEL, {}, NO_SEEDS), LABEL, {}, 1.0)
    assert stored.probabilities[0, 1] == 0
    assert 0 <= faithfulness(live, stored, LABEL).mean_kl < 1e-3


def test_kl_of_binary_rows_sums_over_the_classes():
    p, q = [0.9, 0.2], [0.6, 0.7]
    head = Head(space="binary", size=2)
    stored = Dense(values=torch.tensor([q]).logit())
    got = faithfulness(torch.tensor([p]).logit(), stored, head)
    want = sum(kl([a, 1 - a], [b, 1 - b]) for a, b in zip(p, q, strict=True))
    assert got.mean_kl == pytest.approx(want, rel=1e-5)
    assert got.mean_agreement == 0.5


def test_numbers_have_a_difference_but_no_kl():
    head = Head(space="real", size=1)
    got = faithfulness(
        torch.tensor([[100.0], [0.1]]), Dense(values=torch.tensor([[90.0], [0.2]])), head
    )
    assert got.mean_kl is None
    assert got.mean_agreement is None
    assert got.difference == pytest.approx(0.1)
    assert got.rows == 2


def test_equal_rows_have_no_divergence():
    live = torch.randn(5, 2, 3).log_softmax(-1)
    got = faithfulness(live, Dense(values=live), LABEL)
    assert got.mean_kl == pytest.approx(0, abs=1e-12)
    assert (got.mean_agreement, got.rows) == (1.0, 10)


def test_sums_add_up():
    one = Faithfulness(rows=2, compared=2, kl=0.5, agreement=1.0, difference=0.1)
    other = Faithfulness(rows=3, compared=0, kl=0.0, agreement=0.0, difference=0.3)
    assert one + other == Faithfulness(rows=5, compared=2, kl=0.5, agreement=1.0, difference=0.3)


LOG_TAIL = torch.tensor([0.5, 0.3, 0.2]).log()


def test_a_shaped_tail_spreads_over_the_classes_that_are_not_named():
    live = torch.tensor([[0.7, 0.2, 0.1]]).log()
    stored = Sparse(
        # Padding has the id of a class that is named, which stays named.
        ids=torch.tensor([[0, 0]]),
        probabilities=torch.tensor([[0.6, 0.0]]),
        tail=torch.tensor([0.4]),
        tail_shape=LOG_TAIL + 7,
    )
    got = faithfulness(live, stored, LABEL)
    spread = [0.6, 0.4 * 0.3 / 0.5, 0.4 * 0.2 / 0.5]
    assert got.mean_kl == pytest.approx(kl([0.7, 0.2, 0.1], spread), rel=1e-5)
    want = sum((a - b) ** 2 for a, b in zip([0.7, 0.2, 0.1], spread, strict=True))
    assert got.mean_squared == pytest.approx(want, rel=1e-5)


def test_drawn_entries_count_as_they_are_in_the_squared_error_only():
    live = torch.tensor([[0.7, 0.2, 0.1]]).log()
    stored = Sparse(
        ids=torch.tensor([[0, 2]]),
        probabilities=torch.tensor([[0.7, 0.3]]),
        tail=torch.tensor([0.0]),
        tail_shape=LOG_TAIL,
        drawn=torch.tensor([[False, True]]),
    )
    got = faithfulness(live, stored, LABEL)
    density = [0.7, 0.3 * 0.3 / 0.5, 0.3 * 0.2 / 0.5]
    assert got.mean_kl == pytest.approx(kl([0.7, 0.2, 0.1], density), rel=1e-4)
    assert got.mean_squared == pytest.approx(0.2**2 + 0.2**2, rel=1e-5)
    assert got.difference == pytest.approx(0.02, rel=1e-4)


def test_a_class_without_mass_adds_nothing():
    live = torch.tensor([[0.5, 0.5, 0.0]]).log()
    stored = Dense(values=torch.tensor([[0.5, 0.4, 0.1]]).log())
    assert faithfulness(live, stored, LABEL).mean_kl == pytest.approx(
        kl([0.5, 0.5], [0.5, 0.4]), rel=1e-5
    )
