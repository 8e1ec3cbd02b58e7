"""With numba and without: the same bytes, the same rows, the same sums up to rounding."""

import builtins
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from limbeck.signals import Head, Sparse
from limbeck.targets.codecs import Threshold, _sampling, _threshold
from limbeck.targets.codecs._mean_tail import MeanTail
from limbeck.targets.encoding._measure import faithfulness
from tests.targets.codecs.conftest import without_numba

REPOSITORY = Path(__file__).parents[3]

pytestmark = pytest.mark.usefixtures("loops")


def head_of(size):
    return Head(space="categorical", size=size)


def logits_of(rows, size, spread, seed=0, padding=0):
    logits = torch.randn(rows, size, generator=torch.Generator().manual_seed(seed)) * spread
    logits += 3.0 * torch.arange(rows)[:, None]  # a constant of each row says nothing
    logits[:, size - padding :] = -torch.inf
    return logits


def seeds_of(rows, start=0):
    return np.random.default_rng(start).integers(2**64, size=rows, dtype=np.uint64)


def state_of(size, seed=0):
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(size, generator=generator).int()
    return {"order": order, "tail": torch.randn(size, generator=generator).log_softmax(-1)}


def assert_same(one, other):
    assert list(one) == list(other)
    for name, part in one.items():
        assert part.dtype == other[name].dtype, name
        assert np.array_equal(part, other[name]), name


def assert_same_rows(one, other):
    for name, part in vars(one).items():
        if isinstance(part, torch.Tensor):
            assert part.dtype == vars(other)[name].dtype, name
            assert part.equal(vars(other)[name]), name
        else:
            assert part == vars(other)[name], name


sizes = st.sampled_from([1, 2, 31, 33, 300, 70_000])
taus = st.sampled_from([1e-3, 0.02, 0.3, 1.0])
temperatures = st.sampled_from([(), (2.0, 0.5)])


@given(
    st.integers(0, 5),
    sizes,
    taus,
    st.sampled_from([32, 63]),
    temperatures,
    st.floats(0, 30),
    st.integers(0, 2**31),
)
def test_what_is_encoded_and_decoded_is_the_same_to_the_bit(
    rows, size, tau, levels, temperatures, spread, seed
):
    codec = Threshold(tau=tau, levels=levels, temperatures=temperatures)
    head, state = head_of(size), state_of(size, seed)
    logits = logits_of(rows, size, spread, seed, padding=size // 3)
    seeds = seeds_of(rows, seed)
    with without_numba():
        selected = _sampling.select(logits, tau, _threshold.uniform(seeds, 0))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_threshold, "select", lambda *_: selected)
        arrays = codec.encode(logits, head, state, seeds)
        with without_numba():
            assert_same(arrays, codec.encode(logits, head, state, seeds))
    assert codec.fault(arrays, head) is None
    for part in arrays.values():
        part.flags.writeable = False  # as those of a file are
    rows_with = codec.decode(arrays, head, state, 2.0)
    with without_numba():
        assert_same_rows(rows_with, codec.decode(arrays, head, state, 2.0))


@pytest.mark.parametrize(("tau", "levels"), [(1e-4, 65535), (0.5, 300), (1.0, 1)])
def test_so_it_is_of_many_levels_many_classes_and_long_rows(tau, levels):
    codec, size = Threshold(tau=tau, levels=levels), (1 << 18) + 5
    head, state = head_of(size), state_of(size)
    logits, seeds = logits_of(3, size, 0.3, padding=1000), seeds_of(3)
    with without_numba():
        selected = _sampling.select(logits, tau, _threshold.uniform(seeds, 0))
    assert len(selected[0].p) + len(selected[1].p) >= 3
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_threshold, "select", lambda *_: selected)
        arrays = codec.encode(logits, head, state, seeds)
        with without_numba():
            assert_same(arrays, codec.encode(logits, head, state, seeds))
    back = codec.decode(arrays, head, state, 1.0)
    with without_numba():
        assert_same_rows(back, codec.decode(arrays, head, state, 1.0))


def test_rows_that_name_nothing_are_decoded():
    codec, size = Threshold(), 300
    head, state = head_of(size), state_of(size)
    arrays = {
        name: np.zeros((4, 1) if column.counted_by is None else 0, dtype=column.dtype)
        for name, column in codec.columns(head).items()
    }
    arrays["drawn"][2] = 1
    arrays["drawn_steps_0"], arrays["drawn_steps_1"] = np.uint8([7]), np.uint8([1])
    got = codec.decode(arrays, head, state, 1.0)
    with without_numba():
        assert_same_rows(got, codec.decode(arrays, head, state, 1.0))
    assert got.ids.tolist() == [[0], [0], [int(state["order"][256 + 7])], [0]]


