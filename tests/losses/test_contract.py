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

pytestmark = pytest.mark.no_cover  # counting the same lines again would take as long as testing


@dataclass(frozen=True, kw_only=True)
class Case:
    """A loss, called with two tensors `(..., size)`: the second one is made into its target."""

    call: Callable[[Tensor, Tensor], Tensor]
    zero_at_equality: bool
    smooth: bool = True
    """False for a kink at equality, where rounding decides on the side."""
    padding: bool = True
    """Whether a class that both sides give -inf makes sense: not for plain numbers."""
    by_rows: bool = True
    """False where a row's value depends on the other rows of the batch."""
    bounded: bool = True
    """False where it may be negative: a likelihood's."""
    whole_gradient: bool = True
    """False where a weight depends on the student and is held fixed."""


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


def all_count(logits):
    """A mask that leaves nothing out."""
    return torch.ones(logits.shape[:-1], dtype=torch.bool)


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
    "alpha_beta": losses.alpha_beta,
    "universal_logit_distance": losses.universal_logit_distance,
    "normalised_soft_targets": lambda s, t, **options: losses.normalised_soft_targets(
        s, t, t.argmax(-1), **options
    ),
    "weighted_soft_targets": lambda s, t, **options: losses.weighted_soft_targets(
        s, t, t.argmax(-1), **options
    ),
    "enhanced_soft_cross_entropy": lambda s, t, **options: losses.enhanced_soft_cross_entropy(
        s, t, t.argmax(-1), **options
    ),
    "standardised": lambda s, t, **options: losses.soft_targets(
        losses.standardised(s), losses.standardised(t), **options
    ),
    "correlation_distance": losses.correlation_distance,
    "batch_consistency": losses.batch_consistency,
    "class_consistency": losses.class_consistency,
    "word_level": lambda s, t, **options: losses.word_level(s, t, all_count(s), **options),
    "interpolated_word_level": lambda s, t, **options: losses.interpolated_word_level(
        s, t, t.argmax(-1), all_count(s), **options
    ),
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
    "sparse_alpha_beta": losses.sparse_alpha_beta,
}
"""Losses from logits and sparse rows."""


def log_variance(numbers):
    """Of one's neighbour, within a range in which its exponential is finite."""
    return numbers.flip(-1).clamp(-0.5, 0.5)


LEVELS = (0.1, 0.25, 0.5, 0.75, 0.9)
OF_A_BATCH = {
    "correlation_distance",
    "batch_consistency",
    "class_consistency",
    "multi_level_soft_targets",
}
NOT_ZERO = {
    "soft_cross_entropy",
    "sparse_soft_cross_entropy",
    "normalised_soft_targets",
    "enhanced_soft_cross_entropy",
    "interpolated_word_level",
}
KINKED = {"total_variation", "sparse_total_variation", "universal_logit_distance"}


def towards(name, call):
    """The case of a loss towards a teacher."""
    loss = name.partition(" ")[0]
    return Case(
        call=call,
        zero_at_equality=loss not in NOT_ZERO and "tail shape" not in name,
        smooth=loss not in KINKED,
        padding="by_chunks" not in loss,  # a product with infinity is no number
        by_rows=loss not in OF_A_BATCH,
        whole_gradient=loss != "weighted_soft_targets",
    )


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
    for powers in ((1.0, 0.0), (0.0, 1.0), (0.5, 0.5), (0.0, 2.0), (3.0, 0.01)):
        options = dict(zip(("teacher_power", "student_power"), powers, strict=True))
        yield f"alpha_beta with {powers}", partial(losses.alpha_beta, **options)
    yield (
        "enhanced_soft_cross_entropy with 1.5",
        partial(FROM_LOGITS["enhanced_soft_cross_entropy"], exponent=1.5),
    )
    yield "logit_regression", losses.logit_regression
    yield "multi_level_soft_targets", losses.multi_level_soft_targets
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
    "label_smoothing": Case(
        call=lambda s, t: losses.label_smoothing(s, t.argmax(-1)), zero_at_equality=False
    ),
    "teacher_free_soft_targets": Case(
        call=lambda s, t: losses.teacher_free_soft_targets(s, t.argmax(-1)), zero_at_equality=False
    ),
    "sequence_level": Case(
        call=lambda s, t: losses.sequence_level(s, t.argmax(-1), all_count(s)),
        zero_at_equality=False,
    ),
    "squared_error": Case(call=losses.squared_error, zero_at_equality=True, padding=False),
    "margin_squared_error": Case(
        call=losses.margin_squared_error, zero_at_equality=True, padding=False
    ),
    "gaussian_kl": Case(
        call=lambda s, t: losses.gaussian_kl(s, log_variance(s), t, log_variance(t)),
        zero_at_equality=True,
        padding=False,
    ),
    "gaussian_nll": Case(
        call=lambda s, t: losses.gaussian_nll(s, log_variance(s), t),
        zero_at_equality=False,
        padding=False,
        bounded=False,
    ),
    "pinball": Case(
        call=lambda s, t: losses.pinball(s, t[..., 0], levels=LEVELS[: s.shape[-1]]),
        zero_at_equality=False,
        padding=False,
    ),
}
TO_A_TEACHER = [name for name, case in LOSSES.items() if case.zero_at_equality]
PADDED = [name for name, case in LOSSES.items() if case.padding]
BY_ROWS = [name for name, case in LOSSES.items() if case.by_rows]
BOUNDED = [name for name, case in LOSSES.items() if case.bounded]
WHOLE = [name for name, case in LOSSES.items() if case.whole_gradient]
NO_LOSS = {"weighted_mean"}

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
    assert {name.partition(" ")[0] for name in LOSSES} == set(losses.__all__) - NO_LOSS


@pytest.mark.parametrize("shape", [(), (3,), (2, 3), (2, 3, 4), (0,), (2, 0)])
@pytest.mark.parametrize("name", LOSSES)
def test_takes_any_leading_shape_and_gives_one_value_for_each_row(name, shape):
    student, teacher = pair(*shape, 5)
    value = LOSSES[name].call(student, teacher)
    assert value.shape == shape
    if not LOSSES[name].by_rows:
        flat = LOSSES[name].call(student.reshape(-1, 5), teacher.reshape(-1, 5))
        torch.testing.assert_close(value.flatten(), flat)
        return
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


@pytest.mark.parametrize("name", BY_ROWS)
def test_a_rows_loss_does_not_depend_on_the_size_of_the_batch(name):
    student, teacher = pair(2, 5)
    value, gradient = value_and_gradient(LOSSES[name].call, student, teacher)
    tenfold, tenfold_gradient = value_and_gradient(
        LOSSES[name].call, student.repeat(10, 1), teacher.repeat(10, 1)
    )
    torch.testing.assert_close(tenfold[:2], value)
    torch.testing.assert_close(tenfold_gradient[:2], gradient)


@given(rows=rows)
def test_none_is_ever_negative(rows):
    student, teacher = torch.tensor(rows, dtype=torch.float64).chunk(2, dim=-1)
    for name in BOUNDED:
        value = LOSSES[name].call(student, teacher)
        assert bool(torch.isfinite(value).all()), name
        assert float(value.min()) >= -1e-12 * 16, name


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


@pytest.mark.parametrize("name", WHOLE)
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
