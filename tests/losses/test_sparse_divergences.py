import math
import weakref
from dataclasses import replace
from functools import partial

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from limbeck import losses
from limbeck._errors import OptionError, ShapeError
from limbeck.losses._others import BLOCK
from limbeck.signals import Sparse

KIN = {
    "soft_targets": (losses.sparse_soft_targets, losses.soft_targets),
    "soft_cross_entropy": (losses.sparse_soft_cross_entropy, losses.soft_cross_entropy),
    "reverse_kl": (losses.sparse_reverse_kl, losses.reverse_kl),
    "jensen_shannon": (
        partial(losses.sparse_jensen_shannon, teacher_share=0.3),
        partial(losses.jensen_shannon, teacher_share=0.3),
    ),
    "skew_kl": (partial(losses.sparse_skew_kl, skew=0.3), partial(losses.skew_kl, skew=0.3)),
    "skew_reverse_kl": (
        partial(losses.sparse_skew_reverse_kl, skew=0.3),
        partial(losses.skew_reverse_kl, skew=0.3),
    ),
    "total_variation": (losses.sparse_total_variation, losses.total_variation),
    "alpha_beta": (
        partial(losses.sparse_alpha_beta, teacher_power=0.6, student_power=0.4),
        partial(losses.alpha_beta, teacher_power=0.6, student_power=0.4),
    ),
}
"""Each sparse loss and its dense one."""

NOT_LINEAR = sorted(set(KIN) - {"soft_targets", "soft_cross_entropy"})
CLASSES = 9


class Packed:
    """What a graph holds in the place of a tensor."""

    def __init__(self, tensor):
        self.tensor = tensor


def distribution(rows, classes=CLASSES):
    """What rows with a tail shape say of every class, in plain Python floats."""
    weights = [math.exp(x) for x in rows.tail_shape.tolist()]
    found = []
    for ids, named, tail in zip(
        rows.ids.tolist(), rows.probabilities.tolist(), rows.tail.tolist(), strict=True
    ):
        said = {i: p for i, p in zip(ids, named, strict=True) if p > 0}
        left = sum(w for i, w in enumerate(weights) if i not in said)
        found.append([said[i] if i in said else tail * weights[i] / left for i in range(classes)])
    return torch.tensor(found, dtype=torch.float64)


def rows_with_a_shape(temperature=1.0, rows=6):
    """Three named classes, one of them padding that repeats another; the tail has a shape."""
    teacher = torch.randn(rows, CLASSES, dtype=torch.float64)
    named, ids = torch.softmax(teacher, -1).topk(3, -1)
    named[:, 2] = 0.0
    ids[:, 2] = ids[:, 0]
    return Sparse(
        ids=ids,
        probabilities=named,
        tail=1 - named.sum(-1),
        temperature=temperature,
        tail_shape=3 * torch.randn(CLASSES, dtype=torch.float64) + 5,
    )


def merged(probabilities, ids):
    """The named classes and one for all others, of dense probabilities."""
    named = probabilities.gather(-1, ids)
    return torch.cat([named, 1 - named.sum(-1, keepdim=True)], -1)


def value_and_gradient(loss, student, *teacher, **options):
    student = student.clone().requires_grad_()
    value = loss(student, *teacher, **options)
    value.sum().backward()
    return value.detach(), student.grad


