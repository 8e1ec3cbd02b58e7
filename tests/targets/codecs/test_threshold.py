import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from limbeck._errors import OptionError, TargetsError
from limbeck.signals import Head, Sparse
from limbeck.targets import make_codec
from limbeck.targets.codecs import Threshold
from limbeck.targets.codecs._sampling import select
from limbeck.targets.encoding._measure import dense_log_probabilities
from tests.targets.codecs.conftest import without_numba

SEED_MASK = 2**64 - 1


@pytest.fixture(autouse=True, scope="module", params=["with numba", "without"])
def _both_ways(request):
    if request.param == "with numba":
        request.getfixturevalue("loops")
        yield
        return
    with without_numba():
        yield


def head_of(size):
    return Head(space="categorical", size=size)


def distributions(rows, size, spread, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return (torch.randn(rows, size, generator=generator) * spread).log_softmax(-1)


def seeds_of(rows, start=0):
    return np.arange(start, start + rows, dtype=np.uint64)


def hashed(rows):
    return np.random.default_rng(0).integers(2**64, size=rows, dtype=np.uint64)


def coded(codec, values, seeds=None, temperature=1.0, state=None):
    head = head_of(values.shape[-1])
    state = codec.fit([values], head) if state is None else state
    arrays = codec.encode(values, head, state, hashed(len(values)) if seeds is None else seeds)
    assert codec.fault(arrays, head) is None
    return codec.decode(arrays, head, state, temperature)


def dense(rows, size):
    empty = torch.zeros(*rows.ids.shape[:-1], size, dtype=torch.float64)
    return empty.scatter_add(-1, rows.ids.long(), rows.probabilities.double())


def split_mix(seed, number):
    """The generator by its published definition: one step of its state, then its mixing."""
    state = (seed + (number + 1) * 0x9E3779B97F4A7C15) & SEED_MASK
    mixed = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & SEED_MASK
    mixed = ((mixed ^ (mixed >> 27)) * 0x94D049BB133111EB) & SEED_MASK
    return ((mixed ^ (mixed >> 31)) >> 11) / 2**53


def by_hand(p, tau, levels, seed):
    """What one row names, class by class in plain Python: `{class: (value, drawn)}`."""
    named = {}
    passed = split_mix(seed, 0)
    for i, probability in enumerate(p):
        if probability >= tau:
            below = min(math.floor(math.sqrt(probability) * levels), levels - 1)
            low, high = (below / levels) ** 2, ((below + 1) / levels) ** 2
            up = split_mix(seed, i + 1) < (probability - low) / (high - low)
            named[i] = (high if up else low, False)
        else:
            before, passed = passed, passed + probability / tau
            if math.floor(passed) > math.floor(before):
                named[i] = (tau, True)
    return named


@pytest.mark.parametrize("size", [3, 128, 129, 500])
def test_a_row_is_what_a_loop_by_hand_makes(size):
    log_p = distributions(40, size, 2.5)
    back = coded(Threshold(tau=0.03, levels=31), log_p, seeds=seeds_of(40, 2**63))
    assert isinstance(back, Sparse)
    for number, row in enumerate(log_p.exp().double().tolist()):
        kept = back.probabilities[number] > 0
        got = {
            i: (value, drawn)
            for i, value, drawn in zip(
                back.ids[number][kept].tolist(),
                back.probabilities[number][kept].tolist(),
                back.drawn[number][kept].tolist(),
                strict=True,
            )
        }
        expected = by_hand(row, 0.03, 31, 2**63 + number)
        assert got.keys() == expected.keys()
        for i, (value, drawn) in expected.items():
            assert got[i] == (pytest.approx(value, rel=1e-6), drawn)


@pytest.mark.parametrize(
    "p",
    [
        [0.6, 0.2, 0.1, 0.05, 0.02, 0.02, 0.009, 0.0009, 0.0001, 0.0],
        [0.1] * 10,
        [1.0] + [0.0] * 9,
        [0.991] + [0.001] * 9,
        [0.05, 0.95] + [0.0] * 8,
    ],
)
@pytest.mark.parametrize("tau", [0.02, 0.25])
def test_the_mean_of_ten_thousand_encodings_is_the_row_within_four_sigma(p, tau):
    rows = 10_000
    log_p = torch.tensor([p], dtype=torch.float64).log().float().expand(rows, -1)
    back = dense(coded(Threshold(tau=tau, levels=10), log_p), 10)
    exact = torch.tensor(p, dtype=torch.float64)
    sigma = back.std(dim=0) / math.sqrt(rows)
    assert ((back.mean(dim=0) - exact).abs() <= 4 * sigma + 1e-7).all()


def test_the_mean_over_a_vocabulary_is_the_row_within_four_sigma():
    rows, size = 10_000, 300
    one = distributions(1, size, 3.0, seed=1)
    back = dense(coded(Threshold(), one.expand(rows, -1)), size)
    exact = one[0].double().exp()
    stated = torch.where(exact < 0.02, exact * (0.02 - exact), back.var(dim=0))
    assert ((back.mean(dim=0) - exact).abs() <= 4.5 * (stated / rows).sqrt() + 1e-7).all()
    # Together: a sum of squares of 300 standard deviations from 0, most of them of one.
    score = ((back.mean(dim=0) - exact).square() / (stated / rows).clamp_min(1e-12)).mean()
    assert 0.5 < float(score) < 1.5


def test_the_variance_is_at_most_the_stated_one():
    rows = 4000
    one = distributions(1, 200, 2.0, seed=3)
    back = dense(coded(Threshold(tau=0.05, levels=63), one.expand(rows, -1)), 200)
    p = one[0].double().exp()
    stated = torch.where(p < 0.05, p * (0.05 - p), p / 63**2)
    common = p > 1e-3  # a variance of rarer draws takes more than 4000 to be known
    assert (back.var(dim=0) <= 1.2 * stated)[common].all()
    assert float(back.var(dim=0).sum()) <= 1.02 * float(stated.sum())


def test_a_class_of_the_least_level_never_becomes_0():
    p = torch.tensor([0.01, 0.99]).log().expand(5000, -1)
    back = coded(Threshold(tau=0.01, levels=10), p)
    assert (back.probabilities > 0).all()


def test_systematic_draws_keep_the_mass_of_a_row_from_varying():
    log_p = distributions(300, 1000, 1.0)
    back = coded(Threshold(tau=0.01, levels=127), log_p)
    totals = back.probabilities.double().sum(-1)
    assert float((totals - 1).abs().max()) < 0.02


@given(st.integers(1, 6), st.sampled_from([2, 40, 300]), st.integers(0, 2**32), st.floats(0, 30))
def test_a_row_has_the_same_bytes_wherever_it_is_encoded(rows, size, seed, spread):
    codec, head = Threshold(temperatures=(2.0,)), head_of(size)
    log_p = distributions(rows, size, spread, seed)
    state = codec.fit([log_p], head)
    seeds = seeds_of(rows, seed)
    together = codec.encode(log_p, head, state, seeds)
    alone = [codec.encode(log_p[i : i + 1], head, state, seeds[i : i + 1]) for i in range(rows)]
    for name, part in together.items():
        assert np.array_equal(part, np.concatenate([one[name] for one in alone]))


def test_other_seeds_draw_others():
    log_p = distributions(50, 300, 1.0)
    first, again, other = (
        dense(coded(Threshold(), log_p, seeds=seeds_of(50, start)), 300) for start in (0, 0, 50)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@pytest.mark.parametrize("size", [151_936, 300_000])
def test_padding_classes_get_no_mass_and_never_an_id(size):
    real = size - 300
    log_p = torch.full((3, size), -torch.inf)
    log_p[:, :real] = distributions(3, real, 3.0)
    log_p[0, :real] = -math.log(real)  # all by chance
    codec = Threshold()
    back = coded(codec, log_p)
    named = back.probabilities > 0
    assert int(back.ids[named].max()) < real
    assert int(back.ids[named].max()) > 2**16
    assert named[0].sum() == 50
    assert torch.isneginf(back.tail_shape[real:]).all()
    assert torch.isfinite(back.tail_shape[:real]).all()
    assert float(back.tail_shape.double().exp().sum()) == pytest.approx(1, abs=1e-4)


def test_readings_of_a_row():
    log_p = distributions(20, 400, 2.0)
    rows = coded(Threshold(), log_p)
    for reading in (rows.density, rows.top):
        assert reading.drawn is None
        assert (reading.probabilities[rows.drawn] == 0).all()
        total = reading.probabilities.double().sum(-1) + reading.tail
        torch.testing.assert_close(total, torch.ones(20).double(), rtol=0, atol=1e-6)
    assert rows.density.tail_shape is rows.tail_shape
    assert rows.top.tail_shape is None


def test_a_density_leaves_to_the_tail_what_was_drawn_and_something_where_nothing_was():
    sure = torch.tensor([[0.995, *[0.005 / 49] * 49]]).log().expand(400, -1)
    rows = coded(Threshold(), sure)
    drew = rows.drawn.any(-1)
    assert 0 < drew.sum() < 400
    kept = rows.probabilities.masked_fill(rows.drawn, 0).sum(-1)
    stands = torch.where(drew, 0.02, 0.005)
    torch.testing.assert_close(rows.density.tail, stands / (kept + stands))
    log_q = dense_log_probabilities(rows.density)
    kl = (sure.double().exp() * (sure.double() - log_q)).sum(-1)
    assert float(kl.max()) < 0.05  # rounding may leave the kept class more than 1


def test_the_tail_has_the_mean_shape_of_what_is_below_tau():
    log_p = distributions(500, 50, 2.0)
    shape = coded(Threshold(tau=0.05), log_p).tail_shape.double().exp()
    p = log_p.double().exp()
    below = torch.where(p < 0.05, p, 0).sum(0)
    even = below.sum() / 500 / 50
    expected = (below + even) / (below + even).sum()
    torch.testing.assert_close(shape, expected, rtol=1e-4, atol=1e-7)


def test_the_gradient_at_two_is_that_of_the_dense_rows_within_one_percent():
    rows, size = 40_000, 40
    one = distributions(1, size, 2.0, seed=2)
    stored = coded(Threshold(temperatures=(2.0, 0.5)), one.expand(rows, -1))
    student = distributions(1, size, 1.0, seed=5).double()
    for temperature in (2.0, 0.5):
        exact = (one.double() / temperature).softmax(-1)[0]
        moved = stored.moved(temperature)
        assert moved.temperature == temperature
        got = dense(moved, size).mean(0)
        q = (student / temperature).softmax(-1)[0]
        right = temperature * (q - exact)
        error = temperature * (exact - got)
        assert float(error.norm() / right.norm()) < 0.01


def test_rows_move_to_what_was_stored_only():
    rows = coded(Threshold(temperatures=(2.0,)), distributions(3, 50, 2.0), temperature=2.0)
    assert rows.moved(2.0) is rows
    assert rows.moved(4.0).temperature == 4.0
    with pytest.raises(TargetsError, match=r"at temperature 2, 4, and cannot be moved to 3\. Set"):
        rows.moved(3.0)
    with pytest.raises(TargetsError, match=r"at temperature 1, and cannot be moved to 2"):
        coded(Threshold(), distributions(3, 50, 2.0)).moved(2.0)


def test_a_drawn_classs_own_probability_is_the_nearest_of_its_levels():
    log_p = distributions(30, 50, 2.0)
    rows = coded(Threshold(temperatures=(2.0,)), log_p)
    own = log_p.gather(-1, rows.ids.long())[rows.drawn]
    assert float((rows.own[rows.drawn] - own).abs().max()) <= 1 / 24 + 1e-5


def test_a_rank_takes_as_many_planes_as_the_last_one_has_bytes():
    for size, planes in ((256, 1), (257, 2), (1 << 16, 2), ((1 << 16) + 1, 3)):
        names = Threshold().columns(head_of(size))
        assert sum(name.startswith("kept_steps_") for name in names) == planes


def test_a_temperature_is_found_whatever_its_last_place():
    rows = coded(Threshold(temperatures=(0.1,)), distributions(3, 50, 2.0), temperature=3.0)
    assert rows.temperatures != (0.3,)  # 0.1 times 3 is 0.30000000000000004
    assert rows.moved(0.3).temperature == 0.3


def test_a_density_moves_to_a_distribution():
    rows = coded(Threshold(temperatures=(3.0,)), distributions(30, 50, 2.0))
    for moved in (rows.moved(3.0).density, rows.density.moved(3.0)):
        total = moved.probabilities.double().sum(-1) + moved.tail
        torch.testing.assert_close(total, torch.ones(30).double(), rtol=0, atol=1e-6)
        assert (moved.probabilities[rows.drawn] == 0).all()
    kept = (rows.probabilities > 0) & ~rows.drawn
    exact = (distributions(30, 50, 2.0) / 3).softmax(-1).gather(-1, rows.ids.long())
    torch.testing.assert_close(
        rows.density.moved(3.0).probabilities[kept], exact[kept], rtol=0.08, atol=0
    )


def test_moved_rows_select_and_group_like_others():
    rows = coded(Threshold(temperatures=(2.0,)), distributions(6, 50, 2.0))
    grouped = rows.of_samples(3).to(torch.device("cpu"))
    assert grouped.ids.shape[:2] == (2, 3)
    chosen = grouped.select(torch.tensor([1])).moved(2.0)
    torch.testing.assert_close(chosen.probabilities[0], rows.moved(2.0).probabilities[3:])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tau": 0}, r"tau of codec threshold must be above 0 and at most 1, got 0"),
        ({"tau": "x"}, r"tau of codec threshold"),
        ({"levels": 7}, r"whole number from 8, at which .* has one, to 65535, got 7"),
        ({"levels": 6.5}, r"levels of codec threshold"),
        ({"temperatures": (2.0, 2.0)}, r"temperatures of codec threshold must be .* each once"),
        ({"temperatures": (1.0,)}, r"other than 1"),
        ({"temperatures": (-2.0,)}, r"above 0"),
        ({"temperatures": None}, r"must be a list of numbers above 0, .*, got None"),
        ({"temperatures": 2.0}, r"a list of numbers .*, got 2\.0"),
        ({"temperatures": True}, r"a list of numbers .*, got True"),
        ({"temperatures": {}}, r"a list of numbers .*, got \{\}"),
        ({"temperatures": "2"}, r"a list of numbers .*, got '2'"),
    ],
)
def test_refuses_options_that_make_no_sense(options, message):
    with pytest.raises(OptionError, match=message):
        make_codec("threshold", options)


