import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from limbeck._errors import OptionError, ShapeError
from limbeck.losses import (
    _others,
    soft_cross_entropy,
    soft_targets,
    sparse_soft_cross_entropy,
    sparse_soft_targets,
)
from limbeck.signals import Sparse

logits = st.lists(st.tuples(*[st.floats(-20, 20)] * 12), min_size=1, max_size=4)


def softmax(row, temperature):
    powers = [math.exp(x / temperature) for x in row]
    return [power / sum(powers) for power in powers]


def reference(student, ids, probabilities, tail, temperature):
    """The formula of one row in plain Python floats."""
    q = softmax(student, temperature)
    named = sum(p * math.log(p / q[i]) for i, p in zip(ids, probabilities, strict=True))
    others = sum(q[i] for i in range(len(q)) if i not in ids)
    return temperature**2 * (named + (tail * math.log(tail / others) if tail else 0.0))


def by_reference(student, rows):
    each = zip(
        student.tolist(),
        rows.ids.tolist(),
        rows.probabilities.tolist(),
        rows.tail.tolist(),
        strict=True,
    )
    return torch.tensor([reference(*row, rows.temperature) for row in each], dtype=torch.float64)


def name_largest(teacher, kept, temperature=1.0):
    """The teacher's most probable classes, and the mass of all others."""
    probabilities, ids = torch.softmax(teacher / temperature, -1).topk(kept, dim=-1)
    tail = 1 - probabilities.sum(-1) if kept < teacher.shape[-1] else torch.zeros(len(teacher))
    return Sparse(
        ids=ids,
        probabilities=probabilities,
        tail=tail.to(teacher.dtype),
        temperature=temperature,
    )


def pair(rows=7, classes=6):
    return torch.randn(2, rows, classes, dtype=torch.float64).unbind()


def gradient(loss, student, *teacher, **options):
    student = student.clone().requires_grad_()
    loss(student, *teacher, **options).sum().backward()
    return student.grad


@pytest.mark.parametrize("kept", [1, 3, 5])
@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0])
def test_matches_the_formula(kept, temperature):
    student, teacher = pair()
    rows = name_largest(teacher, kept, temperature)
    torch.testing.assert_close(sparse_soft_targets(student, rows), by_reference(student, rows))


@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0])
@pytest.mark.parametrize(
    ("loss", "dense"),
    [(sparse_soft_targets, soft_targets), (sparse_soft_cross_entropy, soft_cross_entropy)],
)
def test_equals_the_dense_loss_when_every_class_is_named(loss, dense, temperature):
    student, teacher = pair()
    rows = name_largest(teacher, 6, temperature)
    torch.testing.assert_close(
        loss(student, rows), dense(student, teacher, temperature=temperature)
    )
    torch.testing.assert_close(
        gradient(loss, student, rows),
        gradient(dense, student, teacher, temperature=temperature),
    )


def test_what_rounding_lost_of_all_classes_is_no_tail():
    """Stored in float16, all classes may sum to less than 1, though no other class is left."""
    student, teacher = pair()
    rounded = (name_largest(teacher, 6).probabilities * 0.999).half()
    tail = 1 - rounded.double().sum(-1)
    assert float(tail.min()) > 0
    rows = Sparse(ids=name_largest(teacher, 6).ids, probabilities=rounded, tail=tail)
    want = soft_targets(student, teacher, temperature=1.0)
    found = sparse_soft_targets(student, rows)
    torch.testing.assert_close(found, want, rtol=0, atol=2e-3, check_dtype=False)


@given(rows=logits, kept=st.integers(1, 6), temperature=st.sampled_from([0.5, 1.0, 4.0]))
def test_is_at_most_the_dense_loss_and_never_negative(rows, kept, temperature):
    student, teacher = torch.tensor(rows, dtype=torch.float64).chunk(2, dim=-1)
    found = sparse_soft_targets(student, name_largest(teacher, kept, temperature))
    dense = soft_targets(student, teacher, temperature=temperature)
    assert bool((found <= dense + 1e-9).all())
    assert float(found.min()) >= -1e-9


