import math

import pytest
import torch

from limbeck._errors import ShapeError
from limbeck.losses import binary_cross_entropy, cross_entropy, squared_error


def test_cross_entropy_is_the_negative_log_probability_of_the_label():
    logits = torch.randn(7, 5, dtype=torch.float64)
    labels = torch.arange(7) % 5
    want = [
        -math.log(math.exp(row[label]) / sum(math.exp(x) for x in row))
        for row, label in zip(logits.tolist(), labels.tolist(), strict=True)
    ]
    torch.testing.assert_close(cross_entropy(logits, labels), torch.tensor(want).double())


def test_cross_entropy_of_no_opinion_is_the_logarithm_of_the_number_of_classes():
    assert float(cross_entropy(torch.zeros(10), torch.tensor(3))) == pytest.approx(math.log(10))


def test_no_label_stands_for_nothing():
    """-100, which some losses leave out silently, is no class."""
    with pytest.raises(RuntimeError, match="out of bounds"):
        cross_entropy(torch.zeros(2, 3), torch.tensor([0, -100]))


def test_binary_cross_entropy_sums_over_the_classes():
    logits = torch.randn(7, 5, dtype=torch.float64)
    labels = (torch.randn(7, 5) > 0).double()
    labels[0, 0] = 0.3
    want = []
    for row, wanted in zip(logits.tolist(), labels.tolist(), strict=True):
        yes = [1 / (1 + math.exp(-x)) for x in row]
        each = [
            y * math.log(p) + (1 - y) * math.log(1 - p) for p, y in zip(yes, wanted, strict=True)
        ]
        want.append(-sum(each))
    torch.testing.assert_close(binary_cross_entropy(logits, labels), torch.tensor(want).double())


def test_binary_cross_entropy_takes_boolean_labels():
    found = binary_cross_entropy(torch.zeros(1, 2), torch.tensor([[True, False]]))
    assert float(found) == pytest.approx(2 * math.log(2))


def test_squared_error_is_the_mean_over_a_rows_numbers():
    student, target = torch.randn(2, 7, 5, dtype=torch.float64).unbind()
    want = [
        sum((a - b) ** 2 for a, b in zip(s, t, strict=True)) / 5
        for s, t in zip(student.tolist(), target.tolist(), strict=True)
    ]
    torch.testing.assert_close(squared_error(student, target), torch.tensor(want).double())


def test_labels_of_another_shape_are_refused():
    with pytest.raises(ShapeError) as error:
        cross_entropy(torch.zeros(4, 10), torch.zeros(5, dtype=torch.long))
    assert str(error.value) == (
        "labels must have the shape of student_logits without its last axis (classes): expected "
        "(4,), got (5,)."
    )


def test_labels_for_other_classes_are_refused():
    with pytest.raises(ShapeError) as error:
        binary_cross_entropy(torch.zeros(4, 10), torch.zeros(4, 9))
    assert str(error.value) == "these must have one shape: student_logits (4, 10), labels (4, 9)."


def test_targets_of_another_shape_are_refused():
    with pytest.raises(ShapeError) as error:
        squared_error(torch.zeros(4, 1), torch.zeros(4))
    assert str(error.value) == "these must have one shape: student (4, 1), target (4,)."
