import math

import pytest
import torch

from limbeck._errors import ShapeError
from limbeck.losses.features import variational_information
from tests.losses.features.plain import by_rows, flat, maps, mean


def plain(s, t, log_variance):
    channels = [
        mean((a - b) ** 2 / math.exp(v) + v for a, b in zip(flat(x), flat(y), strict=True))
        for x, y, v in zip(s, t, log_variance, strict=True)
    ]
    return mean(channels) / 2


@pytest.mark.parametrize("shape", [(5, 4, 3, 6), (5, 4)])
def test_is_the_mean_negative_log_likelihood_without_its_constant(shape):
    student, teacher = maps(*shape)
    log_variance = torch.randn(4, dtype=torch.float64)
    want = by_rows(lambda s, t: plain(s, t, log_variance.tolist()), student, teacher)
    torch.testing.assert_close(variational_information(student, teacher, log_variance), want)


def test_the_best_variance_of_each_channel_is_its_mean_squared_error():
    student, teacher = maps()
    error = (student - teacher).square().mean((0, 2, 3))
    best = error.log().requires_grad_()
    variational_information(student, teacher, best).mean().backward()
    torch.testing.assert_close(best.grad, torch.zeros_like(best))
    best = best.detach()
    at_best = variational_information(student, teacher, best).mean()
    for other in (best + 0.1, best - 0.1):
        assert float(variational_information(student, teacher, other).mean()) > float(at_best)


def test_the_least_for_the_student_is_half_the_mean_log_variance():
    teacher, _ = maps()
    log_variance = torch.tensor([-3.0, -2.0, 1.0, 0.0], dtype=torch.float64)
    found = variational_information(teacher, teacher, log_variance)
    torch.testing.assert_close(found, torch.full((5,), -0.5, dtype=torch.float64))


def test_a_channel_of_great_variance_weighs_little():
    student, teacher = maps()
    student.requires_grad_()
    log_variance = torch.tensor([0.0, 20.0, 0.0, 0.0], dtype=torch.float64)
    variational_information(student, teacher, log_variance).sum().backward()
    sizes = student.grad.abs().mean((0, 2, 3))
    assert float(sizes[1]) < 1e-6 * float(sizes[0])


def test_shapes_that_do_not_fit_are_refused():
    with pytest.raises(ShapeError) as error:
        variational_information(torch.zeros(4, 8), torch.zeros(4, 8), torch.zeros(4))
    assert str(error.value) == (
        "log_variance must have one number for each channel, expected shape (8,), got (4,)."
    )
    with pytest.raises(ShapeError, match=r"^these must have one shape: "):
        variational_information(torch.zeros(4, 8), torch.zeros(4, 9), torch.zeros(8))
    with pytest.raises(ShapeError, match=r"^student must be \(batch, features, \.\.\.\), got \(4,"):
        variational_information(torch.zeros(4), torch.zeros(4), torch.zeros(4))
