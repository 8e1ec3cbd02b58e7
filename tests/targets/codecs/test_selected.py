import gc
import math
import weakref
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pyarrow as pa
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from limbeck._errors import OptionError
from limbeck.signals import Head, Sparse
from limbeck.targets import make_codec
from limbeck.targets.codecs import Selected, _selected
from limbeck.targets.codecs._selection import least_costly


def head_of(size):
    return Head(space="categorical", size=size)


def distributions(rows, size, spread, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return (torch.randn(rows, size, generator=generator) * spread).log_softmax(-1)


def confusable(rows, size=100, seed=0):
    """Classes in families of five, of which a teacher confuses those of one."""
    generator = torch.Generator().manual_seed(seed)
    centres = torch.randn(size // 5, 16, generator=torch.Generator().manual_seed(1))
    own = torch.randn(size, 16, generator=torch.Generator().manual_seed(2)) * 0.4
    classes = centres.repeat_interleave(5, 0) + own
    label = torch.randint(size, (rows,), generator=generator)
    sample = classes[label] + 0.4 * torch.randn(rows, 16, generator=generator)
    return (-(sample[:, None] - classes).square().sum(-1)).log_softmax(-1)


def encoded(codec, values, state=None):
    head = head_of(values.shape[-1])
    state = codec.fit([values], head) if state is None else state
    arrays = codec.encode(values, head, state, np.zeros(len(values), dtype=np.uint64))
    assert codec.fault(arrays, head) is None
    return arrays, codec.decode(arrays, head, state, 1.0)


def dense(rows, size):
    """Every probability: the named ones, and the tail spread by its shape."""
    named = torch.zeros(len(rows.ids), size, dtype=torch.float64)
    named.scatter_add_(-1, rows.ids.long(), rows.probabilities.double())
    weights = rows.tail_shape.double().exp().expand_as(named).masked_fill(named > 0, 0.0)
    return named + weights / weights.sum(-1, keepdim=True).clamp_min(1e-300) * rows.tail[:, None]


def kl(log_p, q):
    p = log_p.double().exp()
    return torch.where(p > 0, p * (log_p.double() - q.clamp_min(1e-300).log()), 0.0).sum(-1)


def test_the_most_probable_class_takes_no_level_and_what_the_rest_leaves():
    log_p = distributions(200, 50, 2.0)
    arrays, back = encoded(Selected(), log_p)
    assert isinstance(back, Sparse)
    assert torch.equal(back.ids[:, 0].long(), log_p.argmax(-1))
    assert arrays["levels"].size == arrays["others"].sum() == (back.probabilities > 0).sum() - 200
    total = back.probabilities.double().sum(-1) + back.tail
    torch.testing.assert_close(total, torch.ones(200).double(), rtol=0, atol=1e-6)
    # Each other class is its nearest level, so the remainder errs by no more than theirs together.
    exact = log_p.exp().gather(-1, back.ids.long())
    others = back.probabilities[:, 1:] > 0
    roots = (back.probabilities[:, 1:].sqrt() - exact[:, 1:].sqrt()).abs()
    assert float(roots[others].max()) <= 0.5 / 127 + 1e-6


def test_no_class_is_named_twice_and_padding_names_nothing():
    back = encoded(Selected(cost=1e-4), distributions(100, 60, 1.5))[1]
    for ids, kept in zip(back.ids.tolist(), back.probabilities.tolist(), strict=True):
        named = [i for i, probability in zip(ids, kept, strict=True) if probability > 0]
        assert len(set(named)) == len(named) >= 1


@given(st.integers(2, 80), st.floats(0, 20), st.integers(0, 2**31), st.sampled_from([31, 127, 999]))
def test_rows_are_distributions_whatever_they_were(size, spread, seed, levels):
    log_p = distributions(20, size, spread, seed)
    _, back = encoded(Selected(levels=levels), log_p)
    torch.testing.assert_close(
        dense(back, size).sum(-1), torch.ones(20).double(), rtol=0, atol=1e-5
    )


@pytest.mark.parametrize("size", [100, 29, 64])
def test_even_rows_whose_levels_would_be_rounded_up_leave_the_context_its_part(size):
    # 100 classes of 0.01 have roots of 12.7 levels; 99 at level 13 would be 1.037. Of 29 classes 28
    # at level 24 would be just less than 1, and leave the context a five hundredth of its mass.
    log_p = torch.full((1, size), -math.log(size))
    log_p[0, 7] += 1e-3
    codec = Selected(cost=0.0)
    state = codec.fit([distributions(100, size, 3.0)], head_of(size))
    back = encoded(codec, log_p.log_softmax(-1), state)[1]
    first = float(back.probabilities[0, 0])
    assert back.ids[0, 0] == 7
    assert first >= 1 / size
    assert float(back.probabilities.sum() + back.tail) == pytest.approx(1, abs=1e-6)


def test_levels_that_are_rounded_up_leave_the_context_no_less_than_half():
    # Roots of 2.55 levels are rounded to 3: eight classes take 72 of 81, and leave 9 of 29.
    log_p = torch.tensor([[0.36] + 8 * [0.08]]).log()
    codec = Selected(levels=9, cost=0.0)
    state = codec.fit([distributions(100, 9, 3.0)], head_of(9))
    back = encoded(codec, log_p, state)[1]
    assert (back.probabilities > 0).all()
    assert back.probabilities[0, 0] >= 0.36 / 2


def test_each_entry_is_worth_its_bits():
    log_p = confusable(500)
    codec = Selected(cost=1e-3)
    state = codec.fit([confusable(2000, seed=9)], head_of(100))
    back = encoded(codec, log_p, state)[1]
    p, t = log_p.double().exp(), dense(back, 100)
    named = torch.zeros_like(p, dtype=torch.bool).scatter_(
        -1, back.ids.long(), back.probabilities > 0
    )
    loss = p * (p / t).log() - p + t  # of leaving a class where the tail has it
    # At most 5 bits for the level and log2(100) for the place.
    assert float(loss[~named].max()) <= 1e-3 * 12
    assert float(loss[~named].max()) > 1e-3 * 2  # and it does leave what is worth little


def test_more_cost_takes_fewer_entries_and_more_error():
    log_p = confusable(1000)
    entries, errors = [], []
    for cost in (1e-4, 1e-3, 1e-2):
        arrays, back = encoded(Selected(cost=cost), log_p)
        entries.append(int(arrays["others"].sum()))
        errors.append(float(kl(log_p, dense(back, 100)).mean()))
    assert entries == sorted(entries, reverse=True)
    assert errors == sorted(errors)
    assert errors[0] < 1e-3


def test_no_cost_keeps_every_class_that_has_a_level():
    log_p = distributions(50, 20, 1.0)
    _, back = encoded(Selected(levels=1000, cost=0.0), log_p)
    assert float(kl(log_p, dense(back, 20)).max()) < 20 / (6 * 1000**2) * 4


def test_where_every_class_that_can_be_is_named_nothing_is_left_to_a_tail():
    log_p = distributions(50, 4, 0.5)
    padded = torch.cat([log_p, torch.full((50, 2), -torch.inf)], -1)
    for values in (log_p, padded):
        _, back = encoded(Selected(cost=0.0), values)
        assert (back.probabilities > 0).sum(-1).tolist() == [4] * 50
        assert (back.tail == 0).all()


def test_ranks_are_of_the_contexts_own_order():
    log_p = confusable(4000)
    codec, head = Selected(), head_of(100)
    state = codec.fit([log_p], head)
    order = state["order"]
    assert order.shape == (100, 100)
    assert all(sorted(row) == list(range(100)) for row in order.tolist())
    assert torch.equal(order[:, -1].long(), torch.arange(100))  # itself last
    family = torch.arange(100) // 5
    near = (family[order[:, :4].long()] == family[:, None]).float().mean()
    assert float(near) > 0.9
    steps = encoded(codec, log_p, state)[0]["steps_0"]
    common = codec.encode(log_p, head, {**state, "order": state["common"][None]}, np.zeros(4000))
    assert steps.mean() < common["steps_0"].mean() / 2


def test_ranks_are_made_once_and_go_with_the_order():
    log_p, codec, head = confusable(200), Selected(), head_of(100)
    state = codec.fit([log_p], head)
    again = [(log_p, head, state, np.zeros(200))] * 8
    first = codec.encode(*again[0])
    ranks = _selected._ranks(state["order"])
    for context, order in enumerate(state["order"].tolist()):
        assert [int(ranks[context, each]) for each in order] == list(range(100))
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda rows: codec.encode(*rows), again))
    assert all((each[name] == first[name]).all() for each in found for name in first)
    assert _selected._ranks(state["order"]) is ranks
    gone = weakref.ref(ranks)
    del ranks, state, again
    gc.collect()
    assert gone() is None


