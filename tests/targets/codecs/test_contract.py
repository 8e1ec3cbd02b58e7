"""What holds of every codec."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from limbeck.signals import Dense, Head
from limbeck.targets import CODECS, make_codec

OPTIONS = {
    "topk": {"k": 2},
    "threshold": {"temperatures": [2.0, 0.5]},
    "principal": {"components": 5, "cost": 1e-3},
}
SPACES = {
    name: ("real",)
    if name.startswith("real")
    else ("categorical",)
    if name in ("selected", "threshold", "topk")
    else ("categorical", "binary")
    if name.startswith("sqrt")
    else ("categorical", "real")
    if name == "principal"
    else ("categorical", "binary", "real")
    for name in CODECS
}
CASES = [(name, space) for name in CODECS for space in SPACES[name]]
EXTREMES = {
    "one-hot": [0.0, -torch.inf, -torch.inf, -torch.inf],
    "nearly one-hot": [0.0, -80.0, -90.0, -100.0],
    "uniform": [0.0, 0.0, 0.0, 0.0],
    "ties": [0.0, 0.0, -3.0, -3.0],
    "padded": [1.0, 0.5, -torch.inf, -torch.inf],
}

each_codec = pytest.mark.parametrize(("name", "space"), CASES)


def codec_of(name):
    return make_codec(name, OPTIONS.get(name, {}))


def rows_of(space, rows, size, seed, spread):
    values = torch.randn(rows, size, generator=torch.Generator().manual_seed(seed)) * spread
    return values.log_softmax(-1) if space == "categorical" else values


def seeds_of(rows, start=0):
    return np.arange(start, start + rows, dtype=np.uint64)


def parts_of_row(arrays, columns, row):
    """What one row of all these is, by the columns' own account."""
    found = {}
    for name, column in columns.items():
        if column.counted_by is None:
            found[name] = arrays[name][row : row + 1]
        else:
            ends = np.cumsum(arrays[column.counted_by][:, 0].astype(int))
            start = ends[row - 1] if row else 0
            found[name] = arrays[name][start : ends[row]]
    return found


def same(one, other):
    return one.keys() == other.keys() and all(np.array_equal(one[n], other[n]) for n in one)


def tensors_of(rows):
    return {name: part for name, part in vars(rows).items() if isinstance(part, torch.Tensor)}


@each_codec
@given(st.integers(0, 5), st.integers(2, 40), st.integers(0, 2**31), st.floats(0, 20))
def test_the_parts_are_what_the_columns_say(name, space, rows, size, seed, spread):
    codec, head = codec_of(name), Head(space=space, size=size)
    values = rows_of(space, rows, size, seed, spread)
    state = codec.fit([rows_of(space, 30, size, 1, 1.0)], head)
    arrays = codec.encode(values, head, state, seeds_of(rows))
    columns = codec.columns(head)
    assert list(arrays) == list(columns)
    for part, column in columns.items():
        assert arrays[part].dtype == column.dtype
        if column.counted_by is None:
            assert arrays[part].shape == (rows, column.width)
        else:
            assert list(columns).index(column.counted_by) < list(columns).index(part)
            assert columns[column.counted_by].width == 1
            assert arrays[part].shape == (arrays[column.counted_by].sum(),)
    assert codec.fault(arrays, head) is None
    back = codec.decode(arrays, head, state, 3.0)
    assert back.temperature == 3.0
    shape = back.values.shape if isinstance(back, Dense) else back.ids.shape
    assert shape[0] == rows
    if isinstance(back, Dense):
        assert shape == (rows, size)


@each_codec
@given(st.integers(1, 6), st.integers(2, 200), st.integers(0, 2**31), st.floats(0, 20))
def test_a_row_is_the_same_in_any_company(name, space, rows, size, seed, spread):
    codec, head = codec_of(name), Head(space=space, size=size)
    values = rows_of(space, rows, size, seed, spread)
    state = codec.fit([rows_of(space, 50, size, 1, 2.0)], head)
    seeds = seeds_of(rows, seed)
    together = codec.encode(values, head, state, seeds)
    for row in range(rows):
        alone = codec.encode(values[row : row + 1], head, state, seeds[row : row + 1])
        assert same(alone, parts_of_row(together, codec.columns(head), row))


@each_codec
@given(st.integers(1, 6), st.integers(2, 40), st.integers(0, 2**31))
def test_numpy_rows_are_stored_as_those_of_torch_are(name, space, rows, size, seed):
    codec, head = codec_of(name), Head(space=space, size=size)
    learned, values = rows_of(space, 30, size, 1, 2.0), rows_of(space, rows, size, seed, 2.0)
    state = codec.fit([learned], head)
    as_array = codec.fit([learned.numpy()], head)
    assert state.keys() == as_array.keys()
    assert all(torch.equal(state[part], as_array[part]) for part in state)
    wanted = codec.encode(values, head, state, seeds_of(rows))
    locked = values.numpy().copy()
    locked.setflags(write=False)  # as a memory map is
    backwards = values.numpy()[:, ::-1].copy()[:, ::-1]
    for given_as in (values.numpy(), values.double().numpy(), locked, backwards):
        before = given_as.copy()
        assert same(codec.encode(given_as, head, state, seeds_of(rows)), wanted)
        assert np.array_equal(given_as, before)


