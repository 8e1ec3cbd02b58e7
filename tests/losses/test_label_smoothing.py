import math

import pytest
import torch

from limbeck._errors import OptionError, ShapeError
from limbeck.losses import cross_entropy, label_smoothing, teacher_free_soft_targets

NONE = float("-inf")


def softmax(row, temperature=1.0):
    powers = [math.exp(x / temperature) for x in row]
    return [power / sum(powers) for power in powers]


def smoothed(student, label, smoothing):
    log_q = [math.log(x) for x in softmax(student)]
    return -(1 - smoothing) * log_q[label] - smoothing * sum(log_q) / len(log_q)


def teacher_free(student, label, target, temperature):
    others = (1 - target) / (len(student) - 1)
    teacher = [math.log(target if i == label else others) for i in range(len(student))]
    p, q = softmax(teacher, temperature), softmax(student, temperature)
    return temperature**2 * sum(a * math.log(a / b) for a, b in zip(p, q, strict=True))


def case(rows=7, classes=5):
    return torch.randn(rows, classes, dtype=torch.float64), torch.randint(classes, (rows,))


def by_rows(function, student, labels, *options):
    each = zip(student.tolist(), labels.tolist(), strict=True)
    return torch.tensor([function(*row, *options) for row in each], dtype=torch.float64)


def gradient(loss, student, *arguments, **options):
    student = student.clone().requires_grad_()
    loss(student, *arguments, **options).sum().backward()
    return student.grad


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.7, 1.0])
def test_label_smoothing_matches_the_formula(smoothing):
    student, labels = case()
    want = by_rows(smoothed, student, labels, smoothing)
    torch.testing.assert_close(label_smoothing(student, labels, smoothing=smoothing), want)


def test_the_smoothing_is_a_tenth_if_left_out():
    student, labels = case()
    want = by_rows(smoothed, student, labels, 0.1)
    torch.testing.assert_close(label_smoothing(student, labels), want)


def test_it_agrees_with_pytorchs():
    student, labels = case()
    want = torch.nn.functional.cross_entropy(student, labels, label_smoothing=0.2, reduction="none")
    torch.testing.assert_close(label_smoothing(student, labels, smoothing=0.2), want)


def test_without_smoothing_it_is_cross_entropy_and_with_all_of_it_the_label_is_lost():
    student, labels = case()
    torch.testing.assert_close(
        label_smoothing(student, labels, smoothing=0.0), cross_entropy(student, labels)
    )
    one, other = (label_smoothing(student, y, smoothing=1.0) for y in (labels, 4 - labels))
    torch.testing.assert_close(one, other)


def test_its_minimum_is_the_entropy_of_the_smoothed_label():
    target = torch.full((5,), 0.02).double()
    target[3] = 0.92
    student = target.log()
    found = label_smoothing(student, torch.tensor(3))
    torch.testing.assert_close(found, -(target * target.log()).sum())
    at_minimum = gradient(label_smoothing, student, torch.tensor(3))
    torch.testing.assert_close(at_minimum, torch.zeros(5).double())


def test_a_class_that_is_none_takes_no_mass():
    student, labels = case()
    padded = torch.cat([student, torch.full((7, 3), NONE).double()], -1)
    torch.testing.assert_close(label_smoothing(padded, labels), label_smoothing(student, labels))


@pytest.mark.parametrize("temperature", [1.0, 4.0, 40.0])
@pytest.mark.parametrize("target", [0.05, 0.5, 0.99])
def test_teacher_free_matches_the_formula(target, temperature):
    student, labels = case()
    want = by_rows(teacher_free, student, labels, target, temperature)
    found = teacher_free_soft_targets(
        student, labels, target_probability=target, temperature=temperature
    )
    torch.testing.assert_close(found, want)


def test_the_virtual_teacher_and_the_temperature_are_the_official_ones_if_left_out():
    student, labels = case()
    want = by_rows(teacher_free, student, labels, 0.99, 20.0)
    torch.testing.assert_close(teacher_free_soft_targets(student, labels), want)


