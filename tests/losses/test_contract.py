"""What every loss keeps to, whatever it computes."""

from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from limbeck import losses


@dataclass(frozen=True, kw_only=True)
class Case:
    """A loss, called with two tensors `(..., size)`: the second one is made into its target."""

    call: Callable[[Tensor, Tensor], Tensor]
    zero_at_equality: bool
    padding: bool = True
    """Whether a class that both sides give -inf makes sense: not for plain numbers."""


def sparse(student, teacher, *, kept, temperature=4.0):
    """Name the teacher's `kept` most probable classes."""
    probabilities = torch.softmax(teacher.to(torch.float64) / temperature, -1)
    named, ids = probabilities.topk(kept, dim=-1)
    tail = 1 - named.sum(-1) if kept < teacher.shape[-1] else torch.zeros_like(named.sum(-1))
    return losses.sparse_soft_targets(
        student,
        ids,
        named.to(teacher.dtype),
        tail.to(teacher.dtype),
        temperature=temperature,
    )


LOSSES = {
    "soft_targets": Case(call=losses.soft_targets, zero_at_equality=True),
    "soft_targets at T = 1": Case(
        call=lambda s, t: losses.soft_targets(s, t, temperature=1.0), zero_at_equality=True
    ),
    "soft_binary_targets": Case(call=losses.soft_binary_targets, zero_at_equality=True),
    "soft_binary_targets at T = 0.5": Case(
        call=lambda s, t: losses.soft_binary_targets(s, t, temperature=0.5), zero_at_equality=True
    ),
    "sparse_soft_targets": Case(call=lambda s, t: sparse(s, t, kept=2), zero_at_equality=True),
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
    torch.testing.assert_close(gradient, torch.zeros(7, 5, dtype=torch.float64))


@pytest.mark.parametrize("name", TO_A_TEACHER)
def test_is_above_zero_where_they_differ(name):
    student, teacher = pair(50, 5)
    assert float(LOSSES[name].call(student.detach(), teacher).min()) > 0


@pytest.mark.parametrize("name", TO_A_TEACHER)
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
    # Only the sparse loss sees probabilities that were themselves rounded to half precision.
    tolerance = 0.1 if name.startswith("sparse") else 1e-6
    torch.testing.assert_close(value, exact, rtol=0, atol=tolerance)
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
