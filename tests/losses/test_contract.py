"""What every loss keeps to, whatever it computes."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from limbeck import losses
from limbeck.signals import Sparse


@dataclass(frozen=True, kw_only=True)
class Case:
    """A loss, called with two tensors `(..., size)`: the second one is made into its target."""

    call: Callable[[Tensor, Tensor], Tensor]
    zero_at_equality: bool
    smooth: bool = True
    """False for a kink at equality, where rounding decides on the side."""
    padding: bool = True
    """Whether a class that both sides give -inf makes sense: not for plain numbers."""


def named(teacher, *, temperature=1.0, spread=False):
    """Rows that name the teacher's two most probable classes, and beside them padding.

    With `spread` they say how their tail lies, not quite as the teacher does.
    """
    precision = torch.promote_types(teacher.dtype, torch.float32)
    probabilities = torch.softmax(teacher.detach().double() / temperature, -1)
    largest, ids = probabilities.topk(2, dim=-1)
    tail = probabilities.scatter(-1, ids, 0.0).sum(-1)
    shape = torch.arange(teacher.shape[-1]) / 2.0
    shape[5:] = -torch.inf
    return Sparse(
        ids=torch.cat([ids, ids[..., :1]], -1),
        probabilities=F.pad(largest, (0, 1)).to(precision),
        tail=tail.to(precision),
        temperature=temperature,
        tail_shape=shape if spread else None,
    )


def identity(logits):
    """The weight of a layer that hands its hidden states on as logits."""
    return torch.eye(logits.shape[-1], dtype=logits.dtype)


FROM_LOGITS = {
    "soft_targets": losses.soft_targets,
    "soft_cross_entropy": losses.soft_cross_entropy,
    "soft_binary_targets": losses.soft_binary_targets,
    "decoupled_soft_targets": lambda s, t, **options: losses.decoupled_soft_targets(
        s, t, t.argmax(-1), **options
    ),
    "reverse_kl": losses.reverse_kl,
    "jensen_shannon": losses.jensen_shannon,
    "skew_kl": losses.skew_kl,
    "skew_reverse_kl": losses.skew_reverse_kl,
    "total_variation": losses.total_variation,
}
"""Losses from two logits, and options."""

FROM_ROWS = {
    "sparse_soft_targets": losses.sparse_soft_targets,
    "sparse_soft_cross_entropy": losses.sparse_soft_cross_entropy,
    "sparse_decoupled_soft_targets": lambda s, rows: losses.sparse_decoupled_soft_targets(
        s, rows, rows.ids[..., 1]
    ),
    "sparse_reverse_kl": losses.sparse_reverse_kl,
    "sparse_jensen_shannon": losses.sparse_jensen_shannon,
    "sparse_skew_kl": losses.sparse_skew_kl,
    "sparse_skew_reverse_kl": losses.sparse_skew_reverse_kl,
    "sparse_total_variation": losses.sparse_total_variation,
}
"""Losses from logits and sparse rows."""


def towards(name, call):
    """The case of a loss towards a teacher."""
    zero = "cross_entropy" not in name and "tail shape" not in name
    smooth = "total_variation" not in name
    padding = "by_chunks" not in name  # a product with infinity is no number
    return Case(call=call, zero_at_equality=zero, smooth=smooth, padding=padding)


def cases():
    """Name and call of each loss towards a teacher, with several options."""
    for name, loss in FROM_LOGITS.items():
        yield name, loss
        for temperature in (0.5, 1.0):
            yield f"{name} at T = {temperature}", partial(loss, temperature=temperature)
    for name in ("skew_kl", "skew_reverse_kl"):
        for skew in (0.0, 0.9):
            yield f"{name} with {skew}", partial(FROM_LOGITS[name], skew=skew)
    for share in (0.1, 0.9):
        yield f"jensen_shannon with {share}", partial(losses.jensen_shannon, teacher_share=share)
    for name, loss in FROM_ROWS.items():
        yield name, lambda s, t, loss=loss: loss(s, named(t))
        yield f"{name} at T = 4", lambda s, t, loss=loss: loss(s, named(t, temperature=4.0))
        yield f"{name} with a tail shape", lambda s, t, loss=loss: loss(s, named(t, spread=True))
    yield (
        "by_chunks",
        lambda s, t: losses.by_chunks(
            losses.sparse_soft_targets, s, identity(s), named(t), chunk=4
        ),
    )
    yield (
        "by_chunks_of_both",
        lambda s, t: losses.by_chunks_of_both(
            losses.soft_targets, s, identity(s), t, identity(t), chunk=4
        ),
    )


LOSSES = {
    **{name: towards(name, call) for name, call in cases()},
    "cross_entropy": Case(
        call=lambda s, t: losses.cross_entropy(s, t.argmax(-1)), zero_at_equality=False
    ),
    "binary_cross_entropy": Case(
        call=lambda s, t: losses.binary_cross_entropy(s, (t > 0).to(t.dtype)),
        zero_at_equality=False,
    ),
    "squared_error": Case(call=losses.squared_error, zero_at_equality=True, padding=False),
}
TO_A_TEACHER = [name for name, case in LOSSES.items() if case.zero_at_equality]
PADDED = [name for name, case in LOSSES.items() if case.padding]

rows = st.lists(st.tuples(*[st.floats(-30, 30, allow_subnormal=False)] * 8), min_size=1, max_size=4)


def pair(*shape, dtype=torch.float64):
    """A student that wants its gradient, and a teacher."""
    return torch.randn(*shape, dtype=dtype, requires_grad=True), torch.randn(*shape, dtype=dtype)


def value_and_gradient(call, student, teacher):
    """Each row's loss, and the gradient of their sum."""
    student = student.detach().clone().requires_grad_()
    value = call(student, teacher)
    value.sum().backward()
    return value.detach(), student.grad


