import statistics

import pytest
import torch

from limbeck.losses import (
    decoupled_soft_targets,
    jensen_shannon,
    reverse_kl,
    soft_targets,
    standardised,
)

LOSSES = {
    "soft_targets": lambda s, t: soft_targets(s, t, temperature=2.0),
    "decoupled": lambda s, t: decoupled_soft_targets(s, t, t.argmax(-1), temperature=2.0),
    "reverse_kl": reverse_kl,
    "jensen_shannon": jensen_shannon,
}


def pair(rows=7, classes=5):
    return torch.randn(2, rows, classes, dtype=torch.float64).unbind()


def on_standardised(loss, student, teacher):
    return loss(standardised(student), standardised(teacher))


def test_is_the_z_score_of_each_row():
    logits, _ = pair()
    want = [
        [(x - statistics.mean(row)) / statistics.stdev(row) for x in row] for row in logits.tolist()
    ]
    torch.testing.assert_close(standardised(logits), torch.tensor(want).double())


@pytest.mark.parametrize("loss", LOSSES)
def test_an_increasing_line_in_place_of_either_sides_logits_changes_nothing(loss):
    student, teacher = pair()
    want = on_standardised(LOSSES[loss], student, teacher)
    a, b = 0.1 + 5 * torch.rand(2, 7, 1).double()
    torch.testing.assert_close(on_standardised(LOSSES[loss], a * student + b, teacher), want)
    torch.testing.assert_close(on_standardised(LOSSES[loss], student, a * teacher - b), want)
    assert float((on_standardised(LOSSES[loss], -student, teacher) - want).abs().min()) > 1e-3


@pytest.mark.parametrize("loss", LOSSES)
def test_is_zero_for_a_student_on_a_line_with_its_teacher(loss):
    _, teacher = pair()
    found = on_standardised(LOSSES[loss], 5 * teacher + 1, teacher)
    torch.testing.assert_close(found, torch.zeros(7).double())


@pytest.mark.parametrize("loss", LOSSES)
def test_the_gradient_is_orthogonal_to_a_constant_and_to_the_logits(loss):
    student, teacher = pair()
    student.requires_grad_()
    on_standardised(LOSSES[loss], student, teacher).sum().backward()
    assert float(student.grad.abs().min()) > 0
    torch.testing.assert_close(student.grad.sum(-1), torch.zeros(7).double())
    torch.testing.assert_close((student.grad * student).sum(-1), torch.zeros(7).double())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("size", [0.0, 0.1, 1e3, -1 / 3])
def test_a_constant_row_is_0_and_its_gradient_keeps_its_size(dtype, size):
    student = torch.full((1, 5), size, dtype=dtype, requires_grad=True)
    teacher = torch.randn(1, 5, dtype=dtype)
    found = standardised(student)
    torch.testing.assert_close(found, torch.zeros(1, 5, dtype=dtype), rtol=0, atol=1e-3)
    soft_targets(found, teacher, temperature=2.0).sum().backward()
    assert 0 < float(student.grad.abs().max()) < 1


def test_a_tiny_deviation_is_one_all_the_same():
    found = standardised(1e-12 * torch.tensor([1.0, 0.0, -1.0]))
    torch.testing.assert_close(found, torch.tensor([1.0, 0.0, -1.0]))


def test_impossible_classes_stay_so_and_are_not_counted():
    logits, _ = pair()
    none = torch.full((7, 2), float("-inf")).double()
    found = standardised(torch.cat([none, logits], -1))
    torch.testing.assert_close(found, torch.cat([none, standardised(logits)], -1))


def test_one_possible_class_or_none_has_no_deviation():
    none = float("-inf")
    torch.testing.assert_close(standardised(torch.tensor([3.0])), torch.tensor([0.0]))
    torch.testing.assert_close(standardised(torch.tensor([none, 3.0])), torch.tensor([none, 0.0]))
    torch.testing.assert_close(standardised(torch.tensor([none, none])), torch.full((2,), none))


def test_what_is_not_a_number_is_not_hidden():
    assert bool(standardised(torch.tensor([float("nan"), 1.0, 0.0])).isnan().all())
