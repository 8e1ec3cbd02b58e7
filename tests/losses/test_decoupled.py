import math

import pytest
import torch

from limbeck._errors import OptionError, ShapeError
from limbeck.losses import decoupled_soft_targets, soft_targets


def softmax(row, temperature):
    powers = [math.exp(x / temperature) for x in row]
    return [power / sum(powers) for power in powers]


def kl(p, q):
    return sum(a * math.log(a / b) for a, b in zip(p, q, strict=True))


def parts(student, teacher, label, temperature):
    """KL of the label against the rest, and KL among the rest, in plain Python floats."""
    p, q = softmax(teacher, temperature), softmax(student, temperature)
    target = kl([p[label], 1 - p[label]], [q[label], 1 - q[label]])
    rest = [[x / (1 - d[label]) for i, x in enumerate(d) if i != label] for d in (p, q)]
    return temperature**2 * target, temperature**2 * kl(*rest)


def case(rows=7, classes=5):
    student, teacher = torch.randn(2, rows, classes, dtype=torch.float64).unbind()
    return student, teacher, torch.randint(classes, (rows,))


def by_rows(student, teacher, labels, temperature):
    found = [
        parts(s, t, y, temperature)
        for s, t, y in zip(student.tolist(), teacher.tolist(), labels.tolist(), strict=True)
    ]
    return torch.tensor(found, dtype=torch.float64).unbind(-1)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0])
def test_is_the_weighted_sum_of_the_two_parts(temperature):
    student, teacher, labels = case()
    target, others = by_rows(student, teacher, labels, temperature)
    found = decoupled_soft_targets(
        student, teacher, labels, target_weight=2.0, others_weight=3.0, temperature=temperature
    )
    torch.testing.assert_close(found, 2 * target + 3 * others)


def test_the_weights_and_the_temperature_are_the_papers_if_left_out():
    student, teacher, labels = case()
    target, others = by_rows(student, teacher, labels, 4.0)
    torch.testing.assert_close(
        decoupled_soft_targets(student, teacher, labels), target + 8 * others
    )


def test_others_weighed_by_what_the_teacher_leaves_them_are_soft_targets():
    student, teacher, labels = case()
    target = decoupled_soft_targets(student, teacher, labels, others_weight=0.0)
    others = decoupled_soft_targets(student, teacher, labels, target_weight=0.0, others_weight=1.0)
    left = 1 - torch.softmax(teacher / 4.0, -1).gather(-1, labels[:, None])[:, 0]
    torch.testing.assert_close(target + left * others, soft_targets(student, teacher))


def test_the_part_among_the_others_does_not_see_the_labels_logit():
    student, teacher, labels = case()
    student.requires_grad_()
    found = decoupled_soft_targets(student, teacher, labels, target_weight=0.0)
    found.sum().backward()
    at_label = student.grad.gather(-1, labels[:, None])
    torch.testing.assert_close(at_label, torch.zeros_like(at_label))
    moved = teacher.scatter(-1, labels[:, None], 9.0)
    torch.testing.assert_close(
        decoupled_soft_targets(student, moved, labels, target_weight=0.0), found
    )


def test_a_sure_teacher_still_tells_the_others_apart():
    """At logits of a thousand the official code takes the logarithm of 0."""
    student = torch.tensor([[0.0, 1.0, 0.0]])
    found = decoupled_soft_targets(
        student,
        torch.tensor([[1e3, 0.0, 1.0]]),
        torch.tensor([0]),
        target_weight=0.0,
        others_weight=1.0,
        temperature=1.0,
    )
    p = 1 / (1 + math.e)
    assert float(found) == pytest.approx(kl([p, 1 - p], [1 - p, p]), rel=1e-4)


def test_a_teacher_that_leaves_the_others_nothing_says_nothing_of_them():
    none = float("-inf")
    student = torch.tensor([[0.0, 1.0, 2.0]], requires_grad=True)
    found = decoupled_soft_targets(
        student, torch.tensor([[0.0, none, none]]), torch.tensor([0]), temperature=1.0
    )
    found.sum().backward()
    assert float(found.detach()) == pytest.approx(
        math.log(1 + math.e + math.e**2)
    )  # -log q of the label
    assert bool(torch.isfinite(student.grad).all())


def test_a_label_that_both_leave_alone_is_0_with_a_gradient_of_0():
    """The logarithm of the others' sum is of nothing on the student's side as well."""
    none = float("-inf")
    student = torch.tensor([[0.0, none, none]], requires_grad=True)
    found = decoupled_soft_targets(student, student, torch.tensor([0]))
    found.sum().backward()
    assert torch.equal(found, torch.zeros(1))
    assert torch.equal(student.grad, torch.zeros(1, 3))


def test_what_does_not_fit_is_refused():
    two = torch.zeros(4, 10)
    with pytest.raises(ShapeError) as error:
        decoupled_soft_targets(two, two, torch.zeros(5, dtype=torch.long))
    assert str(error.value) == (
        "labels must have the shape of student_logits without its last axis (classes): expected "
        "(4,), got (5,)."
    )
    with pytest.raises(OptionError, match=r"^temperature must be above 0 and finite, got 0\.$"):
        decoupled_soft_targets(two, two, torch.zeros(4, dtype=torch.long), temperature=0)
