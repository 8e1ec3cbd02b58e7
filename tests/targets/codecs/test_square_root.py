import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from limbeck._errors import OptionError
from limbeck.losses import soft_targets
from limbeck.signals import Dense, Head
from limbeck.targets import make_codec
from limbeck.targets.codecs import SquareRoot

BITS = [4, 5, 6, 8, 10, 12]


def classes(size):
    return Head(space="categorical", size=size)


def encoded(codec, values, head):
    return codec.encode(values, head, {}, np.arange(len(values), dtype=np.uint64))


def levels_of(bits):
    """Whole bytes have one level less: a number of theirs stands for what cannot be."""
    return 254 if bits == 8 else 2**bits - 1


def coded(bits, values, head, temperature=1.0):
    codec = SquareRoot(levels_of(bits))
    arrays = encoded(codec, values, head)
    (column,) = codec.columns(head).values()
    assert arrays["levels"].dtype == column.dtype == (np.uint8 if bits <= 8 else np.uint16)
    assert arrays["levels"].shape == (len(values), column.width)
    assert column.width == head.size
    assert codec.fault(arrays, head) is None
    back = codec.decode(arrays, head, {}, temperature)
    assert isinstance(back, Dense)
    assert back.temperature == temperature
    return back.values.double()


def by_hand(row, bits):
    """The nearest levels of the square roots, and what they stand for, in plain Python."""
    top = levels_of(bits)
    levels = [round(math.sqrt(p) * top) for p in row]
    weights = [1 / 12 if level == 0 else level**2 for level in levels]
    return [weight / sum(weights) for weight in weights]


