"""What every loss of features and relations keeps to, whatever it computes."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import pytest
import torch
from torch import Tensor

from limbeck.losses import features

pytestmark = pytest.mark.no_cover  # counting the same lines again would take as long as testing

HELPERS = {"channel_mask", "contrastive_log_normaliser", "position_mask", "relu_margin"}
"""What is published beside the losses because their formulas need it."""

MAPS, VECTORS, TOKENS = (4, 3, 5), (6,), (2, 3, 4)
"""Shapes of one row: channels, height, width; features; heads, tokens, width."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """A loss, called with two tensors `(batch, *shape)`."""

    call: Callable[[Tensor, Tensor], Tensor]
    shape: tuple[int, ...]
    of_rows: tuple[int, ...] = ()
    """What a row's value has for a shape: a token relation has one for each token."""
    alone: bool = True
    """Whether a row's value depends on that row only."""
    zero_at_equality: bool = True
    smooth: bool = True
    """False for a kink at equality, where rounding decides on the side."""
    negative: bool = False
    """Whether it may be below 0."""


def steady(*shape):
    """Some numbers between -1 and 1, the same ones always."""
    return torch.arange(torch.Size(shape).numel(), dtype=torch.float64).mul(1.7).sin().view(shape)


def flow(student, teacher):
    def later(maps):
        return maps.roll(1, dims=3)[:, :3]

    return features.flow_of_solution(student, later(student), teacher, later(teacher))


def variational(student, teacher):
    variance = steady(student.shape[1]).to(student.dtype)
    return features.variational_information(student, teacher, variance)


def partial_distance(student, teacher):
    margin = (steady(student.shape[1]) - 1.0).to(student.dtype)
    return features.partial_distance(student, teacher, margin)


def softmax_regression(student, teacher):
    return features.softmax_regression(student, teacher, steady(5, 6).to(teacher.dtype))


def semantic(student, teacher):
    def pairs(maps):
        return [[maps, maps[:, :2], maps.square()], [maps[:, :, :1], maps, maps.flatten(1)]]

    attention = steady(2, 3).softmax(-1).to(student.dtype).expand(len(student), 2, 3)
    return features.semantic_calibration(pairs(student), pairs(teacher), attention)


def contrastive(student, teacher):
    negatives = torch.stack([teacher.roll(turn, dims=1) for turn in (1, 2, 3)], dim=1)
    return features.contrastive_representation(
        student, teacher, negatives, log_normaliser=2.0, num_memory=50
    )


def attention_relations(student, teacher, **options):
    return features.attention_relations(
        student, student.roll(1, dims=3), teacher, teacher.roll(1, dims=3), **options
    )


def masked(loss):
    def call(student, teacher):
        mask = torch.tensor([True, False, True]).expand(len(student), 3)
        return loss(student, teacher, mask=mask)

    return call


def triple(student, teacher):
    labels = teacher.argmax(-1)
    return features.distilbert_triple(
        student, teacher, labels, torch.ones_like(labels, dtype=torch.bool), student, teacher
    )


of_maps = partial(Case, shape=MAPS)
of_batch = partial(Case, shape=VECTORS, alone=False)
of_tokens = partial(Case, shape=TOKENS, of_rows=(3,))

LOSSES = {
    "activation_boundaries": of_maps(call=features.activation_boundaries, zero_at_equality=False),
    "attention_relations": of_tokens(call=attention_relations),
    "attention_relations with a mask": of_tokens(call=masked(attention_relations)),
    "attention_scores": Case(call=features.attention_scores, shape=(2, 3, 3)),
    "attention_transfer": of_maps(call=features.attention_transfer),
    "channel_wise": of_maps(call=features.channel_wise),
    "channel_wise at T = 0.5": of_maps(call=partial(features.channel_wise, temperature=0.5)),
    "class_attention": of_maps(call=features.class_attention),
    "class_attention of logits": of_maps(call=partial(features.class_attention, resolution=1)),
    "contrastive_representation": Case(call=contrastive, shape=VECTORS, zero_at_equality=False),
    "correlation_congruence": of_batch(call=features.correlation_congruence),
    "correlation_congruence of order 4": of_batch(
        call=partial(features.correlation_congruence, sharpness=2.0, order=4)
    ),
    "cosine_distance": Case(call=features.cosine_distance, shape=VECTORS),
    "distilbert_triple": Case(call=triple, shape=VECTORS, zero_at_equality=False),
    "factor_transfer": of_maps(call=features.factor_transfer, smooth=False),
    "flow_of_solution": of_maps(call=flow),
    "hierarchical_context": of_maps(call=features.hierarchical_context),
    "hints": of_maps(call=features.hints),
    "linear_cka_distance": of_batch(call=features.linear_cka_distance),
    "linear_cka_distance of maps": of_batch(call=features.linear_cka_distance, shape=MAPS),
    "masked_generation": of_maps(call=features.masked_generation),
    "neuron_selectivity": of_maps(call=features.neuron_selectivity),
    "partial_distance": of_maps(call=partial_distance),
    "patient_hints": Case(call=features.patient_hints, shape=(2, 6)),
    "probabilistic_transfer": of_batch(call=features.probabilistic_transfer),
    "relational_angle": of_batch(call=features.relational_angle),
    "relational_distance": of_batch(call=features.relational_distance),
    "semantic_calibration": of_maps(call=semantic),
    "similarity_preserving": of_batch(call=features.similarity_preserving),
    "similarity_preserving of maps": of_batch(call=features.similarity_preserving, shape=MAPS),
    "softmax_regression": Case(call=softmax_regression, shape=VECTORS),
    "value_relations": of_tokens(call=features.value_relations),
    "value_relations with a mask": of_tokens(call=masked(features.value_relations)),
    "variational_information": of_maps(call=variational, zero_at_equality=False, negative=True),
}
ALONE = [name for name, case in LOSSES.items() if case.alone]
ZERO = [name for name, case in LOSSES.items() if case.zero_at_equality]
EVERY_TOKEN = [name for name in ZERO if "mask" not in name.partition(" ")[2]]