@pytest.mark.parametrize(
    ("part", "values"),
    [("kept_steps_1", [255, 0]), ("kept_levels", [200, 1]), ("kept", [[2], [1]])],
)
def test_a_class_a_level_or_a_number_that_there_is_not_is_an_error_never_read(part, values):
    codec, size = Threshold(), 300
    arrays = {
        "kept": np.uint8([[1], [1]]),
        "drawn": np.uint8([[0], [0]]),
        "kept_levels": np.uint8([63, 63]),
        "kept_steps_0": np.uint8([3, 4]),
        "kept_steps_1": np.uint8([0, 0]),
        "drawn_steps_0": np.uint8([]),
        "drawn_steps_1": np.uint8([]),
    }
    codec.decode(arrays, head_of(size), state_of(size), 1.0)
    arrays[part] = np.uint8(values)
    with pytest.raises(IndexError):
        codec.decode(arrays, head_of(size), state_of(size), 1.0)


def walked(row, tau, start):
    """Kept and drawn classes of one row, class by class in float64."""
    p = row.double().softmax(-1).tolist()
    kept, drawn, passed = [], [], start
    for each, probability in enumerate(p):
        if probability >= tau:
            kept.append(each)
            continue
        before, passed = passed, passed + probability / tau
        if int(passed) > int(before):
            drawn.append(each)
    return kept, drawn


