import json

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as nst

from limbeck._errors import OptionError
from limbeck.signals import Dense, Head, Sparse
from limbeck.targets import CODECS, make_codec


def head_of(size, space="categorical"):
    return Head(space=space, size=size)


def encoded(codec, values, head):
    return codec.encode(values, head, {}, np.arange(len(values), dtype=np.uint64))


def coded(codec, values, head, temperature=4.0):
    arrays = encoded(codec, values, head)
    for part, column in codec.columns(head).items():
        assert arrays[part].dtype == column.dtype
        assert arrays[part].shape == (len(values), column.width)
    assert sorted(arrays) == sorted(codec.columns(head))
    assert codec.fault(arrays, head) is None
    return codec.decode(arrays, head, {}, temperature)


shapes = nst.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=7)


@given(nst.arrays(np.float32, shapes, elements=st.floats(-60000, 60000, width=32)))
def test_dense16_keeps_every_number_within_the_stated_error(values):
    back = coded(make_codec("dense16", {}), torch.from_numpy(values), head_of(values.shape[-1]))
    assert isinstance(back, Dense)
    error = np.abs(back.values.double().numpy() - values.astype(np.float64))
    # Half a unit in the last of 11 places, or half the smallest number that there is.
    bound = np.maximum(np.abs(values.astype(np.float64)) * 2**-11, 2**-25)
    assert (error <= bound).all()


def test_the_error_of_dense16_is_stated_in_the_codec_and_reached():
    codec = make_codec("dense16", {})
    assert (codec.relative, codec.absolute) == (2**-11, 2**-25)
    halfway = 1 + 2**-11  # between 1 and the next float16
    back = coded(codec, torch.tensor([[halfway]]), head_of(1)).values
    assert abs(back.item() - halfway) == 2**-11


@given(nst.arrays(np.float32, shapes, elements=st.floats(allow_nan=False, width=32)))
def test_dense32_keeps_every_bit(values):
    finite = np.nan_to_num(values)
    back = coded(make_codec("dense32", {}), torch.from_numpy(finite), head_of(values.shape[-1]))
    assert back.values.numpy().tobytes() == finite.tobytes()
    assert back.temperature == 4.0


def test_dense16_refuses_what_it_cannot_hold():
    with pytest.raises(OptionError, match=r"up to 65504, got 70000 for head label\. Use .*dense32"):
        encoded(make_codec("dense16", {}), torch.tensor([[1.0, -70000.0]]), head_of(2))


@pytest.mark.parametrize("name", ["dense16", "dense32"])
def test_a_class_without_mass_stays_without(name):
    log_p = torch.tensor([[0.25, 0.75, 0.0]]).log()
    back = coded(make_codec(name, {}), log_p, head_of(3))
    torch.testing.assert_close(
        back.values.float().softmax(-1), torch.tensor([[0.25, 0.75, 0]]), atol=1e-3, rtol=0
    )
    assert back.values.float().softmax(-1)[0, 2] == 0


@given(shapes, st.integers(1, 7), st.integers(0, 2**32 - 1), st.sampled_from([0.1, 1.0, 20.0]))
def test_topk_names_the_most_probable_classes(shape, k, seed, spread):
    k = min(k, shape[-1])
    logits = torch.randn(shape, generator=torch.Generator().manual_seed(seed)) * spread
    log_p = logits.log_softmax(-1)
    back = coded(make_codec("topk", {"k": k}), log_p, head_of(shape[-1]))
    assert isinstance(back, Sparse)
    for row, ids, kept, tail in zip(
        log_p.double().exp().flatten(0, -2).tolist(),
        back.ids.flatten(0, -2).tolist(),
        back.probabilities.double().flatten(0, -2).tolist(),
        back.tail.double().flatten().tolist(),
        strict=True,
    ):
        assert len(set(ids)) == k
        assert sorted((row[i] for i in ids), reverse=True) == sorted(row, reverse=True)[:k]
        for i, probability in zip(ids, kept, strict=True):
            # Rounded down: at most one unit in the last place below, never above.
            assert 0 <= row[i] * (1 + 1e-6) - probability <= max(row[i] * 2**-9.9, 2**-23)
        assert abs(sum(kept) + tail - 1) < 1e-7


def test_topk_of_a_sure_teacher_still_sums_to_one():
    log_p = torch.tensor([[20.0, 0.0, 0.0], [9.0, 0.0, 0.0]]).log_softmax(-1)
    back = coded(make_codec("topk", {"k": 2}), log_p, head_of(3))
    total = back.probabilities.double().sum(-1) + back.tail.double()
    torch.testing.assert_close(total, torch.ones(2, dtype=torch.float64), rtol=0, atol=1e-7)
    assert (back.tail >= 0).all()