def test_options_may_be_left_out_and_are_all_told():
    assert make_codec("threshold", {"tau": 0.1}).options == {
        "tau": 0.1,
        "levels": 63,
        "temperatures": [],
    }
    assert make_codec("threshold", make_codec("threshold", {}).options) == Threshold()


def test_is_for_categorical_heads_that_fit():
    with pytest.raises(OptionError, match=r"categorical heads, got head label, which is real"):
        Threshold().columns(Head(space="real", size=3))
    with pytest.raises(OptionError, match=r"at most 16777216 classes"):
        Threshold().columns(head_of(2**24 + 1))


@pytest.mark.parametrize(
    ("part", "change", "fault"),
    [
        ("kept", lambda x: x + 1, "numbers in kept_levels, counted as"),
        ("kept_levels", lambda x: x * 0, "levels 0 to 0, not 1 to 63"),
        ("kept_levels", lambda x: x * 0 + 64, "levels 64 to 64, not 1 to 63"),
        ("drawn_steps_1", lambda x: x + 1, "of a head of 300 classes"),
    ],
)
def test_finds_what_it_never_wrote(part, change, fault):
    codec, head = Threshold(), head_of(300)
    log_p = distributions(5, 300, 1.0)
    arrays = codec.encode(log_p, head, codec.fit([log_p], head), seeds_of(5))
    assert fault in codec.fault({**arrays, part: change(arrays[part])}, head)


def test_finds_a_class_that_is_both_kept_and_drawn():
    codec, head = Threshold(), head_of(200)
    one, two = np.array([[1]], dtype=np.uint8), np.array([5], dtype=np.uint8)
    arrays = {"kept": one, "drawn": one, "kept_levels": two}
    arrays |= {"kept_steps_0": two, "drawn_steps_0": two}
    assert codec.fault(arrays, head) == "a class that one row names twice"


def test_of_many_small_classes_one_is_drawn_for_each_whole_number_that_the_sum_passes():
    """The sum of 150,000 small numbers: in float32 most would be below its last place."""
    log_p = distributions(24, 150_016, 0.5)
    tau, starts = 2e-4, np.linspace(0, 0.99, 24)
    kept, drawn = select(log_p, tau, starts)
    p = log_p.exp()
    by_32 = p.masked_fill(p >= tau, 0.0).view(24, -1, 32).sum(-1).double()
    ends = by_32.sum(-1).numpy() / tau + starts
    counts = np.bincount(drawn.rows, minlength=24)
    assert counts.tolist() == np.floor(ends).astype(int).tolist()
    assert len(kept.rows) == int((p >= tau).sum())
