import math

import pytest
import torch

from limbeck._errors import OptionError, ShapeError
from limbeck.losses import enhanced_soft_cross_entropy, soft_cross_entropy


def softmax(row, temperature):
    powers = [math.exp(x / temperature) for x in row]
    return [power / sum(powers) for power in powers]


def weights(teacher, label, exponent, temperature):
    """What each class's negative log-probability is multiplied by."""
    p = softmax(teacher, temperature)
    return [(1 + x) ** exponent - 1 if i == label else x**exponent for i, x in enumerate(p)]


def reference(student, teacher, label, exponent, temperature):
    q = softmax(student, temperature)
    weighed = zip(weights(teacher, label, exponent, temperature), q, strict=True)
    return -(temperature**2) * sum(w * math.log(x) for w, x in weighed)


def case(rows=7, classes=5):
    student, teacher = torch.randn(2, rows, classes, dtype=torch.float64).unbind()
    return student, teacher, torch.randint(classes, (rows,))


def by_rows(function, *tensors, options):
    each = zip(*[tensor.tolist() for tensor in tensors], strict=True)
    return torch.tensor([function(*row, *options) for row in each], dtype=torch.float64)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0])
@pytest.mark.parametrize("exponent", [1.0, 1.5, 3.0])
def test_matches_the_formula(exponent, temperature):
    student, teacher, labels = case()
    want = by_rows(reference, student, teacher, labels, options=(exponent, temperature))
    found = enhanced_soft_cross_entropy(
        student, teacher, labels, exponent=exponent, temperature=temperature
    )
    torch.testing.assert_close(found, want)


def test_the_exponent_and_the_temperature_are_1_if_left_out():
    student, teacher, labels = case()
    want = by_rows(reference, student, teacher, labels, options=(1.0, 1.0))
    torch.testing.assert_close(enhanced_soft_cross_entropy(student, teacher, labels), want)


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_at_the_exponent_1_it_is_soft_cross_entropy(temperature):
    student, teacher, labels = case()
    torch.testing.assert_close(
        enhanced_soft_cross_entropy(student, teacher, labels, temperature=temperature),
        soft_cross_entropy(student, teacher, temperature=temperature),
    )


def test_a_larger_exponent_raises_the_labels_weight_and_lowers_every_others():
    _, teacher, labels = case()
    low, high = (
        by_rows(weights, teacher, labels, options=(exponent, 1.0)) for exponent in (1.0, 1.5)
    )
    at_label = torch.nn.functional.one_hot(labels, 5).bool()
    assert bool((high > low)[at_label].all())
    assert bool((high < low)[~at_label].all())


def test_a_large_exponent_leaves_only_the_label():
    student, teacher, labels = case()
    found = enhanced_soft_cross_entropy(student, teacher, labels, exponent=60.0)
    p, log_q = (side.softmax(-1).gather(-1, labels[:, None])[:, 0] for side in (teacher, student))
    rest = found / ((1 + p) ** 60 - 1)
    torch.testing.assert_close(rest, -log_q.log(), rtol=1e-2, atol=0)


def test_its_minimum_is_where_the_student_has_the_weights_proportions():
    _, teacher, labels = case()
    target = by_rows(weights, teacher, labels, options=(1.5, 1.0))
    student = target.log().requires_grad_()
    found = enhanced_soft_cross_entropy(student, teacher, labels, exponent=1.5)
    share = target / target.sum(-1, keepdim=True)
    torch.testing.assert_close(found, -(target * share.log()).sum(-1))
    found.sum().backward()
    torch.testing.assert_close(student.grad, torch.zeros_like(student))


def test_what_is_not_a_number_is_not_hidden():
    nan, one = torch.tensor([float("nan"), 0.0]), torch.tensor([1.0, 0.0])
    assert math.isnan(float(enhanced_soft_cross_entropy(nan, one, torch.tensor(0))))
    assert math.isnan(float(enhanced_soft_cross_entropy(one, nan, torch.tensor(0))))


@pytest.mark.parametrize("exponent", [0.9, 0.0, -1.0, float("inf"), float("nan")])
def test_an_exponent_below_1_is_refused(exponent):
    two, labels = torch.zeros(4, 10), torch.zeros(4, dtype=torch.long)
    with pytest.raises(OptionError) as error:
        enhanced_soft_cross_entropy(two, two, labels, exponent=exponent)
    assert str(error.value) == f"exponent must be 1 or more and finite, got {exponent}."


def test_what_does_not_fit_is_refused():
    two, labels = torch.zeros(4, 10), torch.zeros(4, dtype=torch.long)
    with pytest.raises(ShapeError) as error:
        enhanced_soft_cross_entropy(two, two, labels[:3])
    assert str(error.value) == (
        "labels must have the shape of student_logits without its last axis (classes): expected "
        "(4,), got (3,)."
    )
    with pytest.raises(OptionError, match=r"^temperature must be above 0 and finite, got 0\.$"):
        enhanced_soft_cross_entropy(two, two, labels, temperature=0)