def test_no_loss_is_left_out():
    assert {name.partition(" ")[0] for name in LOSSES} == set(losses.__all__)


@pytest.mark.parametrize("shape", [(), (3,), (2, 3), (2, 3, 4), (0,), (2, 0)])
@pytest.mark.parametrize("name", LOSSES)
def test_takes_any_leading_shape_and_gives_one_value_for_each_row(name, shape):
    student, teacher = pair(*shape, 5)
    value = LOSSES[name].call(student, teacher)
    assert value.shape == shape
    one_by_one = [
        LOSSES[name].call(s, t)
        for s, t in zip(student.reshape(-1, 5), teacher.reshape(-1, 5), strict=True)
    ]
    flat = torch.stack(one_by_one) if one_by_one else torch.zeros(0, dtype=torch.float64)
    torch.testing.assert_close(value.flatten(), flat)


@pytest.mark.parametrize("name", LOSSES)
def test_permuting_the_batch_permutes_the_result(name):
    student, teacher = pair(6, 5)
    order = torch.tensor([3, 1, 5, 0, 4, 2])
    value, gradient = value_and_gradient(LOSSES[name].call, student, teacher)
    moved, moved_gradient = value_and_gradient(LOSSES[name].call, student[order], teacher[order])
    torch.testing.assert_close(moved, value[order])
    torch.testing.assert_close(moved_gradient, gradient[order])


@pytest.mark.parametrize("name", LOSSES)
def test_a_rows_loss_does_not_depend_on_the_size_of_the_batch(name):
    student, teacher = pair(2, 5)
    value, gradient = value_and_gradient(LOSSES[name].call, student, teacher)
    tenfold, tenfold_gradient = value_and_gradient(
        LOSSES[name].call, student.repeat(10, 1), teacher.repeat(10, 1)
    )
    torch.testing.assert_close(tenfold[:2], value)
    torch.testing.assert_close(tenfold_gradient[:2], gradient)


@pytest.mark.parametrize("name", LOSSES)
@given(rows=rows)
def test_is_never_negative(name, rows):
    student, teacher = torch.tensor(rows, dtype=torch.float64).chunk(2, dim=-1)
    value = LOSSES[name].call(student, teacher)
    assert bool(torch.isfinite(value).all())
    assert float(value.min()) >= -1e-12 * 16