@pytest.mark.parametrize("name", NOT_LINEAR)
def test_some_rows_at_a_time_change_nothing_and_of_all_steps_the_gradient_alone_is_kept(
    name, monkeypatch
):
    sparse, _ = KIN[name]
    rows, student = rows_with_a_shape(2.0), torch.randn(6, CLASSES, dtype=torch.float64)
    whole = value_and_gradient(sparse, student, rows)
    monkeypatch.setitem(BLOCK, "cpu", 2 * CLASSES)
    held = []

    def pack(tensor):
        packed = Packed(tensor)
        held.append(weakref.ref(packed))
        return packed

    leaf = student.clone().requires_grad_()
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda packed: packed.tensor):
        values = sparse(leaf, rows)
    kept = [packed.tensor for packed in (one() for one in held) if packed is not None]
    assert [tensor.shape for tensor in kept] == [student.shape]
    weights = torch.arange(6.0, dtype=torch.float64)
    (values * weights).sum().backward()
    torch.testing.assert_close(values.detach(), whole[0])
    torch.testing.assert_close(leaf.grad, whole[1] * weights[:, None])
    with torch.no_grad():
        torch.testing.assert_close(sparse(student, rows), whole[0])


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("name", KIN)
def test_a_half_precision_gradient_is_the_exact_one_rounded_once(name, dtype):
    """At a mean over 37 rows, whose 1 / 37 is no number of half precision."""
    rows = rows_with_a_shape(rows=37)
    student = torch.randn(37, CLASSES).to(dtype)
    found, exact = student.clone().requires_grad_(), student.double().requires_grad_()
    for leaf in (found, exact):
        KIN[name][0](leaf, rows).mean().backward()
    assert found.grad.dtype == dtype
    half_a_step = torch.finfo(dtype).eps / 2
    torch.testing.assert_close(found.grad.double(), exact.grad, rtol=1.01 * half_a_step, atol=5e-8)


@pytest.mark.parametrize("name", NOT_LINEAR)
def test_a_loss_scaler_saves_what_float16_alone_would_lose(name):
    """Each of 40,000 classes has a gradient near 1e-6 or below, of which float16 keeps 0 to 4 bits.

    Scaled by 65536, as a scaler begins with, it keeps them all.
    """
    generator = torch.Generator().manual_seed(0)
    student = torch.randn(2, 40_000, generator=generator).mul(3).half()
    rows = Sparse(
        ids=torch.tensor([[0], [7]]),
        probabilities=torch.full((2, 1), 0.5),
        tail=torch.full((2,), 0.5),
        tail_shape=torch.randn(40_000, generator=generator),
    )
    found, exact = student.clone().requires_grad_(), student.double().requires_grad_()
    for leaf in (found, exact):
        (KIN[name][0](leaf, rows).mean() * 65536).backward()
    assert torch.isfinite(found.grad).all()
    assert (found.grad == 0).sum() <= (exact.grad.abs() < 6e-8).sum()
    difference = (found.grad.double() - exact.grad).norm()
    assert difference < 5e-4 * exact.grad.norm()
    kept = exact.grad.abs() > 6e-5  # a normal number of float16
    relative = ((found.grad.double() - exact.grad) / exact.grad).abs()[kept]
    assert float(relative.quantile(0.99)) < 6e-4


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
@pytest.mark.parametrize("name", KIN)
def test_with_a_tail_shape_it_is_the_dense_loss_of_the_distribution_it_makes(name, temperature):
    sparse, dense = KIN[name]
    rows = rows_with_a_shape(temperature)
    teacher = distribution(rows).log() * temperature
    student = torch.randn(6, CLASSES, dtype=torch.float64)
    value, gradient = value_and_gradient(sparse, student, rows)
    want, want_gradient = value_and_gradient(dense, student, teacher, temperature=temperature)
    torch.testing.assert_close(value, want)
    torch.testing.assert_close(gradient, want_gradient)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
@pytest.mark.parametrize("name", KIN)
def test_without_one_it_is_the_dense_loss_of_the_merged_distributions(name, temperature):
    sparse, dense = KIN[name]
    student, teacher = torch.randn(2, 6, CLASSES, dtype=torch.float64).unbind()
    p = torch.softmax(teacher / temperature, -1)
    named, ids = p.topk(3, -1)
    rows = Sparse(ids=ids, probabilities=named, tail=1 - named.sum(-1), temperature=temperature)

    def on_merged(student, teacher, *, temperature):
        q = merged(torch.softmax(student / temperature, -1), ids)
        at_one = dense(q.log(), merged(teacher, ids).log(), temperature=1.0)
        return temperature**2 * at_one

    value, gradient = value_and_gradient(sparse, student, rows)
    want, want_gradient = value_and_gradient(on_merged, student, p, temperature=temperature)
    torch.testing.assert_close(value, want)
    torch.testing.assert_close(gradient, want_gradient)


