import math

import pytest
import torch

from limbeck._errors import OptionError, ShapeError
from limbeck.losses import decoupled_soft_targets, normalised_soft_targets


def softmax(row, temperature=1.0):
    powers = [math.exp(x / temperature) for x in row]
    return [power / sum(powers) for power in powers]


def parts(student, teacher, label, temperature):
    """The part at the label, and that among the others without gamma, in plain Python floats."""
    target = -softmax(teacher)[label] * math.log(softmax(student)[label])
    p, q = (
        softmax([x for i, x in enumerate(row) if i != label], temperature)
        for row in (teacher, student)
    )
    return target, -(temperature**2) * sum(a * math.log(b) for a, b in zip(p, q, strict=True))


def case(rows=7, classes=5):
    student, teacher = torch.randn(2, rows, classes, dtype=torch.float64).unbind()
    return student, teacher, torch.randint(classes, (rows,))


def by_rows(student, teacher, labels, temperature):
    found = [
        parts(s, t, y, temperature)
        for s, t, y in zip(student.tolist(), teacher.tolist(), labels.tolist(), strict=True)
    ]
    return torch.tensor(found, dtype=torch.float64).unbind(-1)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_is_the_sum_of_the_two_parts(temperature):
    student, teacher, labels = case()
    target, others = by_rows(student, teacher, labels, temperature)
    found = normalised_soft_targets(
        student, teacher, labels, others_weight=3.5, temperature=temperature
    )
    torch.testing.assert_close(found, target + 3.5 * others)


def test_the_weight_and_the_temperature_are_those_for_imagenet_if_left_out():
    student, teacher, labels = case()
    target, others = by_rows(student, teacher, labels, 1.0)
    torch.testing.assert_close(
        normalised_soft_targets(student, teacher, labels), target + 1.5 * others
    )


@pytest.mark.parametrize("temperature", [1.0, 3.0])
def test_the_part_among_the_others_is_the_decoupled_one_and_an_entropy(temperature):
    """So its minimum over students is that entropy, and not 0."""
    student, teacher, labels = case()
    at_label = labels[:, None]
    both = (
        normalised_soft_targets(student, teacher, labels, others_weight=w, temperature=temperature)
        for w in (1.0, 0.0)
    )
    found = next(both) - next(both)
    decoupled = decoupled_soft_targets(
        student, teacher, labels, target_weight=0, others_weight=1, temperature=temperature
    )
    others = (teacher / temperature).scatter(-1, at_label, -torch.inf)
    entropy = torch.distributions.Categorical(probs=others.softmax(-1)).entropy()
    torch.testing.assert_close(found, decoupled + temperature**2 * entropy)


def test_nears_its_minimum_where_the_student_is_sure_and_knows_the_others():
    _, teacher, labels = case()
    student = teacher.scatter(-1, labels[:, None], 60.0).requires_grad_()
    found = normalised_soft_targets(student, teacher, labels)
    others = teacher.scatter(-1, labels[:, None], -torch.inf).softmax(-1)
    least = 1.5 * torch.distributions.Categorical(probs=others).entropy()
    torch.testing.assert_close(found, least)
    found.sum().backward()
    torch.testing.assert_close(student.grad, torch.zeros_like(student))
    for _ in range(20):
        other = 3 * torch.randn_like(teacher)
        assert bool((normalised_soft_targets(other, teacher, labels) > least).all())


def test_without_the_others_only_the_label_counts():
    student, teacher, labels = case()
    target, _ = by_rows(student, teacher, labels, 1.0)
    found = normalised_soft_targets(student, teacher, labels, others_weight=0.0)
    torch.testing.assert_close(found, target)


def test_a_teacher_that_leaves_the_others_nothing_says_nothing_of_them():
    none = float("-inf")
    student = torch.tensor([[0.0, 1.0, 2.0]], requires_grad=True)
    found = normalised_soft_targets(student, torch.tensor([[0.0, none, none]]), torch.tensor([0]))
    assert float(found.detach()) == pytest.approx(math.log(1 + math.e + math.e**2))
    found.sum().backward()
    assert bool(torch.isfinite(student.grad).all())


def test_a_label_that_both_exclude_adds_nothing():
    none = float("-inf")
    rows = torch.tensor([[none, 1.0, 1.0]])
    found = normalised_soft_targets(rows, rows, torch.tensor([0]))
    assert float(found) == pytest.approx(1.5 * math.log(2))


def test_what_is_not_a_number_is_not_hidden():
    nan, one = torch.tensor([float("nan"), 0.0, 1.0]), torch.tensor([1.0, 0.0, 0.0])
    assert math.isnan(float(normalised_soft_targets(nan, one, torch.tensor(0))))
    assert math.isnan(float(normalised_soft_targets(one, nan, torch.tensor(0))))


def test_what_does_not_fit_is_refused():
    two, labels = torch.zeros(4, 10), torch.zeros(4, dtype=torch.long)
    with pytest.raises(ShapeError) as error:
        normalised_soft_targets(two, two, labels[:3])
    assert str(error.value) == (
        "labels must have the shape of student_logits without its last axis (classes): expected "
        "(4,), got (3,)."
    )
    with pytest.raises(ShapeError) as error:
        normalised_soft_targets(two, torch.zeros(4, 11), labels)
    assert str(error.value) == (
        "these must have one shape: student_logits (4, 10), teacher_logits (4, 11)."
    )
    with pytest.raises(OptionError, match=r"^temperature must be above 0 and finite, got 0\.$"):
        normalised_soft_targets(two, two, labels, temperature=0)
