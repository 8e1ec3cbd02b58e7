from dataclasses import replace

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from limbeck._errors import OptionError, ShapeError
from limbeck.losses import (
    by_chunks,
    by_chunks_of_both,
    jensen_shannon,
    soft_targets,
    sparse_jensen_shannon,
    sparse_soft_targets,
)
from limbeck.signals import Sparse

TOKENS, WIDTH, CLASSES = 10, 6, 40


def rows_of(logits, *, tail_shape=None, drawn=None):
    named, ids = torch.softmax(logits, -1).topk(5, -1)
    return Sparse(
        ids=ids,
        probabilities=named,
        tail=1 - named.sum(-1),
        tail_shape=tail_shape,
        drawn=drawn,
    )


def layer(width=WIDTH, dtype=torch.float64, tokens=TOKENS):
    """Hidden states, a weight and a bias."""
    shapes = (tokens, width), (CLASSES, width), (CLASSES,)
    return [torch.randn(shape, dtype=dtype) for shape in shapes]


def values_and_gradients(loss, tensors, upstream):
    """The values, and the gradients of their sum weighed by `upstream` into each tensor."""
    tensors = [tensor.clone().requires_grad_() for tensor in tensors]
    values = loss(*tensors)
    return values.detach(), *torch.autograd.grad(values, tensors, upstream)


@pytest.mark.parametrize("chunk", [1, 3, 5, 10, 99])
@pytest.mark.parametrize("loss", [sparse_soft_targets, sparse_jensen_shannon])
@pytest.mark.parametrize("shape", [None, torch.randn(CLASSES).double()])
def test_values_and_gradients_are_those_of_the_loss_of_the_logits(loss, shape, chunk):
    """Of each row its own: the caller weighs them as it likes."""
    rows = rows_of(torch.randn(TOKENS, CLASSES, dtype=torch.float64), tail_shape=shape)
    upstream = torch.randn(TOKENS, dtype=torch.float64)
    tensors = layer()
    found = values_and_gradients(
        lambda h, w, b: by_chunks(loss, h, w, rows, bias=b, chunk=chunk), tensors, upstream
    )
    want = values_and_gradients(lambda h, w, b: loss(h @ w.T + b, rows), tensors, upstream)
    torch.testing.assert_close(found, want)


@pytest.mark.parametrize("chunk", [1, 3, 99])
@pytest.mark.parametrize("loss", [soft_targets, jensen_shannon])
def test_the_same_between_two_layers_of_different_width(loss, chunk):
    upstream = torch.randn(TOKENS, dtype=torch.float64)
    tensors, (hidden, weight, bias) = layer(), layer(width=9)
    found = values_and_gradients(
        lambda h, w, b: by_chunks_of_both(
            loss, h, w, hidden, weight, bias=b, teacher_bias=bias, chunk=chunk
        ),
        tensors,
        upstream,
    )
    want = values_and_gradients(
        lambda h, w, b: loss(h @ w.T + b, hidden @ weight.T + bias), tensors, upstream
    )
    torch.testing.assert_close(found, want)


def test_drawn_entries_go_along():
    logits = torch.randn(TOKENS, CLASSES, dtype=torch.float64)
    rows = rows_of(logits, drawn=torch.rand(TOKENS, 5) < 0.5)
    hidden, weight, _ = layer()
    with pytest.raises(OptionError, match="drawn entries"):
        by_chunks(sparse_jensen_shannon, hidden, weight, rows, chunk=4)
    found = by_chunks(sparse_soft_targets, hidden, weight, rows, chunk=4)
    torch.testing.assert_close(found, sparse_soft_targets(hidden @ weight.T, rows))


def test_rows_of_any_shape_go_along_with_all_that_they_carry():
    logits = torch.randn(TOKENS, CLASSES, dtype=torch.float64)
    drawn = torch.rand(TOKENS, 5) < 0.5
    flat = replace(
        rows_of(logits, drawn=drawn),
        own=torch.randn(TOKENS, 5),
        temperatures=(2.0,),
        log_normalisers=torch.randn(TOKENS, 1),
    )
    hidden, weight, _ = layer()

    def at_two(logits, rows):
        return sparse_soft_targets(logits, rows.moved(2.0))

    found = by_chunks(at_two, hidden.reshape(2, 5, WIDTH), weight, flat.of_samples(5), chunk=4)
    torch.testing.assert_close(found, at_two(hidden @ weight.T, flat).reshape(2, 5))


def test_a_frozen_layer_gets_no_gradient_and_hidden_states_do():
    rows = rows_of(torch.randn(TOKENS, CLASSES, dtype=torch.float64))
    hidden, weight, _ = layer()
    hidden.requires_grad_()
    by_chunks(sparse_soft_targets, hidden, weight, rows, chunk=4).sum().backward()
    (want,) = torch.autograd.grad(sparse_soft_targets(hidden @ weight.T, rows).sum(), hidden)
    torch.testing.assert_close(hidden.grad, want)
    assert weight.grad is None


def test_no_gradient_reaches_the_teachers_layer():
    (hidden, weight, _), teacher = layer(), layer()
    for tensor in (hidden, *teacher):
        tensor.requires_grad_()
    by_chunks_of_both(
        soft_targets, hidden, weight, teacher[0], teacher[1], teacher_bias=teacher[2]
    ).sum().backward()
    assert hidden.grad is not None
    assert [tensor.grad for tensor in teacher] == [None, None, None]


