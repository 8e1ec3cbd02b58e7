import math

import pytest
import torch

from limbeck._errors import OptionError, ShapeError
from limbeck.losses import (
    cross_entropy,
    interpolated_word_level,
    sequence_level,
    soft_targets,
    weighted_mean,
    word_level,
)

NONE = float("-inf")


def softmax(row, temperature=1.0):
    powers = [math.exp(x / temperature) for x in row]
    return [power / sum(powers) for power in powers]


def of_token(student, teacher, token, share, temperature):
    """The interpolated loss of one token in plain Python floats."""
    p, q = softmax(teacher, temperature), softmax(student, temperature)
    kl = sum(a * math.log(a / b) for a, b in zip(p, q, strict=True))
    text = -math.log(softmax(student)[token])
    return (1 - share) * text + share * temperature**2 * kl


def batch(texts=3, length=4, classes=5):
    """Two sides' logits, the tokens, and a mask of texts of 1, 2, 3 ... tokens."""
    student, teacher = torch.randn(2, texts, length, classes, dtype=torch.float64).unbind()
    tokens = torch.randint(classes, (texts, length))
    mask = torch.arange(length) <= torch.arange(texts)[:, None]
    return student, teacher, tokens, mask


def reference(student, teacher, tokens, mask, share, temperature=1.0):
    rows = (tensor.flatten(0, 1).tolist() for tensor in (student, teacher, tokens, mask))
    found = [
        of_token(s, t, y, share, temperature) if m else 0.0
        for s, t, y, m in zip(*rows, strict=True)
    ]
    return torch.tensor(found, dtype=torch.float64).reshape(mask.shape)


CALLS = {
    "word_level": lambda s, t, y, m: word_level(s, t, m),
    "sequence_level": lambda s, t, y, m: sequence_level(s, y, m),
    "interpolated_word_level": interpolated_word_level,
}


@pytest.mark.parametrize("temperature", [1.0, 2.0])
def test_word_level_is_the_divergence_of_every_token_that_counts(temperature):
    student, teacher, tokens, mask = batch()
    found = word_level(student, teacher, mask, temperature=temperature)
    want = reference(student, teacher, tokens, mask, 1.0, temperature)
    torch.testing.assert_close(found, want)


def test_sequence_level_is_the_usual_loss_of_the_teachers_text():
    student, teacher, tokens, mask = batch()
    found = sequence_level(student, tokens, mask)
    torch.testing.assert_close(found, reference(student, teacher, tokens, mask, 0.0))
    usual = torch.nn.functional.cross_entropy(
        student.flatten(0, 1), tokens.masked_fill(~mask, -100).flatten()
    )
    torch.testing.assert_close(weighted_mean(found, mask), usual)


@pytest.mark.parametrize("temperature", [1.0, 2.0])
@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_the_interpolated_form_mixes_both(share, temperature):
    student, teacher, tokens, mask = batch()
    found = interpolated_word_level(
        student, teacher, tokens, mask, teacher_share=share, temperature=temperature
    )
    want = reference(student, teacher, tokens, mask, share, temperature)
    torch.testing.assert_close(found, want)


def test_the_options_are_one_half_and_1_if_left_out():
    student, teacher, tokens, mask = batch()
    want = reference(student, teacher, tokens, mask, 0.5)
    torch.testing.assert_close(interpolated_word_level(student, teacher, tokens, mask), want)
    want = reference(student, teacher, tokens, mask, 1.0)
    torch.testing.assert_close(word_level(student, teacher, mask), want)


@pytest.mark.parametrize("what", [0.0, 1e30, NONE, float("inf"), float("nan")])
@pytest.mark.parametrize("name", CALLS)
def test_padding_adds_exactly_nothing_whatever_stands_there(name, what):
    student, teacher, tokens, mask = batch()
    want = CALLS[name](student.requires_grad_(), teacher, tokens, mask)
    (want_gradient,) = torch.autograd.grad(want.sum(), student)
    out = ~mask[..., None]
    padded = student.detach().masked_fill(out, what).requires_grad_()
    found = CALLS[name](
        padded, teacher.masked_fill(out, what), tokens.masked_fill(~mask, -100), mask
    )
    found.sum().backward()
    assert torch.equal(found, want)
    assert torch.equal(found[~mask], torch.zeros(int((~mask).sum())).double())
    assert torch.equal(padded.grad, want_gradient)
    assert torch.equal(padded.grad[~mask], torch.zeros(int((~mask).sum()), 5).double())