@pytest.mark.parametrize("name", NOT_LINEAR)
def test_equals_the_dense_loss_when_every_class_is_named(name):
    sparse, dense = KIN[name]
    student, teacher = torch.randn(2, 6, CLASSES, dtype=torch.float64).unbind()
    named, ids = torch.softmax(teacher / 2.0, -1).sort(-1)
    rows = Sparse(ids=ids, probabilities=named, tail=0 * named[:, 0], temperature=2.0)
    value, gradient = value_and_gradient(sparse, student, rows)
    want, want_gradient = value_and_gradient(dense, student, teacher, temperature=2.0)
    torch.testing.assert_close(value, want)
    torch.testing.assert_close(gradient, want_gradient)


@pytest.mark.parametrize("name", sorted(set(KIN) - {"soft_cross_entropy"}))
@given(
    logits=st.lists(st.tuples(*[st.floats(-20, 20)] * 12), min_size=1, max_size=4),
    kept=st.integers(1, 6),
)
def test_merging_classes_never_raises_it(name, logits, kept):
    sparse, dense = KIN[name]
    student, teacher = torch.tensor(logits, dtype=torch.float64).chunk(2, dim=-1)
    named, ids = torch.softmax(teacher, -1).topk(kept, -1)
    tail = torch.softmax(teacher, -1).scatter(-1, ids, 0.0).sum(-1)
    found = sparse(student, Sparse(ids=ids, probabilities=named, tail=tail))
    assert bool((found <= dense(student, teacher, temperature=1.0) + 1e-9).all())