@pytest.mark.parametrize(
    ("size", "dtype"),
    [(2, "uint8"), (256, "uint8"), (257, "uint16"), (65536, "uint16"), (65537, "uint32")],
)
def test_ids_take_the_smallest_unsigned_type(size, dtype):
    log_p = torch.zeros(1, size)
    log_p[0, -1] = 5.0
    back = coded(make_codec("topk", {"k": 1}), log_p.log_softmax(-1), head_of(size))
    assert back.ids.dtype == getattr(torch, dtype)
    assert back.to(torch.device("cpu")).ids.item() == size - 1


def test_those_that_leave_out_what_they_cannot_say_are_biased():
    biased = {name: make_codec(name, {"k": 1} if name == "topk" else {}).biased for name in CODECS}
    assert {name for name, moves in biased.items() if moves} == {"principal", "selected", "topk"}


@pytest.mark.parametrize("space", ["binary", "real"])
def test_topk_is_for_categorical_heads(space):
    with pytest.raises(OptionError, match=rf"categorical heads, got head label, which is {space}"):
        make_codec("topk", {"k": 1}).columns(head_of(3, space))


def test_topk_cannot_keep_more_than_there_is():
    with pytest.raises(OptionError, match=r"at most the 3 classes of head label, got 4"):
        make_codec("topk", {"k": 4}).columns(head_of(3))


@pytest.mark.parametrize("k", [0, -1, 2.5, "8", True, None])
def test_k_is_a_whole_number_from_one(k):
    with pytest.raises(OptionError, match=r"k of codec topk must be a whole number from 1"):
        make_codec("topk", {"k": k})


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("zip", {}, r'codec must be one of dense16, dense32, .*sqrt4, .* got "zip"'),
        ("dense16", {"k": 3}, r"dense16 takes the options: none; got k\. Leave k out\."),
        ("topk", {}, r"k; got none\. Set codec_options = \{ k = \.\.\. \}\."),
        ("topk", {"k": 3, "biased": False}, r"topk takes the options: k; got biased, k"),
    ],
)
def test_refuses_unknown_codecs_and_options(name, options, message):
    with pytest.raises(OptionError, match=message):
        make_codec(name, options)


@pytest.mark.parametrize("name", [make_codec("sqrt8", {}), None, ["topk"], b"topk"])
def test_a_codec_is_named(name):
    with pytest.raises(OptionError, match=r"codec must be a name, got .* options as codec_options"):
        make_codec(name, {})


@pytest.mark.parametrize("options", [["k"], "k", 3])
def test_options_go_by_name(options):
    with pytest.raises(OptionError, match=r"codec_options must be options by name, .* got"):
        make_codec("topk", options)


def test_options_may_be_numbers_of_numpy():
    assert make_codec("topk", {"k": np.int64(3)}).options == {"k": 3}
    taken = {"tau": np.float64(0.25), "temperatures": np.array([2.0, 4.0])}
    options = make_codec("threshold", taken).options
    assert json.dumps(options) == '{"tau": 0.25, "levels": 63, "temperatures": [2.0, 4.0]}'
    with pytest.raises(OptionError, match=r"whole number from 1, got 2\.5"):
        make_codec("topk", {"k": np.float64(2.5)})


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"ids": np.array([[3]], dtype=np.uint8)}, "class 3 of a head of 3 classes"),
        ({"tail": np.array([[0.9]], dtype=np.float32)}, "probabilities that do not sum to 1"),
        ({"tail": np.array([[0.335]], dtype=np.float32)}, "probabilities that do not sum to 1"),
        ({"tail": np.array([[np.nan]], dtype=np.float32)}, "probabilities that do not sum to 1"),
    ],
)
def test_topk_finds_what_it_never_wrote(change, fault):
    codec = make_codec("topk", {"k": 1})
    # The class that is kept has .66504, and .33496 is left.
    arrays = encoded(codec, torch.tensor([[2.0, 1.0, 0.0]]).log_softmax(-1), head_of(3))
    assert codec.fault({**arrays, **change}, head_of(3)) == fault


def test_topk_finds_a_class_that_a_row_names_twice():
    codec = make_codec("topk", {"k": 3})
    tail = np.zeros((1, 1), dtype=np.float32)
    ids = np.array([[1, 0, 1]], dtype=np.uint8)
    twice = np.array([[0.25, 0.5, 0.25]], dtype=np.float16)
    once = np.array([[0.5, 0.5, 0.0]], dtype=np.float16)  # what has no probability names nothing
    for probabilities, fault in ((twice, "a class that one row names twice"), (once, None)):
        arrays = {"ids": ids, "probabilities": probabilities, "tail": tail}
        assert codec.fault(arrays, head_of(3)) == fault


@pytest.mark.parametrize("number", [np.nan, np.inf])
def test_dense_finds_what_is_not_finite(number):
    arrays = {"values": np.array([[0.0, number]], dtype=np.float16)}
    assert make_codec("dense16", {}).fault(arrays, head_of(2)) == "a number that is not finite"
