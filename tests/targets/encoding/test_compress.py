import math

import pytest
import torch

from limbeck._errors import ModelError, OptionError
from limbeck.signals import Head
from limbeck.targets import COMPRESSIONS, compressed
from limbeck.targets.encoding._compress import check_compress

LABEL = Head(space="categorical", size=4)
TAGS = Head(name="tags", space="binary", size=4)


def power_normalised(scores, temperature):
    """q_i = p_i / sum p_j, then q_i^(1/T) over its sum, in plain Python."""
    q = [p / sum(scores) for p in scores]
    powers = [each ** (1 / temperature) for each in q]
    return [each / sum(powers) for each in powers]


@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0])
def test_softmax_is_the_textbooks(temperature):
    logits = torch.randn(6, 4) * 3
    want = [
        [math.exp(z / temperature) / sum(math.exp(y / temperature) for y in row) for z in row]
        for row in logits.tolist()
    ]
    got = compressed(logits, LABEL, compress="softmax", temperature=temperature).exp()
    torch.testing.assert_close(got, torch.tensor(want))


@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0])
@pytest.mark.parametrize("scale", [1.0, 1e-6, 250.0])
def test_normalised_divides_by_the_sum_and_then_softens(temperature, scale):
    scores = torch.rand(6, 4) * scale
    want = [power_normalised(row, temperature) for row in scores.tolist()]
    got = compressed(scores, LABEL, compress="normalised", temperature=temperature).exp()
    torch.testing.assert_close(got, torch.tensor(want))


def test_normalised_undoes_a_softmax():
    logits = torch.randn(6, 4)
    torch.testing.assert_close(
        compressed(logits.softmax(-1), LABEL, compress="normalised", temperature=3.0),
        compressed(logits, LABEL, compress="softmax", temperature=3.0),
    )


def test_a_score_of_zero_stays_finite():
    scores = torch.tensor([[0.0, 1.0, 1.0, 0.0]])
    got = compressed(scores, LABEL, compress="normalised", temperature=1.0)
    assert torch.isfinite(got).all()
    torch.testing.assert_close(got.exp(), torch.tensor([[0.0, 0.5, 0.5, 0.0]]))


def test_binary_logits_are_divided_by_the_temperature_only():
    logits = torch.randn(3, 4)
    got = compressed(logits, TAGS, compress="softmax", temperature=2.0)
    torch.testing.assert_close(got, logits / 2)


def test_binary_probabilities_become_log_odds_each_by_itself():
    logits = torch.randn(3, 4) * 4
    got = compressed(logits.sigmoid(), TAGS, compress="normalised", temperature=2.0)
    torch.testing.assert_close(got, logits / 2, rtol=1e-3, atol=1e-4)
    ends = torch.tensor([[0.0, 1.0, 0.5, 0.5]])
    assert torch.isfinite(compressed(ends, TAGS, compress="normalised", temperature=1.0)).all()


@pytest.mark.parametrize("compress", sorted(COMPRESSIONS))
def test_numbers_pass_unchanged(compress):
    numbers = torch.randn(3, 2) * 100
    head = Head(name="price", space="real", size=2)
    assert compressed(numbers, head, compress=compress, temperature=4.0).equal(numbers)


def test_half_precision_is_computed_in_float32():
    got = compressed(torch.randn(2, 4).half(), LABEL, compress="softmax", temperature=4.0)
    assert got.dtype == torch.float32


def test_refuses_a_negative_score():
    with pytest.raises(ModelError, match=r"head label must be 0 or more .* got -0\.5\. .*softmax"):
        compressed(
            torch.tensor([[1.0, -0.5, 1.0, 1.0]]), LABEL, compress="normalised", temperature=1.0
        )


def test_refuses_a_row_that_sums_to_zero():
    with pytest.raises(ModelError, match=r"head label .* a row that sums to 0\."):
        compressed(torch.zeros(2, 4), LABEL, compress="normalised", temperature=1.0)


def test_refuses_a_row_whose_sum_overflows():
    with pytest.raises(ModelError, match=r"sums to inf"):
        compressed(torch.full((2, 4), 3e38), LABEL, compress="normalised", temperature=1.0)


def test_refuses_a_binary_score_above_one():
    with pytest.raises(ModelError, match=r"head tags must be 0\.\.1, .* got 1\.5"):
        compressed(torch.full((1, 4), 1.5), TAGS, compress="normalised", temperature=1.0)


def test_names_the_compressions_there_are():
    with pytest.raises(OptionError, match=r'one of softmax, normalised, got "hardmax"'):
        check_compress("hardmax", "logits")


@pytest.mark.parametrize(
    ("compress", "outputs", "fitting"),
    [("softmax", "probabilities", "normalised"), ("normalised", "logits", "softmax")],
)
def test_refuses_a_compression_that_does_not_fit_the_outputs(compress, outputs, fitting):
    with pytest.raises(OptionError, match=rf'must be "{fitting}" .* outputs are {outputs}'):
        check_compress(compress, outputs)
    check_compress(fitting, outputs)
