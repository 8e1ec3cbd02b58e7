import math

import pytest
import torch

from limbeck._errors import OptionError, ShapeError
from limbeck.losses import (
    batch_consistency,
    class_consistency,
    multi_level_soft_targets,
    soft_targets,
)

NONE = float("-inf")


def softmax(row, temperature):
    powers = [math.exp(x / temperature) for x in row]
    return [power / sum(powers) for power in powers]


def likeness(rows):
    """Every row's product with every row."""
    return [[sum(x * y for x, y in zip(a, b, strict=True)) for b in rows] for a in rows]


def squares(student, teacher):
    """Of the differences of the two sides' likenesses, summed over each row of them."""
    return [
        sum((x - y) ** 2 for x, y in zip(a, b, strict=True))
        for a, b in zip(likeness(student), likeness(teacher), strict=True)
    ]


def transposed(rows):
    return [list(column) for column in zip(*rows, strict=True)]


def by_row(student, teacher, temperature):
    return squares(*([softmax(row, temperature) for row in side] for side in (student, teacher)))


def by_class(student, teacher, temperature):
    sides = ([softmax(row, temperature) for row in side] for side in (student, teacher))
    total = sum(squares(*(transposed(side) for side in sides)))
    return [total / len(student[0])] * len(student)


REFERENCES = {batch_consistency: by_row, class_consistency: by_class}


def pair(rows=7, classes=5):
    return torch.randn(2, rows, classes, dtype=torch.float64).unbind()


@pytest.mark.parametrize("shape", [(7, 5), (4, 9), (5, 5), (1, 3)])
@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0])
@pytest.mark.parametrize("loss", REFERENCES)
def test_a_consistency_matches_its_formula_and_has_the_factor_t_squared(loss, temperature, shape):
    student, teacher = pair(*shape)
    want = REFERENCES[loss](student.tolist(), teacher.tolist(), temperature)
    found = loss(student, teacher, temperature=temperature)
    torch.testing.assert_close(found, temperature**2 * torch.tensor(want).double())


def test_the_mean_over_rows_is_the_papers_loss():
    student, teacher = pair()
    q, p = student.softmax(-1), teacher.softmax(-1)
    found = batch_consistency(student, teacher, temperature=1.0).mean()
    torch.testing.assert_close(found, (p @ p.T - q @ q.T).square().sum() / 7)
    found = class_consistency(student, teacher, temperature=1.0).mean()
    torch.testing.assert_close(found, (p.T @ p - q.T @ q).square().sum() / 5)


@pytest.mark.parametrize("classes", [5, 20])
def test_the_gradient_of_class_consistency_is_that_of_the_formula(classes):
    """Of more classes than rows it is computed from products of rows."""
    student, teacher = pair(classes=classes)
    student.requires_grad_()
    q, p = (student / 2).softmax(-1), (teacher / 2).softmax(-1)
    want = 4 * (p.T @ p - q.T @ q).square().sum() / classes * 7
    found = class_consistency(student, teacher, temperature=2.0).sum()
    torch.testing.assert_close(
        torch.autograd.grad(found, student), torch.autograd.grad(want, student)
    )


def test_the_temperature_is_4_if_left_out():
    student, teacher = pair()
    for loss in REFERENCES:
        assert torch.equal(loss(student, teacher), loss(student, teacher, temperature=4.0))


def test_permuting_one_sides_classes_leaves_batch_consistency():
    student, teacher = pair()
    order = torch.tensor([3, 0, 4, 1, 2])
    found = batch_consistency(student, teacher[:, order])
    torch.testing.assert_close(found, batch_consistency(student, teacher))
    moved = class_consistency(student, teacher[:, order]) - class_consistency(student, teacher)
    assert float(moved.abs().min()) > 1e-4


@pytest.mark.parametrize("classes", [5, 20])
def test_permuting_one_sides_rows_leaves_class_consistency(classes):
    student, teacher = pair(classes=classes)
    order = torch.tensor([3, 0, 4, 1, 2, 6, 5])
    found = class_consistency(student, teacher[order])
    torch.testing.assert_close(found, class_consistency(student, teacher))
    moved = batch_consistency(student, teacher[order]) - batch_consistency(student, teacher)
    assert float(moved.abs().max()) > 1e-4


def test_class_consistency_counts_the_classes_that_are_some():
    student, teacher = pair(rows=2)
    none = torch.full((2, 30), NONE).double()  # more classes than rows, and fewer without these
    padded = (torch.cat([side, none], -1) for side in (student, teacher))
    torch.testing.assert_close(class_consistency(*padded), class_consistency(student, teacher))


def test_near_equality_float32_is_within_5_percent():
    """Where the likenesses themselves agree in the first four digits."""
    _, teacher = pair(rows=64, classes=10)
    student = teacher + 1e-4 * torch.randn(64, 10).double()
    for loss in REFERENCES:
        found, want = loss(student.float(), teacher.float()), loss(student, teacher)
        assert float((found.mean() / want.mean() - 1).abs()) < 0.05


def test_multi_level_is_the_sum_over_temperatures():
    student, teacher = pair()
    rows = student.tolist(), teacher.tolist()
    want = sum(
        soft_targets(student, teacher, temperature=temperature)
        + 0.5 * torch.tensor(by_class(*rows, temperature)).double()
        + 3.0 * torch.tensor(by_row(*rows, temperature)).double()
        for temperature in (1.0, 4.0)
    )
    found = multi_level_soft_targets(
        student, teacher, temperatures=(1.0, 4.0), class_weight=0.5, batch_weight=3.0
    )
    torch.testing.assert_close(found, want)


def test_its_options_are_the_papers_if_left_out():
    student, teacher = pair()
    want = multi_level_soft_targets(
        student, teacher, temperatures=(4, 3, 5, 2, 6), class_weight=1.0, batch_weight=1.0
    )
    torch.testing.assert_close(multi_level_soft_targets(student, teacher), want)


def test_without_the_consistencies_it_is_soft_targets_at_several_temperatures():
    student, teacher = pair()
    found = multi_level_soft_targets(student, teacher, class_weight=0.0, batch_weight=0.0)
    want = sum(soft_targets(student, teacher, temperature=each) for each in (2, 3, 4, 5, 6))
    torch.testing.assert_close(found, want)


@pytest.mark.parametrize("loss", [*REFERENCES, multi_level_soft_targets])
def test_what_is_not_a_number_is_not_hidden(loss):
    student, teacher = pair()
    student[0, 0] = float("nan")
    assert bool(loss(student, teacher).isnan().any())
    assert bool(loss(teacher, student).isnan().any())


def test_what_does_not_fit_is_refused():
    with pytest.raises(OptionError) as error:
        multi_level_soft_targets(torch.zeros(1, 2), torch.zeros(1, 2), temperatures=())
    assert str(error.value) == "temperatures must be one or more, got none."
    for loss in REFERENCES:
        with pytest.raises(OptionError, match=r"^temperature must be above 0 and finite, got 0\.$"):
            loss(torch.zeros(1, 2), torch.zeros(1, 2), temperature=0)
        with pytest.raises(ShapeError) as error:
            loss(torch.zeros(4, 10), torch.zeros(4, 100))
        assert str(error.value) == (
            "these must have one shape: student_logits (4, 10), teacher_logits (4, 100)."
        )