@pytest.mark.parametrize("name", CALLS)
def test_a_longer_batch_of_the_same_texts_has_the_same_mean(name):
    student, teacher, tokens, mask = batch()
    want = weighted_mean(CALLS[name](student, teacher, tokens, mask), mask)
    longer = (
        torch.cat([tensor, tensor.new_ones((3, 6, *tensor.shape[2:]))], 1)
        for tensor in (student, teacher, tokens)
    )
    mask = torch.cat([mask, mask.new_zeros(3, 6)], 1)
    torch.testing.assert_close(weighted_mean(CALLS[name](*longer, mask), mask), want)


@pytest.mark.parametrize("name", CALLS)
def test_a_mask_may_be_of_numbers(name):
    student, teacher, tokens, mask = batch()
    want = CALLS[name](student, teacher, tokens, mask)
    for other in (mask.long(), mask.float()):
        assert torch.equal(CALLS[name](student, teacher, tokens, other), want)


def test_without_padding_they_are_the_losses_of_each_row():
    student, teacher, tokens, mask = batch()
    all_ = torch.ones_like(mask)
    torch.testing.assert_close(
        word_level(student, teacher, all_), soft_targets(student, teacher, temperature=1.0)
    )
    torch.testing.assert_close(
        sequence_level(student, tokens, all_), cross_entropy(student, tokens)
    )


def test_a_weighted_mean_counts_each_value_as_often_as_it_weighs():
    values = torch.tensor([[1.0, 2.0], [4.0, 8.0]])
    weights = torch.tensor([[1.0, 0.5], [0.0, 2.5]])
    assert float(weighted_mean(values, weights)) == pytest.approx((1 + 1 + 20) / 4)
    assert float(weighted_mean(values, weights / 100)) == pytest.approx((1 + 1 + 20) / 4)
    assert weighted_mean(values, weights).shape == ()


@pytest.mark.parametrize("what", [NONE, float("inf"), float("nan")])
def test_a_value_of_weight_0_adds_exactly_nothing(what):
    values = torch.tensor([1.0, what, 3.0], requires_grad=True)
    weights = torch.tensor([True, False, True])
    found = weighted_mean(values, weights)
    found.backward()
    assert float(found.detach()) == 2
    assert torch.equal(values.grad, torch.tensor([0.5, 0.0, 0.5]))


def test_the_mean_of_nothing_is_0_with_a_gradient_of_0():
    values = torch.tensor([1.0, 2.0], requires_grad=True)
    found = weighted_mean(values, torch.zeros(2))
    found.backward()
    assert float(found.detach()) == 0
    assert torch.equal(values.grad, torch.zeros(2))
    assert float(weighted_mean(torch.zeros(0, 3), torch.zeros(0, 3))) == 0


def test_no_gradient_reaches_the_weights_and_half_precision_is_summed_in_float32():
    weights = torch.ones(3000, requires_grad=True)
    values = torch.full((3000,), 1.0, dtype=torch.bfloat16, requires_grad=True)
    found = weighted_mean(values, weights)
    found.backward()
    assert found.dtype == torch.float32
    assert float(found.detach()) == 1
    assert weights.grad is None
    assert weighted_mean(values.double(), weights).dtype == torch.float64


@pytest.mark.parametrize("share", [-0.1, 1.1, float("nan")])
def test_a_share_out_of_its_range_is_refused(share):
    student, teacher, tokens, mask = batch()
    with pytest.raises(OptionError) as error:
        interpolated_word_level(student, teacher, tokens, mask, teacher_share=share)
    assert str(error.value) == f"teacher_share must be from 0 to 1, got {share}."


def test_what_does_not_fit_is_refused():
    student, teacher, tokens, mask = batch()
    for call in (
        lambda: word_level(student, teacher, mask[:, :3]),
        lambda: sequence_level(student, tokens, mask[:, :3]),
    ):
        with pytest.raises(ShapeError) as error:
            call()
        assert str(error.value) == (
            "mask must have the shape of student_logits without its last axis (classes): expected "
            "(3, 4), got (3, 3)."
        )
    with pytest.raises(ShapeError) as error:
        sequence_level(student, tokens[:2], mask)
    assert str(error.value) == (
        "tokens must have the shape of student_logits without its last axis (classes): expected "
        "(3, 4), got (2, 4)."
    )
    with pytest.raises(ShapeError, match=r"^these must have one shape: student_logits"):
        word_level(student, teacher[:2], mask)
    with pytest.raises(ShapeError) as error:
        weighted_mean(torch.zeros(4), torch.zeros(3))
    assert str(error.value) == "these must have one shape: values (4,), weights (3,)."
    with pytest.raises(OptionError, match=r"^temperature must be above 0 and finite, got 0\.$"):
        word_level(student, teacher, mask, temperature=0)