@given(
    st.integers(1, 4),
    st.sampled_from([1, 2, 31, 33, 1024, 1030, 3000]),
    st.sampled_from([1e-3, 0.02, 0.3]),
    st.floats(0, 12),
    st.integers(0, 2**31),
)
def test_the_classes_are_those_of_a_walk_by_hand(rows, size, tau, spread, seed):
    logits = logits_of(rows, size, spread, seed, padding=size // 4)
    starts = np.random.default_rng(seed).uniform(0.01, 0.99, size=rows)
    kept, drawn = _sampling.select(logits, tau, starts)
    for row in range(rows):
        expected_kept, expected_drawn = walked(logits[row], tau, starts[row])
        p = logits[row].double().softmax(-1)
        got = kept.classes[kept.rows == row].tolist()
        unsure = {each for each in range(size) if abs(float(p[each]) / tau - 1) < 1e-5}
        assert set(got) ^ set(expected_kept) <= unsure
        got_drawn = drawn.classes[drawn.rows == row]
        if not unsure:
            # A boundary that falls between two classes, up to rounding, may take either.
            assert abs(len(got_drawn) - len(expected_drawn)) <= 1
            moved = set(got_drawn.tolist()) ^ set(expected_drawn)
            assert len(moved) <= 2
        for found in (kept, drawn):
            at = found.rows == row
            want = p[torch.from_numpy(found.classes[at])].numpy()
            np.testing.assert_allclose(found.p[at], want, rtol=3e-6)


def test_a_class_alone_in_its_block_is_kept_from_tau_on(loops):
    tau, size = 0.02, 320
    for share in (0.999, 1.001, 1.1, 1.9):
        p = np.full(size, 1e-9)
        p[100], p[300] = share * tau, 0.5
        p[0] = 1 - p[1:].sum()
        kept, _ = _sampling.select(torch.from_numpy(np.log(p)).float()[None], tau, np.float64([0]))
        assert (100 in kept.classes.tolist()) == (share > 1), share


@pytest.mark.parametrize("lacking", ["kept", "drawn"])
def test_nothing_is_read_beyond_the_end_of_what_is_there(loops, lacking):
    steps, levels = np.zeros(9, np.uint8)[:2], np.ones(9, np.uint8)[:2]  # more lies behind them
    counts = {"kept": np.uint8([[1], [1]]), "drawn": np.uint8([[1], [1]])}
    out = [np.zeros((2, 4), kind) for kind in (np.int32, np.float32, np.bool_)]
    order, values = np.arange(9, dtype=np.int32), np.float32([0, 1])

    def place():
        kept, drawn = counts["kept"], counts["drawn"]
        loops.place((kept, steps, levels), (drawn, steps), order, values, 0.1, *out)

    place()
    counts[lacking] = np.uint8([[1], [2]])
    with pytest.raises(IndexError):
        place()


def test_draws_move_by_rounding_only():
    logits, starts = logits_of(200, 3000, 1.5), np.random.default_rng(1).uniform(size=200)
    kept, drawn = _sampling.select(logits, 0.02, starts)
    moved = 0
    for row in range(200):
        expected_kept, expected_drawn = walked(logits[row], 0.02, starts[row])
        assert kept.classes[kept.rows == row].tolist() == expected_kept
        moved += drawn.classes[drawn.rows == row].tolist() != expected_drawn
    assert moved <= 2


def test_a_padded_answer_is_read_in_place_of_a_copy_of_it():
    wide = logits_of(6, 400, 2.0)
    starts = np.linspace(0.1, 0.9, 6)
    for one, other in zip(
        _sampling.select(wide[:, :333], 0.02, starts),
        _sampling.select(wide[:, :333].clone(), 0.02, starts),
        strict=True,
    ):
        assert all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


def test_powers_are_those_of_float64_within_two_units_in_the_last_place(loops):
    x = np.linspace(-86.99, 0, 40_001, dtype=np.float32)
    powers = np.empty_like(x)
    total = loops.powers_of(x, np.float32(0), powers)
    exact = np.exp(x.astype(np.float64))
    assert (np.abs(powers - exact) <= 2 * np.spacing(exact.astype(np.float32))).all()
    assert total == pytest.approx(exact.sum(), rel=1e-5)
    assert powers[-1] == 1
    for low in (-87.5, -1e30, -np.inf):
        assert loops.power(np.float32(low)) == 0
    assert np.isnan(loops.power(np.float32(np.nan)))


@given(st.lists(st.floats(width=32, allow_nan=False), min_size=1, max_size=80))
def test_the_largest_is_found(numbers):
    from limbeck.targets.codecs import _loops

    values = np.array(numbers, dtype=np.float32)
    assert _loops.largest_of(values, _loops.LOWEST) == max(values.max(), _loops.LOWEST)


@pytest.mark.parametrize("bad", [[np.nan, 0, 1], [np.inf, 0, 1], [-np.inf] * 3])
def test_a_row_without_a_distribution_is_named(loops, bad):
    logits = np.float32([[0, 1, 2], bad])
    room = [(np.empty(9, np.int64), np.empty(9, np.int64), np.empty(9)) for _ in range(2)]
    assert loops.select(logits, 0.1, np.zeros(2), *room) == (-1, 1)


def test_a_tail_is_learned_the_same():
    logits = logits_of(40, 500, 2.0, padding=7)
    one, other = MeanTail(500), MeanTail(500)
    one.add_above(logits, 0.02)
    with without_numba():
        other.add_above(logits, 0.02)
    assert one.named.equal(other.named)
    torch.testing.assert_close(one.mass, other.mass, rtol=1e-5, atol=1e-12)
    torch.testing.assert_close(one.shape(), other.shape(), rtol=1e-5, atol=1e-6)


@given(st.integers(1, 5), st.sampled_from([2, 40, 700]), st.floats(0, 12), st.booleans())
def test_how_near_rows_are_is_the_same(rows, size, spread, drawn):
    logits = logits_of(rows, size, spread, padding=size // 5)
    codec = Threshold()
    state = codec.fit([logits], head_of(size))
    stored = codec.decode(
        codec.encode(logits, head_of(size), state, seeds_of(rows)), head_of(size), state, 1.0
    )
    stored = stored if drawn else stored.density
    assert isinstance(stored, Sparse)
    got = faithfulness(logits, stored, head_of(size))
    with without_numba():
        want = faithfulness(logits, stored, head_of(size))
    assert (got.rows, got.compared) == (want.rows, want.compared) == (rows, rows)
    assert got.agreement == want.agreement
    for one, other in (
        (got.kl, want.kl),
        (got.squared, want.squared),
        (got.difference, want.difference),
    ):
        assert one == pytest.approx(other, rel=1e-4, abs=1e-6)


def test_numba_is_imported_when_it_is_used():
    code = "import sys, limbeck, limbeck.targets\nprint('numba' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "False"


WITH_A_FILE = """
import resource, sys
import torch
from limbeck.signals import Head
from limbeck.targets.codecs import Threshold

head, logits = Head(space="categorical", size=50), torch.zeros(2, 50)
if sys.argv[1] == "full":
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, resource.RLIM_INFINITY))
state = Threshold().fit([logits], head)
print(float(state["tail"][0]))
"""


def fitted(cache, disk="free"):
    """What a process makes of a codec, whose compiled loops are kept in this folder."""
    done = subprocess.run(
        [sys.executable, "-c", WITH_A_FILE, disk],
        cwd=REPOSITORY,
        env={**os.environ, "NUMBA_CACHE_DIR": str(cache)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_loops_do_without_a_file_where_there_is_no_room_or_it_is_damaged(tmp_path):
    expected = fitted(tmp_path / "free")
    assert fitted(tmp_path / "full", "full") == expected
    kept = [*(tmp_path / "free").rglob("*.nb[ci]")]
    assert kept
    for file in kept:
        file.write_bytes(file.read_bytes()[:40] if file.suffix == ".nbc" else b"")
    assert fitted(tmp_path / "free") == expected


def test_where_numba_cannot_be_loaded_there_are_no_loops(monkeypatch):
    from limbeck.targets.codecs import _compiled

    for error in (ImportError("there is none"), OSError("libllvm.so: not for this machine")):
        monkeypatch.delitem(sys.modules, "limbeck.targets.codecs._loops", raising=False)
        monkeypatch.delattr("limbeck.targets.codecs._loops", raising=False)

        def refuse(name, *rest, error=error, imported=builtins.__import__):
            if name == "numba":
                raise error
            return imported(name, *rest)

        with monkeypatch.context() as patch:
            patch.setattr(builtins, "__import__", refuse)
            assert _compiled.compiled.__wrapped__() is None
    monkeypatch.undo()


def test_loops_do_without_a_file_where_no_folder_takes_one():
    from limbeck.targets.codecs._loops import loop

    named = {}
    exec("def total(numbers):\n    return numbers.sum()", named)  # of no file, it can have none
    total = loop()(named["total"])
    assert total(np.arange(5)) == 10