@pytest.mark.parametrize("name", KIN)
def test_named_classes_that_hold_nearly_all_of_the_shape_leave_the_rest_exact(name):
    """The share of the others is 1e-7 of the weights: more than float32 can tell from 1."""
    sparse, dense = KIN[name]
    shape = torch.tensor([9.0, 9.0, -8.0, -8.0, -7.0], dtype=torch.float64)
    rows = Sparse(
        ids=torch.tensor([[0, 1]]),
        probabilities=torch.tensor([[0.5, 0.3]]),
        tail=torch.tensor([0.2]),
        tail_shape=shape.float(),
    )
    student = torch.randn(1, 5)
    others = 0.2 * torch.softmax(shape[2:], -1)
    teacher = torch.cat([torch.tensor([0.5, 0.3]).double(), others]).log()[None]
    value, gradient = value_and_gradient(sparse, student, rows)
    want, want_gradient = value_and_gradient(dense, student.double(), teacher, temperature=1.0)
    torch.testing.assert_close(value.double(), want, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(gradient.double(), want_gradient, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", KIN)
def test_a_tail_without_room_in_its_shape_is_what_rounding_lost(name):
    sparse, dense = KIN[name]
    none = float("-inf")
    rows = Sparse(
        ids=torch.tensor([[0, 2]]),
        probabilities=torch.tensor([[0.6, 0.4]]).double(),
        tail=torch.tensor([1e-7]).double(),
        tail_shape=torch.tensor([1.0, none, 2.0]),
    )
    student = torch.tensor([[0.3, none, 0.1]], dtype=torch.float64)
    teacher = torch.tensor([[0.6, 0.0, 0.4]], dtype=torch.float64).log()
    value, gradient = value_and_gradient(sparse, student, rows)
    want, want_gradient = value_and_gradient(dense, student, teacher, temperature=1.0)
    torch.testing.assert_close(value, want, rtol=0, atol=1e-6)
    torch.testing.assert_close(gradient, want_gradient, rtol=0, atol=1e-6)


@pytest.mark.parametrize("shape", [None, torch.zeros(3)])
@pytest.mark.parametrize("name", KIN)
def test_a_tail_that_was_stored_as_0_is_finite(name, shape):
    """Float16 probabilities of a sure teacher sum to 1; a student that is not is finitely wrong."""
    rows = Sparse(
        ids=torch.tensor([[0]]),
        probabilities=torch.ones(1, 1).half(),
        tail=torch.zeros(1),
        tail_shape=shape,
    )
    value, gradient = value_and_gradient(KIN[name][0], torch.zeros(1, 3), rows)
    assert bool(torch.isfinite(value).all())
    assert bool(torch.isfinite(gradient).all())
    assert float(gradient[0, 0]) < 0


@pytest.mark.parametrize("name", KIN)
def test_a_class_that_is_masked_and_not_named_adds_nothing(name):
    """A padded vocabulary, of which every true class is named."""
    named, ids = torch.tensor([[0.7, 0.3]]), torch.tensor([[0, 1]])
    rows = Sparse(ids=ids, probabilities=named, tail=torch.zeros(1))
    student = torch.tensor([[0.0, 1.0]])
    padded = torch.cat([student, torch.full((1, 2), -torch.inf)], -1)
    value, gradient = value_and_gradient(KIN[name][0], padded, rows)
    want, want_gradient = value_and_gradient(KIN[name][0], student, rows)
    torch.testing.assert_close(value, want)
    torch.testing.assert_close(gradient[:, :2], want_gradient)
    assert not gradient[:, 2:].any()


@pytest.mark.parametrize("name", [*NOT_LINEAR, "decoupled_soft_targets"])
def test_drawn_entries_are_refused_and_their_density_is_not(name):
    drawn = torch.tensor([[False, True], [False, True]])
    rows = Sparse(
        ids=torch.tensor([[0, 1], [1, 2]]),
        probabilities=torch.tensor([[0.5, 0.7], [0.4, 0.7]]),
        tail=torch.zeros(2),
        drawn=drawn,
    )
    loss = getattr(losses, f"sparse_{name}")
    labels = () if name in KIN else (torch.tensor([0, 1]),)
    with pytest.raises(OptionError) as error:
        loss(torch.zeros(2, 4), rows, *labels)
    assert str(error.value) == (
        "drawn entries are right on average only, and this loss is not linear in them. Give it "
        "rows.density, or take sparse_soft_targets."
    )
    bucket = Sparse(
        ids=torch.tensor([[0], [1]]),
        probabilities=torch.tensor([[0.5 / 1.2], [0.4 / 1.1]]),
        tail=torch.tensor([0.7 / 1.2, 0.7 / 1.1]),
    )
    student = torch.randn(2, 4)
    torch.testing.assert_close(loss(student, rows.density, *labels), loss(student, bucket, *labels))


@pytest.mark.parametrize("temperature", [1.0, 2.0])
def test_decoupled_with_a_tail_shape_is_the_dense_loss(temperature):
    rows = rows_with_a_shape(temperature)
    teacher = distribution(rows).log() * temperature
    student = torch.randn(6, CLASSES, dtype=torch.float64)
    for labels in (rows.ids[:, 0], rows.ids[:, 1], torch.randint(CLASSES, (6,))):
        options = {"target_weight": 2.0, "others_weight": 3.0}
        value, gradient = value_and_gradient(
            losses.sparse_decoupled_soft_targets, student, rows, labels, **options
        )
        want, want_gradient = value_and_gradient(
            losses.decoupled_soft_targets,
            student,
            teacher,
            labels,
            temperature=temperature,
            **options,
        )
        torch.testing.assert_close(value, want)
        torch.testing.assert_close(gradient, want_gradient)


def test_alpha_beta_has_the_dense_losss_powers_if_they_are_left_out():
    rows = rows_with_a_shape()
    student = torch.randn(6, CLASSES, dtype=torch.float64)
    found = losses.sparse_alpha_beta(student, rows)
    torch.testing.assert_close(found, losses.alpha_beta(student, distribution(rows).log()))


def test_decoupled_without_one_puts_the_bucket_in_place_of_a_label_that_is_not_named():
    student, teacher = torch.randn(2, 6, CLASSES, dtype=torch.float64).unbind()
    p = torch.softmax(teacher, -1)
    named, ids = p.topk(3, -1)
    rows = Sparse(ids=ids, probabilities=named, tail=1 - named.sum(-1))
    q = torch.softmax(student, -1)
    both = merged(q, ids).log(), merged(p, ids).log()
    for label, outcome in ((ids[:, 1], 1), (p.argmin(-1), 3)):
        want = losses.decoupled_soft_targets(*both, torch.full((6,), outcome), temperature=1.0)
        found = losses.sparse_decoupled_soft_targets(student, rows, label)
        torch.testing.assert_close(found, want)


def test_decoupled_of_rows_that_name_nothing_says_nothing():
    student = torch.randn(2, CLASSES, dtype=torch.float64)
    rows = Sparse(
        ids=torch.zeros(2, 0, dtype=torch.int64),
        probabilities=torch.zeros(2, 0),
        tail=torch.ones(2),
    )
    found = losses.sparse_decoupled_soft_targets(student, rows, torch.tensor([0, 3]))
    torch.testing.assert_close(found, torch.zeros(2).double())


def test_decoupled_does_not_take_padding_for_the_label():
    student = torch.randn(1, 4)
    rows = Sparse(
        ids=torch.tensor([[2, 0]]),
        probabilities=torch.tensor([[0.6, 0.0]]),
        tail=torch.tensor([0.4]),
    )
    found = losses.sparse_decoupled_soft_targets(student, rows, torch.tensor([0]))
    one = replace(rows, ids=rows.ids[:, :1], probabilities=rows.probabilities[:, :1])
    want = losses.sparse_decoupled_soft_targets(student, one, torch.tensor([0]))
    torch.testing.assert_close(found, want)


def test_what_does_not_fit_is_refused():
    rows = Sparse(
        ids=torch.zeros(4, 2, dtype=torch.long),
        probabilities=torch.zeros(4, 2),
        tail=torch.zeros(4),
    )
    with pytest.raises(ShapeError, match=r"^labels must have the shape of student_logits without"):
        losses.sparse_decoupled_soft_targets(
            torch.zeros(4, 5), rows, torch.zeros(3, dtype=torch.long)
        )
    with pytest.raises(ShapeError, match=r"^tail must have the shape of student_logits without"):
        losses.sparse_reverse_kl(torch.zeros(3, 5), rows)
    with pytest.raises(OptionError, match=r"^skew must be 0 or more and below 1, got 2\.$"):
        losses.sparse_skew_kl(torch.zeros(4, 5), rows, skew=2)


FLAT = partial(losses.sparse_alpha_beta, teacher_power=0.02, student_power=0.02)
"""It raises the smallest number that stands for 0 to half of 1."""


@pytest.mark.parametrize("loss", [*(KIN[name][0] for name in NOT_LINEAR), FLAT])
def test_no_tail_is_nothing_lost_where_the_student_excludes_all_others_too(loss):
    """A sampler that masks classes gives -inf to what is not named."""
    ids = torch.tensor([[1, 4], [0, 8]])
    named = torch.tensor([[0.7, 0.3], [0.4, 0.6]], dtype=torch.float64)
    rows = Sparse(ids=ids, probabilities=named, tail=torch.zeros(2, dtype=torch.float64))
    masked = torch.full((2, CLASSES), -torch.inf, dtype=torch.float64)
    value, gradient = value_and_gradient(loss, masked.scatter(-1, ids, named.log()), rows)
    torch.testing.assert_close(value, torch.zeros(2, dtype=torch.float64))
    torch.testing.assert_close(gradient.nan_to_num(nan=9.0), torch.zeros_like(gradient))


def test_a_tail_is_lost_where_the_student_excludes_all_others():
    ids, named = torch.tensor([[1, 4]]), torch.tensor([[0.5, 0.25]], dtype=torch.float64)
    rows = Sparse(ids=ids, probabilities=named, tail=torch.tensor([0.25], dtype=torch.float64))
    masked = torch.full((1, CLASSES), -torch.inf, dtype=torch.float64)
    student = masked.scatter(-1, ids, torch.tensor([[0.5, 0.5]], dtype=torch.float64).log())
    assert losses.sparse_total_variation(student, rows).item() == pytest.approx(0.25)
    p, q = torch.tensor([[0.5, 0.25, 0.25], [0.5, 0.5, 0.0]], dtype=torch.float64).log()
    want = losses.jensen_shannon(q[None], p[None], temperature=1.0)
    torch.testing.assert_close(losses.sparse_jensen_shannon(student, rows), want)
