import math
from itertools import zip_longest

import pytest
import torch

from limbeck._errors import OptionError, ShapeError
from limbeck.losses import total_variation, universal_logit_distance


def softmax(row, temperature):
    powers = [math.exp(x / temperature) for x in row]
    return [power / sum(powers) for power in powers]


def reference(student, teacher, temperature):
    """The formula of one row in plain Python floats."""
    q, p = (sorted(softmax(row, temperature), reverse=True) for row in (student, teacher))
    return temperature**2 * sum(abs(a - b) for a, b in zip_longest(q, p, fillvalue=0.0))


def logits(classes, rows=7):
    return torch.randn(rows, classes, dtype=torch.float64)


@pytest.mark.parametrize("classes", [(5, 5), (5, 9), (9, 5)])
@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0])
def test_matches_the_formula_of_vocabularies_that_differ(temperature, classes):
    student, teacher = (logits(size) for size in classes)
    want = [
        reference(s, t, temperature)
        for s, t in zip(student.tolist(), teacher.tolist(), strict=True)
    ]
    found = universal_logit_distance(student, teacher, temperature=temperature)
    torch.testing.assert_close(found, torch.tensor(want).double())


def test_the_temperature_is_1_if_left_out():
    student, teacher = logits(5), logits(6)
    want = universal_logit_distance(student, teacher, temperature=1.0)
    assert torch.equal(universal_logit_distance(student, teacher), want)


def test_permuting_a_vocabulary_changes_nothing_so_0_is_not_equality():
    student, teacher = logits(5), logits(5)
    order = torch.tensor([3, 0, 4, 1, 2])
    want = universal_logit_distance(student, teacher)
    torch.testing.assert_close(universal_logit_distance(student[:, order], teacher), want)
    torch.testing.assert_close(universal_logit_distance(student, teacher[:, order]), want)
    same = universal_logit_distance(teacher[:, order], teacher)
    torch.testing.assert_close(same, torch.zeros(7).double())


def test_is_at_most_twice_the_total_variation_and_2():
    student, teacher = 5 * logits(5, rows=100), 5 * logits(5, rows=100)
    found = universal_logit_distance(student, teacher)
    assert bool((found <= 2 * total_variation(student, teacher) + 1e-12).all())
    sure, flat = torch.tensor([1e3, 0.0]), torch.zeros(2000)
    assert float(universal_logit_distance(sure, flat)) == pytest.approx(2, rel=1e-3)


def test_the_gradient_reaches_the_students_classes_alone():
    student, teacher = logits(5).requires_grad_(), logits(9).requires_grad_()
    assert torch.autograd.gradcheck(lambda s: universal_logit_distance(s, teacher), student)
    universal_logit_distance(student, teacher).sum().backward()
    assert student.grad.shape == (7, 5)
    assert teacher.grad is None


def test_what_is_not_a_number_is_not_hidden():
    nan, one = torch.tensor([float("nan"), 0.0]), torch.tensor([1.0, 0.0])
    assert math.isnan(float(universal_logit_distance(nan, one)))
    assert math.isnan(float(universal_logit_distance(one, nan)))


def test_what_does_not_fit_is_refused():
    with pytest.raises(ShapeError) as error:
        universal_logit_distance(torch.zeros(4, 10), torch.zeros(3, 2, 10))
    assert str(error.value) == (
        "student_logits and teacher_logits must have one leading shape: (4,), (3, 2)."
    )
    with pytest.raises(OptionError, match=r"^temperature must be above 0 and finite, got 0\.$"):
        universal_logit_distance(torch.zeros(1, 2), torch.zeros(1, 2), temperature=0)