def pair(name, batch=5, dtype=torch.float64):
    """A student and a teacher for the loss, none of which asks for a gradient."""
    return torch.randn(2, batch, *LOSSES[name].shape, dtype=dtype).unbind()


def value_and_gradient(name, student, teacher):
    """Each row's loss, and the gradient of their sum."""
    student = student.detach().clone().requires_grad_()
    value = LOSSES[name].call(student, teacher)
    value.sum().backward()
    return value.detach(), student.grad


def test_no_loss_is_left_out():
    assert {name.partition(" ")[0] for name in LOSSES} == set(features.__all__) - HELPERS


def test_the_list_of_names_is_true_and_in_order():
    assert features.__all__ == sorted(features.__all__)
    assert all(callable(getattr(features, name)) for name in features.__all__)


@pytest.mark.parametrize("batch", [0, 1, 5])
@pytest.mark.parametrize("name", LOSSES)
def test_gives_one_value_for_each_row(name, batch):
    value, gradient = value_and_gradient(name, *pair(name, batch))
    assert value.shape == (batch, *LOSSES[name].of_rows)
    assert bool(torch.isfinite(value).all())
    assert bool(torch.isfinite(gradient).all())


@pytest.mark.parametrize("name", ALONE)
def test_a_rows_loss_is_that_of_the_row_alone(name):
    student, teacher = pair(name)
    value, gradient = value_and_gradient(name, student, teacher)
    for row in range(len(student)):
        part = slice(row, row + 1)
        alone, alone_gradient = value_and_gradient(name, student[part], teacher[part])
        torch.testing.assert_close(alone, value[part])
        torch.testing.assert_close(alone_gradient, gradient[part])


@pytest.mark.parametrize("name", LOSSES)
def test_permuting_the_batch_permutes_the_result(name):
    student, teacher = pair(name)
    order = torch.tensor([3, 1, 0, 4, 2])
    value, gradient = value_and_gradient(name, student, teacher)
    moved, moved_gradient = value_and_gradient(name, student[order], teacher[order])
    torch.testing.assert_close(moved, value[order])
    torch.testing.assert_close(moved_gradient, gradient[order])


@pytest.mark.parametrize("size", [1e-3, 1.0, 30.0])
@pytest.mark.parametrize("name", [name for name, case in LOSSES.items() if not case.negative])
def test_is_never_negative(name, size):
    for _ in range(5):
        student, teacher = pair(name)
        assert float(LOSSES[name].call(size * student, teacher).min()) >= -1e-14


@pytest.mark.parametrize("name", ZERO)
def test_is_zero_and_stationary_where_student_and_teacher_agree(name):
    teacher, _ = pair(name)
    value, gradient = value_and_gradient(name, teacher, teacher)
    torch.testing.assert_close(value, torch.zeros_like(value))
    if LOSSES[name].smooth:
        torch.testing.assert_close(gradient, torch.zeros_like(gradient))


@pytest.mark.parametrize("name", EVERY_TOKEN)
def test_is_above_zero_where_they_differ(name):
    assert float(LOSSES[name].call(*pair(name, 20)).min()) > 1e-6


@pytest.mark.parametrize("name", LOSSES)
def test_no_gradient_reaches_the_teacher(name):
    student, teacher = (tensor.requires_grad_() for tensor in pair(name))
    LOSSES[name].call(student, teacher).sum().backward()
    assert float(student.grad.abs().sum()) > 0
    assert teacher.grad is None


