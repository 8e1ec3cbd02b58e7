import torch

from limbeck.losses.features._common import both, unit


def test_unit_vectors_have_length_1_and_zeros_stay_zeros():
    vectors = torch.tensor([[3.0, 4.0], [0.0, 0.0], [1e-30, 0.0], [1e30, -1e30]])
    want = torch.tensor([[0.6, 0.8], [0.0, 0.0], [1.0, 0.0], [0.5**0.5, -(0.5**0.5)]])
    torch.testing.assert_close(unit(vectors), want)


def test_the_gradient_of_a_unit_vector_is_across_it_and_none_at_zeros():
    vectors = torch.tensor([[3.0, 4.0], [0.0, 0.0]], requires_grad=True)
    unit(vectors)[:, 0].sum().backward()
    torch.testing.assert_close(vectors.grad, torch.tensor([[0.128, -0.096], [0.0, 0.0]]))


def test_both_are_of_the_better_precision_and_the_teacher_without_gradient():
    student = torch.zeros(1, dtype=torch.bfloat16, requires_grad=True)
    teacher = torch.zeros(1, dtype=torch.float64, requires_grad=True)
    found, target = both(student, teacher)
    assert (found.dtype, target.dtype) == (torch.float64, torch.float64)
    assert found.requires_grad
    assert not target.requires_grad
    assert both(student, student)[1].dtype == torch.float32