def test_many_classes_have_one_order():
    codec, head = Selected(), head_of(5000)
    log_p = distributions(20, 5000, 3.0)
    state = codec.fit([log_p], head)
    assert state["order"].shape == (1, 5000)
    assert torch.equal(state["order"][0], state["common"])
    back = encoded(codec, log_p, state)[1]
    assert torch.equal(back.ids[:, 0].long(), log_p.argmax(-1))


def test_a_class_that_no_row_had_is_stored_when_it_comes():
    seen = distributions(50, 10, 1.0)
    seen[:, 9] = -torch.inf
    codec, head = Selected(), head_of(10)
    state = codec.fit([seen.log_softmax(-1)], head)
    assert torch.isneginf(state["tail"][9])
    assert torch.isfinite(state["tail"][:9]).all()
    rare = distributions(30, 10, 1.0, seed=3)
    rare[:, 9] = math.log(1e-4)  # worth less than its bits to any tail that has it
    back = encoded(codec, rare.log_softmax(-1), state)[1]
    assert ((back.ids == 9) & (back.probabilities > 0)).any(-1).all()


def test_a_row_takes_few_bytes_on_disk():
    codec, head = Selected(), head_of(100)
    state = codec.fit([confusable(8000, seed=5)], head)
    log_p = confusable(4096)
    arrays, back = encoded(codec, log_p, state)
    zstd = pa.Codec("zstd", compression_level=3)
    size = sum(len(zstd.compress(part.tobytes(), asbytes=True)) for part in arrays.values())
    assert size / 4096 < 6.5  # 200 bytes in float16
    assert float(kl(log_p, dense(back, 100)).mean()) < 0.01


