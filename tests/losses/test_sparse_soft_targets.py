import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from limbeck._errors import OptionError, ShapeError
from limbeck.losses import soft_targets, sparse_soft_targets

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


def name_largest(teacher, kept, temperature):
    """Ids, probabilities and tail of the teacher's most probable classes."""
    probabilities, ids = torch.softmax(teacher / temperature, -1).topk(kept, dim=-1)
    tail = 1 - probabilities.sum(-1) if kept < teacher.shape[-1] else torch.zeros(len(teacher))
    return ids, probabilities, tail.to(teacher.dtype)


def pair(rows=7, classes=6):
    return torch.randn(2, rows, classes, dtype=torch.float64).unbind()


@pytest.mark.parametrize("kept", [1, 3, 5])
@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0])
def test_matches_the_formula(kept, temperature):
    student, teacher = pair()
    ids, probabilities, tail = name_largest(teacher, kept, temperature)
    want = [
        reference(*row, temperature)
        for row in zip(
            student.tolist(), ids.tolist(), probabilities.tolist(), tail.tolist(), strict=True
        )
    ]
    found = sparse_soft_targets(student, ids, probabilities, tail, temperature=temperature)
    torch.testing.assert_close(found, torch.tensor(want, dtype=torch.float64))


@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0])
def test_equals_the_dense_loss_when_every_class_is_named(temperature):
    student, teacher = pair()
    named = name_largest(teacher, 6, temperature)
    torch.testing.assert_close(
        sparse_soft_targets(student, *named, temperature=temperature),
        soft_targets(student, teacher, temperature=temperature),
    )


def test_what_rounding_lost_of_all_classes_is_no_tail():
    """Stored in float16, all classes may sum to less than 1, though no other class is left."""
    student, teacher = pair()
    ids, probabilities, _ = name_largest(teacher, 6, 1.0)
    rounded = (probabilities * 0.999).half()
    tail = 1 - rounded.double().sum(-1)
    assert float(tail.min()) > 0
    found = sparse_soft_targets(student, ids, rounded, tail, temperature=1.0)
    want = soft_targets(student, teacher, temperature=1.0)
    torch.testing.assert_close(found, want, rtol=0, atol=2e-3, check_dtype=False)


@given(rows=logits, kept=st.integers(1, 6), temperature=st.sampled_from([0.5, 1.0, 4.0]))
def test_is_at_most_the_dense_loss_and_never_negative(rows, kept, temperature):
    student, teacher = torch.tensor(rows, dtype=torch.float64).chunk(2, dim=-1)
    named = name_largest(teacher, kept, temperature)
    found = sparse_soft_targets(student, *named, temperature=temperature)
    dense = soft_targets(student, teacher, temperature=temperature)
    assert bool((found <= dense + 1e-9).all())
    assert float(found.min()) >= -1e-9


def test_the_tail_closes_the_balance():
    """With the right tail the teacher's own logits are the minimum; without it they are not."""
    teacher = torch.randn(5, 6, dtype=torch.float64)
    ids, probabilities, tail = name_largest(teacher, 2, 1.0)
    student = teacher.clone().requires_grad_()
    sparse_soft_targets(student, ids, probabilities, tail, temperature=1.0).sum().backward()
    torch.testing.assert_close(student.grad, torch.zeros_like(teacher))
    student = teacher.clone().requires_grad_()
    sparse_soft_targets(student, ids, probabilities, 0 * tail, temperature=1.0).sum().backward()
    assert float(student.grad.abs().max()) > 1e-3


def test_the_gradient_of_a_row_sums_to_0_over_the_classes():
    student, teacher = pair()
    student.requires_grad_()
    named = name_largest(teacher, 2, 4.0)
    sparse_soft_targets(student, *named).sum().backward()
    torch.testing.assert_close(student.grad.sum(-1), torch.zeros(7, dtype=torch.float64))