def test_the_tail_closes_the_balance():
    """With the right tail the teacher's own logits are the minimum; without it they are not."""
    teacher = torch.randn(5, 6, dtype=torch.float64)
    rows = name_largest(teacher, 2)
    zero = gradient(sparse_soft_targets, teacher, rows)
    torch.testing.assert_close(zero, torch.zeros_like(teacher))
    open_ = Sparse(ids=rows.ids, probabilities=rows.probabilities, tail=0 * rows.tail)
    assert float(gradient(sparse_soft_targets, teacher, open_).abs().max()) > 1e-3


def test_the_gradient_of_a_row_sums_to_0_over_the_classes():
    student, teacher = pair()
    found = gradient(sparse_soft_targets, student, name_largest(teacher, 2, 4.0))
    torch.testing.assert_close(found.sum(-1), torch.zeros(7, dtype=torch.float64))


def test_the_gradient_reaches_classes_that_are_not_named():
    student, teacher = pair()
    rows = name_largest(teacher, 2, 4.0)
    found = gradient(sparse_soft_targets, student, rows).scatter(-1, rows.ids, float("nan"))
    others = found[~found.isnan()]
    assert len(others) == 7 * 4
    assert float(others.abs().min()) > 0


@pytest.mark.parametrize("what", ["probabilities", "tail", "tail_shape"])
def test_no_gradient_reaches_what_the_teacher_said(what):
    student, teacher = pair()
    rows = name_largest(teacher, 2, 4.0)
    said = {"probabilities": rows.probabilities, "tail": rows.tail, "tail_shape": torch.zeros(6)}
    said[what].requires_grad_()
    found = sparse_soft_targets(student.requires_grad_(), Sparse(ids=rows.ids, **said))
    found.sum().backward()
    assert said[what].grad is None


def test_padding_names_nothing_even_where_it_repeats_a_named_class():
    student, teacher = pair()
    rows = name_largest(teacher, 2)
    padded = Sparse(
        ids=torch.cat([rows.ids, rows.ids[:, :1], (rows.ids[:, :1] + 1) % 6], -1),
        probabilities=torch.cat([rows.probabilities, torch.zeros(7, 2)], -1),
        tail=rows.tail,
    )
    torch.testing.assert_close(
        sparse_soft_targets(student, padded), sparse_soft_targets(student, rows)
    )
    torch.testing.assert_close(
        gradient(sparse_soft_targets, student, padded), gradient(sparse_soft_targets, student, rows)
    )


def test_padding_of_an_impossible_class_leaves_the_gradient_finite():
    student = torch.tensor([[1.0, 0.0, float("-inf")]])
    rows = Sparse(
        ids=torch.tensor([[0, 1, 2]]),
        probabilities=torch.tensor([[1.0, 0.0, 0.0]]),
        tail=torch.zeros(1),
    )
    found = sparse_soft_targets(student, rows)
    assert float(found) == pytest.approx(math.log(1 + math.exp(-1)))
    assert bool(torch.isfinite(gradient(sparse_soft_targets, student, rows)).all())


def test_a_row_without_a_tail_has_a_finite_gradient_beside_one_with_a_tail():
    student, teacher = pair(rows=2)
    rows = name_largest(teacher, 2)
    rows.probabilities[0] /= rows.probabilities[0].sum()
    rows.tail[0] = 0.0
    torch.testing.assert_close(sparse_soft_targets(student, rows), by_reference(student, rows))
    assert bool(torch.isfinite(gradient(sparse_soft_targets, student, rows)).all())


