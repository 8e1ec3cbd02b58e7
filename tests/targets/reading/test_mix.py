"""A mix of rows is the weighted mean of the distributions that they stand for."""

import math

import numpy as np
import pytest
import torch

from limbeck.signals import Dense, Head, Sparse
from limbeck.targets.codecs import Threshold
from limbeck.targets.reading._mix import _shares, log_density, mix, mixed_tail_shape

CLASSES = 7
LABEL = Head(space="categorical", size=CLASSES)
SHAPE = torch.tensor([0.3, -1.0, 2.0, 0.0, 0.5, -2.0, 1.0])


def draw(*shape, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def density(ids, probabilities, tail, shape=None):
    """What one sparse row stands for, in plain Python."""
    given = {}
    for each, value in zip(ids.tolist(), probabilities.tolist(), strict=True):
        if value > 0:
            assert each not in given, "a class is named twice"
            given[each] = value
    others = [each for each in range(CLASSES) if each not in given]
    weigh = [1.0] * CLASSES if shape is None else [math.exp(one) for one in shape.tolist()]
    total = sum(weigh[each] for each in others)
    return [
        given[each] if each in given else float(tail) * weigh[each] / total
        for each in range(CLASSES)
    ]


def densities(rows):
    if isinstance(rows, Dense):
        return rows.values.float().softmax(dim=-1).reshape(-1, CLASSES).double()
    parts = zip(
        rows.ids.flatten(0, -2), rows.probabilities.flatten(0, -2), rows.tail.flatten(), strict=True
    )
    return torch.tensor([density(*part, rows.tail_shape) for part in parts], dtype=torch.float64)


def sparse(samples, kept, seed, *, shape=None, padding=0, rows=None, drawn=False):
    """Rows whose ids come in any order; the last of them are padding of some id."""
    count = samples * (rows or 1)
    ids = draw(count, CLASSES, seed=seed).argsort(dim=-1)[:, :kept]
    probabilities = draw(count, kept, seed=seed + 100) / max(kept, 1)
    probabilities[:, kept - padding :] = 0.0
    made = Sparse(
        ids=ids.to(torch.uint8),
        probabilities=probabilities,
        tail=1 - probabilities.sum(-1),
        temperature=2.0,
        tail_shape=shape,
        drawn=draw(count, kept, seed=seed + 200) > 0.5 if drawn else None,
    )
    return made if rows is None else made.of_samples(rows)


def dense(samples, seed):
    values = torch.log_softmax(4 * draw(samples, CLASSES, seed=seed), dim=-1)
    return Dense(values=values.half(), temperature=2.0)


def weights(samples, teachers, seed=9):
    drawn = draw(samples, teachers, seed=seed)
    return drawn / drawn.sum(-1, keepdim=True)


def expected(rows, given, repeat=1):
    """The dense mix."""
    parts = [densities(each) for each in rows]
    per_row = given.double().repeat_interleave(repeat, dim=0)
    return sum(per_row[:, k, None] * part for k, part in enumerate(parts))


MEMBERS = {
    "dense": [dense(40, 1), dense(40, 2), dense(40, 3)],
    "sparse": [sparse(40, 3, 1), sparse(40, 2, 2), sparse(40, 4, 3)],
    "one shape": [sparse(40, 3, 1, shape=SHAPE), sparse(40, 2, 2, shape=SHAPE + 5)],
    "padding": [sparse(40, 4, 1, padding=2), sparse(40, 3, 2, padding=1)],
    "nothing named": [sparse(40, 2, 1, padding=2), sparse(40, 1, 2, padding=1)],
    "no entries": [sparse(40, 0, 1), sparse(40, 0, 2)],
    "one": [sparse(40, 3, 1)],
    "dense and sparse": [dense(40, 1), sparse(40, 3, 2), sparse(40, 2, 3, shape=SHAPE)],
}


@pytest.mark.parametrize("members", MEMBERS.values(), ids=MEMBERS)
def test_a_mix_is_the_dense_mix(members):
    given = weights(40, len(members))
    shape = mixed_tail_shape([getattr(one, "tail_shape", None) for one in members], given.mean(0))
    mixed = mix(members, given, LABEL, shape)
    torch.testing.assert_close(densities(mixed), expected(members, given), rtol=1e-4, atol=1e-6)
    assert mixed.temperature == 2.0


def test_named_classes_and_the_mass_of_the_tail_are_exact_whatever_the_shapes():
    members = [sparse(40, 2, 1, shape=SHAPE), sparse(40, 3, 2, shape=-SHAPE), sparse(40, 1, 3)]
    given = weights(40, 3)
    shape = mixed_tail_shape([SHAPE, -SHAPE, None], given.mean(0))
    mixed, dense_mix = mix(members, given, LABEL, shape), expected(members, given)
    named = mixed.probabilities > 0
    found = dense_mix.gather(1, mixed.ids)
    torch.testing.assert_close(mixed.probabilities[named].double(), found[named])
    torch.testing.assert_close(mixed.tail.double(), 1 - (found * named).sum(-1))


def test_the_tail_of_a_mix_has_the_weighted_mean_of_the_shapes():
    shapes, given = [SHAPE + 5, None, -SHAPE], [0.5, 0.2, 0.3]
    found = mixed_tail_shape(shapes, torch.tensor(given))
    want = [0.0] * CLASSES
    for shape, weight in zip(shapes, given, strict=True):
        odds = [1.0] * CLASSES if shape is None else [math.exp(each) for each in shape.tolist()]
        want = [one + weight * odd / sum(odds) for one, odd in zip(want, odds, strict=True)]
    assert found.softmax(0).tolist() == pytest.approx(want)


def test_a_class_is_named_once_and_in_rising_order_before_all_padding():
    mixed = mix([sparse(40, 5, 1), sparse(40, 5, 2)], weights(40, 2), LABEL, None)
    for ids, probabilities in zip(mixed.ids.tolist(), mixed.probabilities.tolist(), strict=True):
        there = [each for each, value in zip(ids, probabilities, strict=True) if value > 0]
        assert there == sorted(set(there))
        assert all(value == 0 for value in probabilities[len(there) :])
    assert mixed.ids.shape[-1] <= CLASSES


def test_a_teacher_of_weight_0_names_nothing():
    members = [sparse(40, 3, 1), sparse(40, 4, 2)]
    chosen = torch.nn.functional.one_hot(torch.arange(40) % 2, 2).float()
    mixed = mix(members, chosen, LABEL, None)
    for k, member in enumerate(members):
        ids, order = member.ids[k::2].long().sort(-1)
        kept = ids.shape[-1]
        assert mixed.ids[k::2, :kept].equal(ids)
        assert mixed.probabilities[k::2, :kept].equal(member.probabilities[k::2].gather(1, order))
        torch.testing.assert_close(mixed.tail[k::2], member.tail[k::2])
        assert not mixed.probabilities[k::2, kept:].any()


def test_an_entry_is_drawn_if_nobody_keeps_it():
    first = Sparse(
        ids=torch.tensor([[1, 2, 3, 5]]),
        probabilities=torch.tensor([[0.5, 0.2, 0.2, 0.0]]),
        tail=torch.tensor([0.3]),
        drawn=torch.tensor([[False, True, True, True]]),
    )
    second = Sparse(
        ids=torch.tensor([[2, 5]]),
        probabilities=torch.tensor([[0.6, 0.4]]),
        tail=torch.tensor([0.1]),
        drawn=torch.tensor([[False, False]]),
    )
    mixed = mix([first, second], torch.tensor([[0.5, 0.5]]), LABEL, None)
    assert mixed.ids.tolist() == [[1, 2, 3, 5]]
    assert mixed.drawn.tolist() == [[False, False, True, False]]
    torch.testing.assert_close(mixed.probabilities, torch.tensor([[0.25, 0.4, 0.1, 0.2]]))
    torch.testing.assert_close(mixed.tail, torch.tensor([0.2]))


def test_the_density_of_a_mix_of_drawn_rows_is_near_the_mean():
    sure = torch.tensor([0.9, 0.02, 0.02, 0.02, 0.02, 0.01, 0.01])  # draws what the other keeps
    other = torch.tensor([0.01, 0.9, 0.02, 0.02, 0.02, 0.02, 0.01])
    codec, seeds = Threshold(tau=0.05, levels=255), np.arange(4000, dtype=np.uint64)
    members = []
    for each in (sure, other):
        every = each.log().expand(len(seeds), -1)
        state = codec.fit([every], LABEL)
        members.append(codec.decode(codec.encode(every, LABEL, state, seeds), LABEL, state, 1.0))
    given = torch.full((len(seeds), 2), 0.5)
    shape = mixed_tail_shape([row.tail_shape for row in members], torch.tensor([0.5, 0.5]))
    mixed = mix(members, given, LABEL, shape)
    found = log_density(mixed.density, CLASSES).exp()
    torch.testing.assert_close(found.mean(dim=0), (sure + other) / 2, rtol=0, atol=0.005)
    assert (found[:, :2] > 0.4).all()


def test_a_mix_of_drawn_rows_is_right_on_average_class_by_class():
    p = [torch.tensor([0.4, 0.3, 0.1, 0.08, 0.06, 0.04, 0.02]), torch.full((CLASSES,), 1 / CLASSES)]
    codec, seeds = Threshold(tau=0.2, levels=255), np.arange(40_000, dtype=np.uint64)
    members = []
    for each in p:
        state = codec.fit([each.log()[None]], LABEL)
        every = each.log().expand(len(seeds), -1)
        members.append(codec.decode(codec.encode(every, LABEL, state, seeds), LABEL, state, 1.0))
    mixed = mix(members, torch.full((len(seeds), 2), 0.5), LABEL, members[0].tail_shape)
    read = torch.zeros(len(seeds), CLASSES).scatter_add_(1, mixed.ids.long(), mixed.probabilities)
    sigma = read.std(dim=0) / len(seeds) ** 0.5
    assert ((read.mean(dim=0) - (p[0] + p[1]) / 2).abs() <= 4 * sigma + 1e-6).all()


def test_drawn_rows_beside_others_are_their_density():
    drawn, other = sparse(40, 3, 1, drawn=True), sparse(40, 3, 2)
    given = weights(40, 2)
    for beside in (other, dense(40, 2)):
        mixed = mix([drawn, beside], given, LABEL, None)
        want = mix([drawn.density, beside], given, LABEL, None)
        assert getattr(mixed, "drawn", None) is None
        torch.testing.assert_close(densities(mixed), densities(want))
        torch.testing.assert_close(densities(mixed).sum(-1), torch.ones(40).double())


@pytest.mark.parametrize("drawn", [False, True])
def test_samples_of_several_rows_are_mixed_row_by_row(drawn):
    members = [sparse(6, kept, kept, rows=4, drawn=drawn) for kept in (3, 2)]
    given = weights(6, 2)
    mixed = mix(members, given, LABEL, None)
    assert mixed.tail.shape == (6, 4)
    by_row = mix([one.flat for one in members], given.repeat_interleave(4, dim=0), LABEL, None)
    for part in ("ids", "probabilities", "tail", *(["drawn"] if drawn else [])):
        assert getattr(mixed.flat, part).equal(getattr(by_row, part))
    if not drawn:
        torch.testing.assert_close(densities(mixed), expected(members, given, repeat=4))


def test_yes_or_no_is_the_log_odds_of_the_mean_probability():
    tags = Head(space="binary", size=3)
    values = [torch.tensor([[0.0, 30.0, -60.0]]), torch.tensor([[2.0, -30.0, -80.0]])]
    mixed = mix([Dense(values=v) for v in values], torch.tensor([[0.25, 0.75]]), tags, None)
    mean = sum(w * v.double().sigmoid() for w, v in zip((0.25, 0.75), values, strict=True))
    torch.testing.assert_close(
        mixed.values.double(), mean.log() - torch.log1p(-mean), rtol=1e-5, atol=0
    )


def test_numbers_are_averaged_as_they_are():
    place = Head(space="real", size=2)
    rows = [Dense(values=torch.tensor([[1.0, -4.0]])), Dense(values=torch.tensor([[3.0, 8.0]]))]
    mixed = mix(rows, torch.tensor([[0.25, 0.75]]), place, None)
    assert mixed.values.tolist() == [[2.5, 5.0]]


def test_a_class_that_no_teacher_allows_stays_impossible():
    never = torch.tensor([[0.0, -math.inf, -math.inf]]).log_softmax(-1)
    other = torch.tensor([[0.0, 0.0, -math.inf]]).log_softmax(-1)
    head = Head(space="categorical", size=3)
    mixed = mix([Dense(values=never), Dense(values=other)], torch.tensor([[0.5, 0.5]]), head, None)
    torch.testing.assert_close(mixed.values.exp(), torch.tensor([[0.75, 0.25, 0.0]]))


@pytest.mark.parametrize("members", [MEMBERS["dense"], MEMBERS["sparse"]], ids=["dense", "sparse"])
def test_no_samples_are_mixed_to_no_rows(members):
    none = torch.empty(0, dtype=torch.int64)
    mixed = mix([one.select(none) for one in members], torch.empty(0, len(members)), LABEL, None)
    assert len(mixed.values if isinstance(mixed, Dense) else mixed.tail) == 0


def test_classes_that_hold_nearly_all_of_a_tails_shape_leave_the_others_no_more_than_all():
    """1 less what the own classes hold rounds to 0, of which the others' shares are no multiple."""
    shape = torch.tensor([60.0, 0.0, -1.0, -2.0, 0.0, 0.0, 0.0])
    ids, own = torch.tensor([[0, 1, 2, 3]]), torch.tensor([[True, False, False, False]])
    shares = _shares(shape, ids, own, CLASSES)
    assert float(shares[0, 0]) == 0.0
    assert float(shares.sum()) <= 1 + 1e-12
    weights = [math.exp(x) for x in (0.0, -1.0, -2.0)]
    assert (shares[0, 1:] / shares[0, 1]).tolist() == pytest.approx(weights)