@each_codec
def test_decoding_a_row_alone_says_the_same(name, space):
    codec, head = codec_of(name), Head(space=space, size=60)
    values = rows_of(space, 7, 60, 0, 2.0)
    state = codec.fit([values], head)
    arrays = codec.encode(values, head, state, seeds_of(7))
    together = codec.decode(arrays, head, state, 1.0)
    for row in range(7):
        alone = codec.decode(parts_of_row(arrays, codec.columns(head), row), head, state, 1.0)
        for part, tensor in tensors_of(alone).items():
            if part != "tail_shape":
                whole = tensors_of(together)[part][row : row + 1]
                cut = whole[:, : tensor.shape[1]] if tensor.dim() > 1 else whole
                torch.testing.assert_close(tensor, cut, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "which"),
    [
        (name, which)
        for name in CODECS
        for which, logits in EXTREMES.items()
        # Floating point would hold what is not finite, which a store refuses.
        if "categorical" in SPACES[name]
        and not (name in ("dense16", "dense32") and -torch.inf in logits)
    ],
)
def test_extreme_rows_come_back_as_distributions(name, which):
    codec, head = codec_of(name), Head(space="categorical", size=4)
    values = torch.tensor([EXTREMES[which]] * 3).log_softmax(-1)
    state = codec.fit([values], head)
    arrays = codec.encode(values, head, state, seeds_of(3))
    assert codec.fault(arrays, head) is None
    rows = codec.decode(arrays, head, state, 1.0)
    p = values.double().exp()
    if isinstance(rows, Dense):
        back = rows.values.double().exp()
        torch.testing.assert_close(back.sum(-1), torch.ones(3).double(), rtol=0, atol=1e-3)
        torch.testing.assert_close(back, p, rtol=0, atol=0.05)
    else:
        assert (rows.probabilities >= 0).all()
        assert (rows.tail >= 0).all()
        assert not ((rows.probabilities > 0) & (p.gather(-1, rows.ids.long()) == 0)).any()
        total = rows.probabilities.double().sum(-1) + rows.tail.double()
        torch.testing.assert_close(total, torch.ones(3).double(), rtol=0, atol=0.05)
        for ids, kept in zip(rows.ids.tolist(), rows.probabilities.tolist(), strict=True):
            named = [i for i, probability in zip(ids, kept, strict=True) if probability > 0]
            assert len(named) == len(set(named))


@each_codec
@given(st.data())
def test_random_bytes_are_a_fault_or_rows(name, space, data):
    size, rows = 5, 3
    codec, head = codec_of(name), Head(space=space, size=size)
    state = codec.fit([rows_of(space, 30, size, 1, 1.0)], head)
    arrays = {}
    for part, column in codec.columns(head).items():
        count = rows * column.width
        if column.counted_by is not None:
            count = int(arrays[column.counted_by].sum(dtype=np.int64)) + data.draw(
                st.sampled_from([0, 0, 0, 1])
            )
        drawn = data.draw(st.integers(0, 2**32 - 1))
        generator = np.random.default_rng(drawn)
        top = data.draw(st.sampled_from([2, 6, 256]))
        raw = generator.integers(0, top, size=count * column.dtype.itemsize, dtype=np.uint16)
        numbers = raw.astype(np.uint8).view(column.dtype)
        if part in ("kept", "drawn", "others"):
            numbers = (numbers % 4).astype(column.dtype)
        arrays[part] = numbers if column.counted_by else numbers.reshape(rows, column.width)
    with np.errstate(all="ignore"):
        fault = codec.fault(arrays, head)
    assert fault is None or isinstance(fault, str)
    if fault is None:
        back = codec.decode(arrays, head, state, 1.0)
        for part, tensor in tensors_of(back).items():
            # A square root may say that a class cannot be.
            some = torch.isfinite(tensor.double()) | (
                (tensor == -torch.inf) & (space == "categorical")
            )
            assert part == "tail_shape" or some.all()
            assert part != "values" or torch.isfinite(tensor.double()).any(-1).all()
        if not isinstance(back, Dense):
            assert (back.ids.long() < size).all()


@pytest.mark.parametrize("name", CODECS)
def test_what_learns_nothing_asks_for_nothing(name):
    def pieces():
        asked.append(True)
        yield rows_of(space, 20, 6, 0, 1.0)

    asked, space = [], SPACES[name][0]
    state = codec_of(name).fit(pieces(), Head(space=space, size=6))
    assert bool(asked) == bool(state)
    assert all(part.device.type == "cpu" and part.is_contiguous() for part in state.values())


@pytest.mark.parametrize("name", CODECS)
def test_options_make_the_codec_again(name):
    codec = codec_of(name)
    assert codec.name == name
    assert make_codec(name, codec.options) == codec