@pytest.mark.parametrize("loss", [sparse_soft_targets, sparse_soft_cross_entropy])
def test_how_a_tail_spreads_is_read_beside_a_row_without_one(loss):
    student, teacher = pair(rows=2)
    rows = replace(name_largest(teacher, 2), tail_shape=torch.randn(6, dtype=torch.float64))
    rows.probabilities[0] /= rows.probabilities[0].sum()
    rows.tail[0] = 0.0
    each = [
        replace(rows, ids=rows.ids[row], probabilities=rows.probabilities[row], tail=rows.tail[row])
        for row in ([0], [1])
    ]
    for of in (loss, lambda *both: gradient(loss, *both)):
        alone = [of(student[row], said) for row, said in zip(([0], [1]), each, strict=True)]
        torch.testing.assert_close(of(student, rows), torch.cat(alone))


def test_without_a_tail_impossible_classes_leave_the_gradient_finite():
    """The classes that are not named are all padding: the bucket's logarithm is -inf."""
    student = torch.tensor([[1.0, 0.0, float("-inf")]], dtype=torch.float64)
    half = torch.full((1, 2), 0.5, dtype=torch.float64)
    rows = Sparse(ids=torch.tensor([[0, 1]]), probabilities=half, tail=torch.zeros(1).double())
    q = 1 / (1 + math.exp(-1))  # and 1 - q; the gradient is q - p
    want = torch.tensor([[q - 0.5, 0.5 - q, 0.0]], dtype=torch.float64)
    torch.testing.assert_close(gradient(sparse_soft_targets, student, rows), want)


def test_a_tail_the_student_all_but_excludes_pulls_it_back():
    """1 - sum q is 0 in float32 here, and so is every q outside of what is named."""
    student = torch.tensor([[0.0, -400.0, -401.0]])
    rows = Sparse(
        ids=torch.tensor([[0]]), probabilities=torch.tensor([[0.75]]), tail=torch.tensor([0.25])
    )
    others = -400 + math.log(1 + math.exp(-1))
    want = 0.75 * math.log(0.75) + 0.25 * (math.log(0.25) - others)
    assert float(sparse_soft_targets(student, rows)) == pytest.approx(want, rel=1e-6)
    inside = 1 / (1 + math.exp(-1))
    torch.testing.assert_close(
        gradient(sparse_soft_targets, student, rows),
        torch.tensor([[0.25, -0.25 * inside, -0.25 * (1 - inside)]]),
    )


def drawn_rows(teacher, threshold, copies):
    """Each of the teacher's classes below the threshold, drawn as often as it is probable."""
    p = torch.softmax(teacher, -1).repeat(copies, 1)
    drawn = (p < threshold) & (torch.rand_like(p) < p / threshold)
    values = torch.where(p >= threshold, p, threshold * drawn)
    ids = torch.arange(p.shape[-1]).repeat(len(p), 1)
    return Sparse(ids=ids, probabilities=values, tail=torch.zeros_like(p[:, 0]), drawn=drawn)


def test_drawn_entries_give_the_dense_gradient_on_average():
    student, teacher = pair(rows=1)
    rows = drawn_rows(teacher, 0.25, 40_000)
    assert float((rows.probabilities.sum(-1) - 1).abs().max()) > 0.1
    found = gradient(sparse_soft_targets, student.expand(40_000, 6), rows).mean(0)
    want = gradient(soft_targets, student, teacher, temperature=1.0)[0]
    torch.testing.assert_close(found, want, rtol=0, atol=5e-3)


def test_drawn_entries_are_read_as_a_generalised_divergence():
    """sum p log(p / q) - sum p + 1, whose gradient is (sum p) q - p."""
    student, teacher = pair(rows=9)
    rows = drawn_rows(teacher, 0.25, 1)
    q, p = torch.softmax(student, -1), rows.probabilities
    want = torch.special.xlogy(p, p / q).sum(-1) - p.sum(-1) + 1
    torch.testing.assert_close(sparse_soft_targets(student, rows), want)
    assert float(want.min()) >= 0
    torch.testing.assert_close(
        gradient(sparse_soft_targets, student, rows), p.sum(-1, keepdim=True) * q - p
    )