@pytest.mark.parametrize(
    ("part", "change", "fault"),
    [
        ("others", lambda x: x + 1, "numbers in levels, counted as"),
        ("context_0", lambda x: x * 0 + 60, "the class of rank 60 of a head of 60 classes"),
        ("steps_0", lambda x: x * 0 + 255, "of a head of 60 classes"),
        ("levels", lambda x: x * 0, "a class at level 0"),
        ("levels", lambda x: x * 0 + 128, "a level beyond 127"),
        ("tail", lambda x: x * 0 + 128, "a level beyond 127"),
        ("tail", lambda x: x * 0 + 127, "probabilities that exceed 1"),
    ],
)
def test_finds_what_it_never_wrote(part, change, fault):
    codec, head = Selected(), head_of(60)
    log_p = distributions(5, 60, 1.0)
    arrays = codec.encode(log_p, head, codec.fit([log_p], head), np.zeros(5))
    assert fault in codec.fault({**arrays, part: change(arrays[part])}, head)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"levels": 0}, r"levels of codec selected must be a whole number from 1 to 65535, got 0"),
        ({"levels": 2.0}, r"levels of codec selected"),
        ({"cost": -1.0}, r"cost of codec selected must be 0 or more, got -1"),
        ({"cost": math.inf}, r"cost of codec selected"),
        ({"cost": "x"}, r"cost of codec selected"),
    ],
)
def test_refuses_options_that_make_no_sense(options, message):
    with pytest.raises(OptionError, match=message):
        make_codec("selected", options)


def test_is_for_categorical_heads_that_its_levels_can_tell_apart():
    with pytest.raises(OptionError, match=r"categorical heads, got head label, which is real"):
        Selected().columns(Head(space="real", size=3))
    with pytest.raises(OptionError, match=r"levels 7 is for at most 49 classes, got the 50 of"):
        Selected(levels=7).columns(head_of(50))


def chosen_in_plain_python(p, ranks, levels, cost):
    """The rule, class by class, of an even tail: KL saved against 5 bits and the rank's."""
    context = max(range(len(p)), key=p.__getitem__)
    likely = [i for i in range(len(p)) if i != context and 4 * levels**2 * p[i] >= 1]
    stored = set()
    for _ in range(3):
        left = 1 - p[context] - sum(p[i] for i in stored)
        share = left / (len(p) - 1 - len(stored))
        stored = {
            i
            for i in likely
            if p[i] * math.log(p[i] / share) - p[i] + share
            > cost * (5 + math.log2(ranks[context][i] + 2))
        }
    return {i for i in stored if round(math.sqrt(p[i]) * levels) > 0}


def test_an_entry_is_stored_where_it_saves_more_than_its_bits_cost():
    generator = torch.Generator().manual_seed(4)
    size, levels, cost = 40, 255, 1e-3
    p = (torch.randn(60, size, generator=generator, dtype=torch.float64) * 2).softmax(-1)
    ranks = torch.stack([torch.randperm(size, generator=generator) for _ in range(size)])
    found = least_costly(p, ranks, torch.ones(size).double(), levels=levels, cost=cost)
    stored = torch.zeros(60, size, dtype=torch.bool)
    order = ranks.argsort(dim=-1)
    stored[found.row, order[found.context[found.row], found.rank]] = True
    for row in range(60):
        want = chosen_in_plain_python(p[row].tolist(), ranks.tolist(), levels, cost)
        assert set(stored[row].nonzero().flatten().tolist()) == want
    assert 60 < int(stored.sum()) < 60 * 30
