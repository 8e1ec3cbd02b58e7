import math

import pytest
import torch

from limbeck._errors import OptionError, ShapeError
from limbeck.losses import soft_targets, weighted_soft_targets


def softmax(row, temperature=1.0):
    powers = [math.exp(x / temperature) for x in row]
    return [power / sum(powers) for power in powers]


def weight(student, teacher, label):
    of_student, of_teacher = (-math.log(softmax(row)[label]) for row in (student, teacher))
    return 1 - math.exp(-of_student / of_teacher)


def reference(student, teacher, label, temperature):
    p, q = softmax(teacher, temperature), softmax(student, temperature)
    kl = sum(a * math.log(a / b) for a, b in zip(p, q, strict=True))
    return temperature**2 * weight(student, teacher, label) * kl


def case(rows=7, classes=5):
    student, teacher = torch.randn(2, rows, classes, dtype=torch.float64).unbind()
    return student, teacher, torch.randint(classes, (rows,))


def by_rows(function, student, teacher, labels, *options):
    each = zip(student.tolist(), teacher.tolist(), labels.tolist(), strict=True)
    return torch.tensor([function(*row, *options) for row in each], dtype=torch.float64)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0])
def test_matches_the_formula(temperature):
    student, teacher, labels = case()
    want = by_rows(reference, student, teacher, labels, temperature)
    found = weighted_soft_targets(student, teacher, labels, temperature=temperature)
    torch.testing.assert_close(found, want)


def test_the_temperature_is_4_if_left_out():
    student, teacher, labels = case()
    want = by_rows(reference, student, teacher, labels, 4.0)
    torch.testing.assert_close(weighted_soft_targets(student, teacher, labels), want)


def test_no_gradient_flows_through_the_weight():
    student, teacher, labels = case()
    student.requires_grad_()
    weights = by_rows(weight, student.detach(), teacher, labels)
    found, want = (
        torch.autograd.grad(value.sum(), student)[0]
        for value in (
            weighted_soft_targets(student, teacher, labels),
            weights * soft_targets(student, teacher),
        )
    )
    torch.testing.assert_close(found, want)


def test_the_weight_is_0_for_a_student_that_is_sure_of_the_label():
    student, label = torch.tensor([[1e3, 0.0, 0.0]]), torch.tensor([0])
    for teacher in (torch.tensor([[1.0, 0.0, 0.0]]), torch.tensor([[2e3, 0.0, 0.0]])):
        assert float(weighted_soft_targets(student, teacher, label)) == 0


def test_the_weight_is_1_where_the_teacher_is_sure_and_the_student_is_not():
    student, teacher = torch.tensor([[0.0, 1.0, 2.0]]), torch.tensor([[1e3, 0.0, 0.0]])
    student.requires_grad_()
    found = weighted_soft_targets(student, teacher, torch.tensor([0]))
    torch.testing.assert_close(found, soft_targets(student, teacher))
    found.sum().backward()
    assert bool(torch.isfinite(student.grad).all())


def test_what_is_not_a_number_is_not_hidden():
    nan, one = torch.tensor([float("nan"), 0.0]), torch.tensor([1.0, 0.0])
    assert math.isnan(float(weighted_soft_targets(nan, one, torch.tensor(0))))
    assert math.isnan(float(weighted_soft_targets(one, nan, torch.tensor(0))))


def test_what_does_not_fit_is_refused():
    two, labels = torch.zeros(4, 10), torch.zeros(4, dtype=torch.long)
    with pytest.raises(ShapeError) as error:
        weighted_soft_targets(two, two, labels[:3])
    assert str(error.value) == (
        "labels must have the shape of student_logits without its last axis (classes): expected "
        "(4,), got (3,)."
    )
    with pytest.raises(OptionError, match=r"^temperature must be above 0 and finite, got 0\.$"):
        weighted_soft_targets(two, two, labels, temperature=0)