@pytest.mark.parametrize("shape", [None, torch.zeros(6)])
def test_rows_that_are_read_some_at_a_time_are_read_all(monkeypatch, shape):
    student, teacher = pair(rows=10)
    rows = replace(name_largest(teacher, 2), tail_shape=shape)
    want = sparse_soft_targets(student, rows)
    want_gradient = gradient(sparse_soft_targets, student, rows)
    monkeypatch.setitem(_others.BLOCK, "cpu", 6 * 3)
    torch.testing.assert_close(sparse_soft_targets(student, rows), want)
    torch.testing.assert_close(gradient(sparse_soft_targets, student, rows), want_gradient)


@pytest.mark.parametrize("loss", [sparse_soft_targets, sparse_soft_cross_entropy])
@pytest.mark.parametrize("shape", [None, torch.zeros(60)])
def test_nothing_of_the_logits_size_is_held_but_their_gradient(monkeypatch, loss, shape):
    monkeypatch.setitem(_others.BLOCK, "cpu", 120)
    student, teacher = pair(rows=100, classes=60)
    student.requires_grad_()
    rows = replace(name_largest(teacher, 2), tail_shape=shape)
    whole, large = student.untyped_storage().size(), {}

    class Watch(TorchDispatchMode):
        def __torch_dispatch__(self, function, types, arguments=(), options=None):
            found = function(*arguments, **(options or {}))
            parts = [part for part in tree_leaves(found) if isinstance(part, torch.Tensor)]
            for storage in [part.untyped_storage() for part in parts]:
                if storage.size() > whole / 10:
                    large[storage.data_ptr()] = storage  # kept, so that no other one gets its place
            return found

    with Watch():
        loss(student, rows).sum().backward()
    del large[student.untyped_storage().data_ptr()]
    assert list(large) == [student.grad.untyped_storage().data_ptr()]


def test_a_temperature_that_is_not_above_0_is_refused():
    rows = Sparse(
        ids=torch.zeros(1, 1, dtype=torch.long),
        probabilities=torch.ones(1, 1),
        tail=torch.zeros(1),
        temperature=0,
    )
    with pytest.raises(OptionError, match=r"^temperature must be above 0 and finite, got 0\.$"):
        sparse_soft_targets(torch.zeros(1, 3), rows)


@pytest.mark.parametrize(
    ("ids", "probabilities", "tail", "shape", "message"),
    [
        ((4, 2), (4, 3), (4,), 5, "these must have one shape: ids (4, 2), probabilities (4, 3)."),
        (
            (4, 2),
            (4, 2),
            (3,),
            5,
            "tail must have the shape of student_logits without its last axis (classes): "
            "expected (4,), got (3,).",
        ),
        (
            (3, 2),
            (3, 2),
            (4,),
            5,
            "ids must be (..., kept) with the leading shape of tail (4,), got (3, 2).",
        ),
        (
            (4, 2),
            (4, 2),
            (4,),
            6,
            "tail_shape must have one weight for each class of student_logits: expected (5,), got "
            "(6,).",
        ),
    ],
)
def test_shapes_that_do_not_fit_are_refused(ids, probabilities, tail, shape, message):
    rows = Sparse(
        ids=torch.zeros(ids, dtype=torch.long),
        probabilities=torch.zeros(probabilities),
        tail=torch.zeros(tail),
        tail_shape=torch.zeros(shape),
    )
    for loss in (sparse_soft_targets, sparse_soft_cross_entropy):
        with pytest.raises(ShapeError) as error:
            loss(torch.zeros(4, 5), rows)
        assert str(error.value) == message


def test_what_is_drawn_stands_for_the_tail_which_is_not_read_then():
    ids, drawn = torch.tensor([[2, 0]]), torch.tensor([[False, True]])
    values = torch.tensor([[0.7, 0.25]])
    student = torch.randn(1, 4)
    losses_ = [
        sparse_soft_targets(
            student,
            Sparse(ids=ids, probabilities=values, tail=torch.tensor([tail]), drawn=drawn),
        )
        for tail in (0.0, 0.2)
    ]
    assert losses_[0].equal(losses_[1])