@pytest.mark.parametrize("name", TO_A_TEACHER)
def test_is_zero_and_stationary_where_student_and_teacher_agree(name):
    teacher = torch.randn(7, 5, dtype=torch.float64)
    value, gradient = value_and_gradient(LOSSES[name].call, teacher, teacher)
    torch.testing.assert_close(value, torch.zeros(7, dtype=torch.float64))
    if LOSSES[name].smooth:
        torch.testing.assert_close(gradient, torch.zeros(7, 5, dtype=torch.float64))


@pytest.mark.parametrize("name", TO_A_TEACHER)
def test_is_above_zero_where_they_differ(name):
    student, teacher = pair(50, 5)
    assert float(LOSSES[name].call(student.detach(), teacher).min()) > 0


@pytest.mark.parametrize("name", LOSSES)
def test_no_gradient_reaches_the_teacher(name):
    student, teacher = pair(4, 5)
    teacher.requires_grad_()
    LOSSES[name].call(student, teacher).sum().backward()
    assert student.grad is not None
    assert float(student.grad.abs().sum()) > 0
    assert teacher.grad is None


@pytest.mark.parametrize("name", LOSSES)
def test_the_gradient_agrees_with_finite_differences(name):
    student, teacher = pair(3, 5)
    assert torch.autograd.gradcheck(lambda s: LOSSES[name].call(s, teacher), student)


@pytest.mark.parametrize("name", PADDED)
def test_classes_that_both_sides_give_minus_infinity_change_nothing(name):
    student, teacher = pair(6, 5)
    value, gradient = value_and_gradient(LOSSES[name].call, student, teacher)
    padding = torch.full((6, 3), float("-inf"), dtype=torch.float64)
    padded_value, padded_gradient = value_and_gradient(
        LOSSES[name].call,
        torch.cat([student, padding], -1),
        torch.cat([teacher, padding], -1),
    )
    torch.testing.assert_close(padded_value, value)
    torch.testing.assert_close(padded_gradient[:, :5], gradient)
    assert torch.equal(padded_gradient[:, 5:], torch.zeros(6, 3, dtype=torch.float64))


@pytest.mark.parametrize("size", [1e3, -1e3])
@pytest.mark.parametrize("name", LOSSES)
def test_logits_of_a_thousand_give_finite_values_and_gradients(name, size):
    student, teacher = (tensor.detach() for tensor in pair(6, 5, dtype=torch.float32))
    student[:3, 0], teacher[2:5, 1] = size, size
    value, gradient = value_and_gradient(LOSSES[name].call, student, teacher)
    assert bool(torch.isfinite(value).all())
    assert bool(torch.isfinite(gradient).all())


@pytest.mark.parametrize("name", LOSSES)
def test_float64_stays_float64(name):
    assert LOSSES[name].call(*pair(2, 5)).dtype == torch.float64


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("name", LOSSES)
def test_half_precision_is_computed_in_float32(name, dtype):
    student, teacher = pair(6, 5, dtype=dtype)
    value, gradient = value_and_gradient(LOSSES[name].call, student, teacher)
    exact, exact_gradient = value_and_gradient(LOSSES[name].call, student.float(), teacher.float())
    assert value.dtype == torch.float32
    assert gradient.dtype == dtype
    torch.testing.assert_close(value, exact, rtol=0, atol=1e-6)
    torch.testing.assert_close(gradient.float(), exact_gradient, rtol=0, atol=0.03)


@pytest.mark.parametrize("name", LOSSES)
def test_autocast_does_not_take_precision_from_it(name):
    student, teacher = pair(6, 5, dtype=torch.float32)
    exact, exact_gradient = value_and_gradient(LOSSES[name].call, student, teacher)
    with torch.autocast("cpu", torch.bfloat16):
        value, gradient = value_and_gradient(LOSSES[name].call, student, teacher)
    assert value.dtype == torch.float32
    torch.testing.assert_close(value, exact)
    torch.testing.assert_close(gradient, exact_gradient)
