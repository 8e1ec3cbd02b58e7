import pytest
import torch

from limbeck._errors import ShapeError
from limbeck.losses import logit_regression, soft_targets


def pair(rows=7, classes=5):
    return torch.randn(2, rows, classes, dtype=torch.float64).unbind()


def test_is_half_the_squared_distance():
    student, teacher = pair()
    want = [
        sum((a - b) ** 2 for a, b in zip(s, t, strict=True)) / 2
        for s, t in zip(student.tolist(), teacher.tolist(), strict=True)
    ]
    torch.testing.assert_close(logit_regression(student, teacher), torch.tensor(want).double())


def test_of_centred_logits_it_is_the_limit_of_soft_targets_times_the_classes():
    student, teacher = pair()
    student.requires_grad_()

    def centred(logits):
        return logits - logits.mean(-1, keepdim=True)

    found = logit_regression(centred(student), centred(teacher)) / 5
    want = soft_targets(student, teacher, temperature=1e4)
    torch.testing.assert_close(found, want, rtol=1e-3, atol=1e-6)
    for_found, for_want = (
        torch.autograd.grad(value.sum(), student, retain_graph=True)[0] for value in (found, want)
    )
    torch.testing.assert_close(for_found, for_want, rtol=1e-3, atol=1e-4)


def test_a_constant_added_to_a_row_is_a_difference():
    student, _ = pair()
    want = torch.full((7,), 5 * 9.0 / 2).double()
    torch.testing.assert_close(logit_regression(student + 3.0, student), want)


def test_a_class_that_one_side_excludes_is_infinitely_far():
    student, teacher = torch.tensor([0.0, float("-inf")]), torch.tensor([0.0, 0.0])
    assert float(logit_regression(student, teacher)) == float("inf")
    assert float(logit_regression(teacher, student)) == float("inf")


def test_shapes_that_differ_are_refused():
    with pytest.raises(ShapeError) as error:
        logit_regression(torch.zeros(4, 10), torch.zeros(4, 100))
    assert str(error.value) == (
        "these must have one shape: student_logits (4, 10), teacher_logits (4, 100)."
    )