def distributions(rows, size, spread, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return (torch.randn(rows, size, generator=generator) * spread).log_softmax(-1)


def kl(log_p, log_q):
    return (log_p.exp() * (log_p - log_q)).sum(-1)


@pytest.mark.parametrize("bits", BITS)
def test_a_row_is_what_a_loop_by_hand_makes(bits):
    log_p = distributions(20, 7, 3.0).double()
    back = coded(bits, log_p, classes(7), temperature=4.0)
    for row, got in zip(log_p.exp().tolist(), back.exp().tolist(), strict=True):
        assert got == pytest.approx(by_hand(row, bits), rel=1e-5)


def test_a_row_whose_roots_are_levels_is_kept_exactly():
    p = torch.tensor([[81.0, 144.0]]) / 225  # 9/15 and 12/15 squared
    back = coded(4, p.log(), classes(2))
    torch.testing.assert_close(back.exp(), p.double(), rtol=1e-6, atol=0)


@given(st.sampled_from(BITS), st.integers(2, 50), st.floats(0.01, 30), st.integers(0, 2**31))
def test_the_error_is_the_stated_one_and_a_row_sums_to_1(bits, size, spread, seed):
    log_p = distributions(30, size, spread, seed).double()
    back = coded(bits, log_p, classes(size))
    top = levels_of(bits)
    torch.testing.assert_close(back.exp().sum(-1), torch.ones(30).double(), rtol=0, atol=1e-5)
    assert torch.isfinite(back).all()
    # Twice the mean of the stated error, for a single row may be less lucky.
    assert float(kl(log_p, back).max()) <= 4 * size / (6 * top**2) + 1e-6


@pytest.mark.parametrize("bits", BITS)
def test_the_mean_error_of_broad_rows_is_the_stated_one(bits):
    log_p = distributions(4000, 10, 0.5).double()
    stated = 10 / (6 * levels_of(bits) ** 2)
    # Sums that differ from 1 in the last place of float32 are a tenth of the error of 12 bits.
    back = coded(bits, log_p, classes(10)).log_softmax(-1)
    assert float(kl(log_p, back).mean()) == pytest.approx(stated, 0.25)


@pytest.mark.parametrize("bits", BITS)
def test_yes_or_no_classes_are_rounded_in_their_angle(bits):
    log_odds = torch.randn(200, 9, generator=torch.Generator().manual_seed(1)) * 5
    back = coded(bits, log_odds, Head(space="binary", size=9))
    before, after = (torch.asin(z.double().sigmoid().sqrt()) for z in (log_odds, back))
    assert float((before - after).abs().max()) <= math.pi / (4 * levels_of(bits)) * (1 + 1e-6)
    assert torch.isfinite(back).all()
    opposite = coded(bits, -log_odds, Head(space="binary", size=9))
    torch.testing.assert_close(back, -opposite, rtol=1e-4, atol=1e-4)


def test_certain_answers_stay_finite_and_near():
    sure = torch.tensor([[200.0, -200.0]])
    back = coded(8, sure, Head(space="binary", size=2)).sigmoid()
    assert back[0, 0] > 1 - 1e-5
    assert back[0, 1] < 1e-5
    # A quarter of a level inside the end.
    assert float(back[0, 1]) == pytest.approx(math.sin(0.25 / 254 * math.pi / 2) ** 2, rel=1e-3)
    only = torch.tensor([[0.0, -1e4, -1e4]])
    assert coded(8, only, classes(3)).exp()[0, 0] > 1 - 1e-5


def test_each_bit_more_quarters_the_error():
    log_p = distributions(3000, 10, 1.0).double()
    errors = [float(kl(log_p, coded(bits, log_p, classes(10))).mean()) for bits in (6, 8, 10)]
    assert errors[0] / errors[1] == pytest.approx(16, 0.15)
    assert errors[1] / errors[2] == pytest.approx(16, 0.15)


def test_logits_are_read_as_the_distribution_they_are():
    logits = torch.randn(10, 6, generator=torch.Generator().manual_seed(2))
    log_p = F.log_softmax(logits, -1)
    assert torch.equal(coded(8, logits, classes(6)), coded(8, log_p, classes(6)))


def test_a_row_without_a_probable_class_is_a_fault():
    codec = SquareRoot(31)
    arrays = encoded(codec, distributions(3, 4, 1.0), classes(4))
    arrays["levels"][1] = 0
    assert codec.fault(arrays, classes(4)) == "a row without a probable class"


def test_levels_beyond_the_largest_are_a_fault():
    levels = np.array([[32, 1]], dtype=np.uint8)
    assert SquareRoot(31).fault({"levels": levels}, classes(2)) is None  # 32 stands for nothing
    assert SquareRoot(31).fault({"levels": levels + 1}, classes(2)) == "level 33, of 31"
    assert SquareRoot(31).fault({"levels": levels}, Head(space="binary", size=2)) is not None
    nothing = {"levels": np.array([[32, 0]], dtype=np.uint8)}
    assert SquareRoot(31).fault(nothing, classes(2)) == "a row without a probable class"


@pytest.mark.parametrize("levels", [31, 254, 255, 65534])
def test_what_cannot_be_stays_so_and_the_others_are_as_without_it(levels):
    log_p = distributions(50, 6, 1.0)
    padded = torch.cat([log_p, torch.full((50, 2), -torch.inf)], -1)[:, [6, 0, 1, 2, 7, 3, 4, 5]]
    codec, head = SquareRoot(levels), classes(8)
    arrays = encoded(codec, padded, head)
    assert arrays["levels"].dtype == codec.columns(head)["levels"].dtype
    assert codec.fault(arrays, head) is None
    back = codec.decode(arrays, head, {}, 1.0).values
    assert (back[:, [0, 4]] == -torch.inf).all()
    alone = codec.decode(encoded(codec, log_p, classes(6)), classes(6), {}, 1.0).values
    torch.testing.assert_close(back[:, [1, 2, 3, 5, 6, 7]], alone)


def test_a_student_that_gives_padding_nothing_has_a_finite_loss_from_these_rows():
    rows, padding = distributions(5, 4, 1.0), torch.full((5, 3), -torch.inf)
    back = coded(8, torch.cat([rows, padding], -1), classes(7)).float()
    student = torch.cat([torch.zeros(5, 4), padding], -1).requires_grad_()
    loss = soft_targets(student, back, temperature=1.0)
    assert torch.isfinite(loss).all()
    (gradient,) = torch.autograd.grad(loss.sum(), student)
    assert torch.isfinite(gradient).all()


def test_numbers_and_too_many_classes_are_refused():
    with pytest.raises(OptionError, match=r"sqrt5 is for probabilities, got head label.* real16"):
        make_codec("sqrt5", {}).columns(Head(space="real", size=3))
    with pytest.raises(OptionError, match=r"sqrt4 is for at most 225 classes, got the 226 of"):
        make_codec("sqrt4", {}).columns(classes(226))
    uniform = torch.full((1, 225), -math.log(225))
    torch.testing.assert_close(coded(4, uniform, classes(225)), uniform.double())


@pytest.mark.parametrize("levels", [2, 65535, 2.5, "8", True])
def test_the_levels_are_a_whole_number(levels):
    with pytest.raises(OptionError, match="levels of codec sqrt must be a whole number from 3"):
        make_codec("sqrt", {"levels": levels})


def test_a_name_may_say_the_levels_or_an_option():
    assert make_codec("sqrt8", {}) == SquareRoot(254, name="sqrt8")
    assert make_codec("sqrt8", {}).options == {}
    assert make_codec("sqrt", {"levels": 25}) == SquareRoot(25)
    assert make_codec("sqrt", {}).options == {"levels": 31}
    with pytest.raises(OptionError, match=r"sqrt takes the options: levels; got name"):
        make_codec("sqrt", {"name": "sqrt8"})
