import pytest
import torch

from limbeck._errors import ShapeError
from limbeck.losses import margin_squared_error


def reference(student, teacher):
    """The formula of one query in plain Python floats."""
    gaps = [(student[0] - student[k]) - (teacher[0] - teacher[k]) for k in range(1, len(student))]
    return sum(gap**2 for gap in gaps) / len(gaps)


def pair(queries=7, documents=5):
    return torch.randn(2, queries, documents, dtype=torch.float64).unbind()


@pytest.mark.parametrize("documents", [2, 5])
def test_is_the_mean_squared_difference_of_the_margins(documents):
    student, teacher = pair(documents=documents)
    want = [reference(s, t) for s, t in zip(student.tolist(), teacher.tolist(), strict=True)]
    torch.testing.assert_close(margin_squared_error(student, teacher), torch.tensor(want).double())


def test_a_constant_added_to_a_querys_scores_changes_nothing():
    student, teacher = pair()
    want = margin_squared_error(student, teacher)
    found = margin_squared_error(student - 2.0, teacher + torch.randn(7, 1).double())
    torch.testing.assert_close(found, want)
    assert float((margin_squared_error(2 * student, teacher) - want).abs().min()) > 1e-3


def test_the_first_document_is_the_relevant_one():
    student, teacher = pair()
    order = torch.tensor([0, 3, 1, 4, 2])
    want = margin_squared_error(student, teacher)
    moved = margin_squared_error(student[:, order], teacher[:, order])
    torch.testing.assert_close(moved, want)
    other = margin_squared_error(student.flip(-1), teacher.flip(-1))
    assert float((other - want).abs().min()) > 1e-3


def test_what_does_not_fit_is_refused():
    with pytest.raises(ShapeError) as error:
        margin_squared_error(torch.zeros(4, 2), torch.zeros(4, 3))
    assert str(error.value) == (
        "these must have one shape: student_scores (4, 2), teacher_scores (4, 3)."
    )
    with pytest.raises(ShapeError) as error:
        margin_squared_error(torch.zeros(4, 1), torch.zeros(4, 1))
    assert str(error.value) == (
        "student_scores must have two documents or more, the relevant one first, got (4, 1)."
    )