def test_padded_classes_by_a_bias_of_minus_infinity_change_nothing():
    rows = rows_of(torch.randn(TOKENS, CLASSES, dtype=torch.float64))
    hidden, weight, bias = layer()
    hidden.requires_grad_()
    weight = torch.cat([weight, torch.randn(3, WIDTH).double()]).requires_grad_()
    bias = torch.cat([bias, torch.full((3,), -torch.inf).double()])
    found = by_chunks(sparse_soft_targets, hidden, weight, rows, bias=bias, chunk=4)
    found.sum().backward()
    want = by_chunks(sparse_soft_targets, hidden, weight[:-3], rows, bias=bias[:-3], chunk=4)
    torch.testing.assert_close(found, want)
    assert torch.equal(weight.grad[-3:], torch.zeros(3, WIDTH).double())


def test_float32_gradients_are_within_1e_5_of_float64():
    rows = rows_of(torch.randn(256, CLASSES, dtype=torch.float64))
    upstream = torch.ones(256, dtype=torch.float64)
    tensors = layer(tokens=256)
    want = values_and_gradients(
        lambda h, w, b: sparse_soft_targets(h @ w.T + b, rows), tensors, upstream
    )
    found = values_and_gradients(
        lambda h, w, b: by_chunks(sparse_soft_targets, h, w, rows, bias=b, chunk=16),
        [tensor.float() for tensor in tensors],
        upstream.float(),
    )
    for one, exact in zip(found, want, strict=True):
        assert one.dtype == torch.float32
        assert float((one - exact).norm() / exact.norm()) < 1e-5


def test_the_gradient_of_a_half_precision_weight_is_summed_in_float32():
    """A thousand small additions to a large number: bfloat16 would lose every one of them."""
    hidden = torch.full((1001, 1), 2.0**-10, dtype=torch.bfloat16)
    hidden[0] = 1.0
    weight = torch.zeros(2, 1, dtype=torch.bfloat16, requires_grad=True)
    rows = Sparse(
        ids=torch.zeros(1001, 1, dtype=torch.long),
        probabilities=torch.ones(1001, 1),
        tail=torch.zeros(1001),
    )
    by_chunks(sparse_soft_targets, hidden, weight, rows, chunk=1).sum().backward()
    want = -0.5 * (1 + 1000 * 2.0**-10)
    assert float(weight.grad[0, 0]) == pytest.approx(want, rel=2**-8)


def test_hidden_states_of_half_precision_meet_a_weight_of_float32():
    """As under autocast, which does not reach inside."""
    rows = rows_of(torch.randn(TOKENS, CLASSES))
    hidden, weight, _ = layer(dtype=torch.float32)
    hidden, weight = hidden.bfloat16().requires_grad_(), weight.requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        found = by_chunks(sparse_soft_targets, hidden, weight, rows, chunk=4)
        found.sum().backward()
    want = sparse_soft_targets(hidden.float() @ weight.T, rows)
    torch.testing.assert_close(found, want)
    (exact,) = torch.autograd.grad(want.sum(), weight)
    torch.testing.assert_close(weight.grad, exact)
    assert hidden.grad.dtype == torch.bfloat16


@pytest.mark.parametrize("both", [False, True])
def test_no_more_rows_of_logits_are_made_than_a_chunk_has(both):
    hidden, weight, _ = layer(tokens=100)
    hidden.requires_grad_()
    teacher, teacher_weight, _ = layer(tokens=100)
    rows = rows_of(torch.randn(100, CLASSES, dtype=torch.float64))
    largest = 0

    class Watch(TorchDispatchMode):
        def __torch_dispatch__(self, function, types, arguments=(), options=None):
            nonlocal largest
            found = function(*arguments, **(options or {}))
            for part in tree_leaves(found):
                if isinstance(part, torch.Tensor) and part.shape[-1:] in ((CLASSES,), (41,)):
                    largest = max(largest, part.numel() // part.shape[-1])
            return found

    with Watch():
        if both:
            found = by_chunks_of_both(
                soft_targets, hidden, weight, teacher, teacher_weight, chunk=7
            )
        else:
            found = by_chunks(sparse_soft_targets, hidden, weight, rows, chunk=7)
        found.sum().backward()
    assert largest == 7


def test_what_does_not_fit_is_refused():
    hidden, weight, _ = layer()
    rows = rows_of(torch.randn(TOKENS, CLASSES))
    with pytest.raises(OptionError, match=r"^chunk must be 1 or more, got 0\.$"):
        by_chunks(sparse_soft_targets, hidden, weight, rows, chunk=0)
    with pytest.raises(ShapeError) as error:
        by_chunks(sparse_soft_targets, hidden[:3], weight, rows)
    assert str(error.value) == (
        "tail must have the shape of hidden without its last axis (width): expected (3,), got "
        "(10,)."
    )
    with pytest.raises(ShapeError) as error:
        by_chunks(sparse_soft_targets, hidden, weight[:, :4], rows)
    assert str(error.value) == "hidden and weight must have one width: (10, 6), (40, 4)."
    with pytest.raises(ShapeError) as error:
        by_chunks_of_both(soft_targets, hidden, weight, hidden, weight[:, :4])
    assert str(error.value) == (
        "teacher_hidden and teacher_weight must have one width: (10, 6), (40, 4)."
    )
    with pytest.raises(ShapeError) as error:
        by_chunks_of_both(soft_targets, hidden, weight, hidden[:3], weight)
    assert str(error.value) == (
        "hidden and teacher_hidden must have one leading shape: (10,), (3,)."
    )
    with pytest.raises(ShapeError) as error:
        by_chunks_of_both(soft_targets, hidden, weight, hidden, weight[:3])
    assert str(error.value) == (
        "weight and teacher_weight must have one row for each class: 40, 3."
    )