@pytest.mark.parametrize("name", LOSSES)
def test_the_gradient_agrees_with_finite_differences(name):
    student, teacher = pair(name, 3)
    assert torch.autograd.gradcheck(
        lambda s: LOSSES[name].call(s, teacher), student.requires_grad_()
    )


@pytest.mark.parametrize("size", [1e3, -1e3])
@pytest.mark.parametrize("name", LOSSES)
def test_features_of_a_thousand_give_finite_values_and_gradients(name, size):
    student, teacher = pair(name, 6, torch.float32)
    student[:3].flatten(1)[:, 0] = size
    teacher[2:5].flatten(1)[:, 1] = size
    value, gradient = value_and_gradient(name, student, teacher)
    assert bool(torch.isfinite(value).all())
    assert bool(torch.isfinite(gradient).all())


DEGENERATE = {
    "all zeros": lambda rows: torch.zeros_like(rows),
    "all the same number": lambda rows: torch.full_like(rows, 0.3),
    "all rows the same": lambda rows: rows[:1].expand_as(rows),
    "two rows the same": lambda rows: torch.cat([rows[:1], rows[:1], rows[2:]]),
    "one row zeros": lambda rows: torch.cat([0 * rows[:1], rows[1:]]),
    "two rows opposite": lambda rows: torch.cat([-rows[1:2], rows[1:]]),
}


@pytest.mark.parametrize("side", ["student", "teacher", "both"])
@pytest.mark.parametrize("kind", DEGENERATE)
@pytest.mark.parametrize("name", LOSSES)
def test_rows_that_say_nothing_give_finite_values_and_modest_gradients(name, kind, side):
    student, teacher = pair(name, dtype=torch.float32)
    student = student if side == "teacher" else DEGENERATE[kind](student)
    teacher = teacher if side == "student" else DEGENERATE[kind](teacher)
    value, gradient = value_and_gradient(name, student, teacher)
    assert bool(torch.isfinite(value).all())
    assert float(gradient.abs().max()) < 1e4


@pytest.mark.parametrize("kind", DEGENERATE)
@pytest.mark.parametrize("name", ZERO)
def test_is_zero_and_stationary_where_both_say_nothing(name, kind):
    teacher = DEGENERATE[kind](pair(name)[0])
    value, gradient = value_and_gradient(name, teacher, teacher)
    torch.testing.assert_close(value, torch.zeros_like(value))
    if LOSSES[name].smooth:
        torch.testing.assert_close(gradient, torch.zeros_like(gradient))


@pytest.mark.parametrize("name", LOSSES)
def test_what_is_not_a_number_is_not_hidden(name):
    student, teacher = pair(name)
    nan = torch.full_like(student, float("nan"))
    counts = [0, 2] if "mask" in name.partition(" ")[2] else slice(None)
    for sides in ((nan, teacher), (student, nan)):
        value = LOSSES[name].call(*sides)
        assert bool((value[:, counts] if value.dim() == 2 else value).isnan().all())


@pytest.mark.parametrize("name", LOSSES)
def test_float64_stays_float64(name):
    assert LOSSES[name].call(*pair(name)).dtype == torch.float64


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("name", LOSSES)
def test_half_precision_is_computed_in_float32(name, dtype):
    student, teacher = pair(name, dtype=dtype)
    value, gradient = value_and_gradient(name, student, teacher)
    exact, exact_gradient = value_and_gradient(name, student.float(), teacher.float())
    assert value.dtype == torch.float32
    assert gradient.dtype == dtype
    torch.testing.assert_close(value, exact, rtol=1e-2, atol=1e-6)
    torch.testing.assert_close(
        gradient.float(), exact_gradient, rtol=0, atol=0.02 * float(exact_gradient.abs().max())
    )


@pytest.mark.parametrize("name", LOSSES)
def test_autocast_does_not_take_precision_from_it(name):
    student, teacher = pair(name, dtype=torch.float32)
    exact, exact_gradient = value_and_gradient(name, student, teacher)
    with torch.autocast("cpu", torch.bfloat16):
        value, gradient = value_and_gradient(name, student, teacher)
    assert value.dtype == torch.float32
    torch.testing.assert_close(value, exact)
    torch.testing.assert_close(gradient, exact_gradient)


@pytest.mark.parametrize("name", LOSSES)
def test_a_teacher_in_half_precision_is_taken_as_it_is(name):
    student, teacher = pair(name, dtype=torch.float32)
    teacher = teacher.bfloat16()
    torch.testing.assert_close(
        LOSSES[name].call(student, teacher),
        LOSSES[name].call(student, teacher.float()),
        rtol=1e-2,
        atol=1e-2,
    )
