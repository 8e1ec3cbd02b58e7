import math

import pytest
import torch

from limbeck._errors import OptionError, ShapeError
from limbeck.losses import soft_binary_targets, soft_targets

TEMPERATURES = [0.25, 1.0, 4.0, 20.0]


def softmax(logits, temperature):
    powers = [math.exp(x / temperature) for x in logits]
    return [power / sum(powers) for power in powers]


def sigmoid(x):
    return 1 / (1 + math.exp(-x))


def reference(student, teacher, temperature):
    """T^2 KL(teacher || student) of one row in plain Python floats."""
    p, q = softmax(teacher, temperature), softmax(student, temperature)
    return temperature**2 * sum(a * math.log(a / b) for a, b in zip(p, q, strict=True))


def binary_reference(student, teacher, temperature):
    """The same, summed over yes-or-no questions."""
    total = 0.0
    for s, t in zip(student, teacher, strict=True):
        p, q = sigmoid(t / temperature), sigmoid(s / temperature)
        total += p * math.log(p / q) + (1 - p) * math.log((1 - p) / (1 - q))
    return temperature**2 * total


def by_rows(function, student, teacher, temperature):
    return torch.tensor(
        [
            function(s, t, temperature)
            for s, t in zip(student.tolist(), teacher.tolist(), strict=True)
        ],
        dtype=torch.float64,
    )


def pair(rows=7, classes=5):
    return torch.randn(2, rows, classes, dtype=torch.float64).unbind()


def gradient(loss, student, teacher, temperature):
    student = student.clone().requires_grad_()
    loss(student, teacher, temperature=temperature).sum().backward()
    return student.grad


@pytest.mark.parametrize("temperature", TEMPERATURES)
def test_soft_targets_match_the_papers_formula(temperature):
    student, teacher = pair()
    want = by_rows(reference, student, teacher, temperature)
    torch.testing.assert_close(soft_targets(student, teacher, temperature=temperature), want)


@pytest.mark.parametrize("temperature", TEMPERATURES)
def test_soft_binary_targets_match_the_formula_for_two_outcomes(temperature):
    student, teacher = pair()
    want = by_rows(binary_reference, student, teacher, temperature)
    torch.testing.assert_close(soft_binary_targets(student, teacher, temperature=temperature), want)


def test_a_hand_example():
    # p = (3/4, 1/4), q = (1/2, 1/2): KL = 3/4 ln(3/2) + 1/4 ln(1/2).
    student = torch.tensor([0.0, 0.0], dtype=torch.float64)
    teacher = torch.tensor([math.log(3), 0.0], dtype=torch.float64)
    want = 0.75 * math.log(1.5) + 0.25 * math.log(0.5)
    assert float(soft_targets(student, teacher, temperature=1.0)) == pytest.approx(want)


def test_it_is_the_teachers_distribution_that_weighs():
    """KL(teacher || student) is infinite where the student excludes what the teacher does not."""
    student = torch.tensor([0.0, float("-inf")])
    teacher = torch.tensor([0.0, 0.0])
    assert float(soft_targets(student, teacher, temperature=1.0)) == float("inf")
    assert float(soft_targets(teacher, student, temperature=1.0)) == pytest.approx(math.log(2))


def test_the_temperature_is_4_if_left_out():
    student, teacher = pair()
    for loss in (soft_targets, soft_binary_targets):
        assert torch.equal(loss(student, teacher), loss(student, teacher, temperature=4.0))


def test_a_constant_added_to_a_row_changes_nothing():
    student, teacher = pair()
    moved = soft_targets(student + 3.0, teacher - 5.0)
    torch.testing.assert_close(moved, soft_targets(student, teacher))


def test_log_probabilities_are_logits_too():
    student, teacher = pair()
    said = torch.log_softmax(teacher, -1)
    torch.testing.assert_close(soft_targets(student, said), soft_targets(student, teacher))


def test_at_a_high_temperature_it_matches_centred_logits():
    """Section 2.1 of the paper: T^2 keeps the gradient, 1/C times the difference of the logits."""
    student, teacher = pair(classes=5)
    gap = (student - student.mean(-1, keepdim=True)) - (teacher - teacher.mean(-1, keepdim=True))
    torch.testing.assert_close(
        gradient(soft_targets, student, teacher, 1e4), gap / 5, rtol=1e-3, atol=1e-4
    )
    value = soft_targets(student, teacher, temperature=1e4)
    torch.testing.assert_close(value, gap.square().mean(-1) / 2, rtol=1e-3, atol=1e-4)


def test_at_a_high_temperature_binary_targets_match_logits():
    student, teacher = pair()
    torch.testing.assert_close(
        gradient(soft_binary_targets, student, teacher, 1e4),
        (student - teacher) / 4,
        rtol=1e-3,
        atol=1e-4,
    )


def test_near_temperature_0_only_the_teachers_first_choice_counts():
    student = torch.tensor([[2.0, 1.0, 0.0]], dtype=torch.float64)
    teacher = torch.tensor([[-4.0, 0.5, 0.4]], dtype=torch.float64)
    other = torch.tensor([[0.0, 0.5, -9.0]], dtype=torch.float64)
    first, second = (soft_targets(student, t, temperature=1e-3) / 1e-3 for t in (teacher, other))
    torch.testing.assert_close(first, torch.ones(1, dtype=torch.float64))  # 2.0 - 1.0
    torch.testing.assert_close(second, first)


def test_a_class_one_side_gives_minus_infinity_does_not_make_binary_targets_nan():
    impossible, open_ = torch.tensor([float("-inf")]), torch.tensor([1.0])
    expected = math.log(1 + math.exp(1.0))  # -log(1 - sigmoid(1))
    assert float(soft_binary_targets(open_, impossible, temperature=1.0)) == pytest.approx(expected)
    assert float(soft_binary_targets(impossible, open_, temperature=1.0)) > 1e30


@pytest.mark.parametrize("loss", [soft_targets, soft_binary_targets])
def test_what_is_not_a_number_is_not_hidden(loss):
    nan, one = torch.tensor([float("nan"), 0.0]), torch.tensor([1.0, 0.0])
    assert math.isnan(float(loss(nan, one)))
    assert math.isnan(float(loss(one, nan)))


@pytest.mark.parametrize("temperature", [0.0, -1.0, float("inf"), float("nan")])
@pytest.mark.parametrize("loss", [soft_targets, soft_binary_targets])
def test_a_temperature_that_is_not_above_0_is_refused(loss, temperature):
    with pytest.raises(OptionError) as error:
        loss(torch.zeros(1, 2), torch.zeros(1, 2), temperature=temperature)
    assert str(error.value) == f"temperature must be above 0 and finite, got {temperature}."


@pytest.mark.parametrize("loss", [soft_targets, soft_binary_targets])
def test_logits_of_two_shapes_are_refused(loss):
    with pytest.raises(ShapeError) as error:
        loss(torch.zeros(4, 10), torch.zeros(4, 100))
    assert str(error.value) == (
        "these must have one shape: student_logits (4, 10), teacher_logits (4, 100)."
    )