def test_the_gradient_reaches_classes_that_are_not_named():
    student, teacher = pair()
    student.requires_grad_()
    ids, probabilities, tail = name_largest(teacher, 2, 4.0)
    sparse_soft_targets(student, ids, probabilities, tail).sum().backward()
    others = student.grad.scatter(-1, ids, float("nan"))
    others = others[~others.isnan()]
    assert len(others) == 7 * 4
    assert float(others.abs().min()) > 0


@pytest.mark.parametrize("what", ["probabilities", "tail"])
def test_no_gradient_reaches_what_the_teacher_said(what):
    student, teacher = pair()
    ids, probabilities, tail = name_largest(teacher, 2, 4.0)
    said = {"probabilities": probabilities, "tail": tail}
    said[what].requires_grad_()
    sparse_soft_targets(student.requires_grad_(), ids, **said).sum().backward()
    assert said[what].grad is None


def test_a_named_class_of_probability_0_adds_nothing():
    student = torch.tensor([[1.0, 0.0, float("-inf")]], requires_grad=True)
    found = sparse_soft_targets(
        student,
        torch.tensor([[0, 1, 2]]),
        torch.tensor([[1.0, 0.0, 0.0]]),
        torch.zeros(1),
        temperature=1.0,
    )
    found.sum().backward()
    assert float(found.detach()) == pytest.approx(math.log(1 + math.exp(-1)))
    assert bool(torch.isfinite(student.grad).all())


def test_a_row_without_a_tail_has_a_finite_gradient_beside_one_with_a_tail():
    student, teacher = pair(rows=2)
    student.requires_grad_()
    ids, probabilities, tail = name_largest(teacher, 2, 1.0)
    probabilities[0] /= probabilities[0].sum()
    tail[0] = 0.0
    found = sparse_soft_targets(student, ids, probabilities, tail, temperature=1.0)
    found.sum().backward()
    rows = zip(student.tolist(), ids.tolist(), probabilities.tolist(), tail.tolist(), strict=True)
    want = [reference(*row, 1.0) for row in rows]
    torch.testing.assert_close(found.detach(), torch.tensor(want, dtype=torch.float64))
    assert bool(torch.isfinite(student.grad).all())


def test_without_a_tail_impossible_classes_leave_the_gradient_finite():
    """The classes that are not named are all padding: the bucket's logarithm is -inf."""
    student = torch.tensor([[1.0, 0.0, float("-inf")]], dtype=torch.float64, requires_grad=True)
    half = torch.full((1, 2), 0.5, dtype=torch.float64)
    ids, none = torch.tensor([[0, 1]]), torch.zeros(1, dtype=torch.float64)
    sparse_soft_targets(student, ids, half, none, temperature=1.0).sum().backward()
    q = 1 / (1 + math.exp(-1))  # and 1 - q; the gradient is q - p
    want = torch.tensor([[q - 0.5, 0.5 - q, 0.0]], dtype=torch.float64)
    torch.testing.assert_close(student.grad, want)


def test_a_temperature_that_is_not_above_0_is_refused():
    with pytest.raises(OptionError, match=r"^temperature must be above 0 and finite, got 0\.$"):
        sparse_soft_targets(
            torch.zeros(1, 3),
            torch.zeros(1, 1, dtype=torch.long),
            torch.ones(1, 1),
            torch.zeros(1),
            temperature=0,
        )


@pytest.mark.parametrize(
    ("ids", "probabilities", "tail", "message"),
    [
        ((4, 2), (4, 3), (4,), "these must have one shape: ids (4, 2), probabilities (4, 3)."),
        (
            (4, 2),
            (4, 2),
            (3,),
            "tail must have the shape of student_logits without its last axis (classes): "
            "expected (4,), got (3,).",
        ),
        (
            (3, 2),
            (3, 2),
            (4,),
            "ids must be (..., kept) with the leading shape of tail (4,), got (3, 2).",
        ),
    ],
)
def test_shapes_that_do_not_fit_are_refused(ids, probabilities, tail, message):
    with pytest.raises(ShapeError) as error:
        sparse_soft_targets(
            torch.zeros(4, 5),
            torch.zeros(ids, dtype=torch.long),
            torch.zeros(probabilities),
            torch.zeros(tail),
        )
    assert str(error.value) == message