@pytest.mark.parametrize("smoothing", [0.1, 0.5, 1.0])
def test_at_the_temperature_1_its_gradient_is_that_of_label_smoothing(smoothing):
    """A uniform virtual teacher is smoothing of all: the paper's point."""
    student, labels = case()
    found = gradient(
        teacher_free_soft_targets,
        student,
        labels,
        target_probability=1 - smoothing * 4 / 5,
        temperature=1.0,
    )
    want = gradient(label_smoothing, student, labels, smoothing=smoothing)
    torch.testing.assert_close(found, want)


def test_a_student_that_says_what_the_virtual_teacher_does_is_at_0():
    student = torch.full((5,), 0.0025).double()
    student[2] = 0.99
    found = teacher_free_soft_targets(student.log(), torch.tensor(2))
    torch.testing.assert_close(found, torch.zeros(()).double(), rtol=0, atol=1e-10)


def test_a_virtual_teacher_that_is_certain_excludes_every_other_class():
    student, labels = case()
    found = teacher_free_soft_targets(student, labels, target_probability=1.0, temperature=2.0)
    torch.testing.assert_close(found, 4 * cross_entropy(student / 2, labels))
    assert bool(torch.isfinite(gradient(teacher_free_soft_targets, student, labels)).all())


def test_a_class_that_is_none_is_none_to_the_virtual_teacher():
    student, labels = case()
    padded = torch.cat([student, torch.full((7, 3), NONE).double()], -1)
    torch.testing.assert_close(
        teacher_free_soft_targets(padded, labels), teacher_free_soft_targets(student, labels)
    )


def test_a_label_that_the_student_excludes_is_infinitely_far():
    for student in (torch.tensor([NONE, 0.0, 1.0]), torch.tensor([NONE, 0.0])):
        for loss in (label_smoothing, teacher_free_soft_targets):
            assert float(loss(student, torch.tensor(0))) == float("inf")


def test_one_class_is_always_right():
    one = torch.tensor([3.0, NONE])
    assert float(label_smoothing(one, torch.tensor(0))) == 0
    assert float(teacher_free_soft_targets(one, torch.tensor(0))) == 0


@pytest.mark.parametrize("loss", [label_smoothing, teacher_free_soft_targets])
def test_what_is_not_a_number_is_not_hidden(loss):
    assert math.isnan(float(loss(torch.tensor([float("nan"), 0.0]), torch.tensor(1))))


@pytest.mark.parametrize("smoothing", [-0.1, 1.1, float("nan")])
def test_a_smoothing_out_of_its_range_is_refused(smoothing):
    with pytest.raises(OptionError) as error:
        label_smoothing(torch.zeros(1, 2), torch.tensor([0]), smoothing=smoothing)
    assert str(error.value) == f"smoothing must be from 0 to 1, got {smoothing}."


@pytest.mark.parametrize("target", [0.0, -0.1, 1.1, float("nan")])
def test_a_target_probability_out_of_its_range_is_refused(target):
    with pytest.raises(OptionError) as error:
        teacher_free_soft_targets(torch.zeros(1, 2), torch.tensor([0]), target_probability=target)
    assert str(error.value) == f"target_probability must be above 0 to 1, got {target}."


def test_what_does_not_fit_is_refused():
    for loss in (label_smoothing, teacher_free_soft_targets):
        with pytest.raises(ShapeError) as error:
            loss(torch.zeros(4, 10), torch.zeros(3, dtype=torch.long))
        assert str(error.value) == (
            "labels must have the shape of student_logits without its last axis (classes): "
            "expected (4,), got (3,)."
        )
    with pytest.raises(OptionError, match=r"^temperature must be above 0 and finite, got 0\.$"):
        teacher_free_soft_targets(torch.zeros(1, 2), torch.tensor([0]), temperature=0)
