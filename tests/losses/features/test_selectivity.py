import pytest
import torch

from limbeck._errors import ShapeError
from limbeck.losses.features import neuron_selectivity
from tests.losses.features.plain import by_rows, dot, flat, maps, mean, unit


def plain(s, t):
    s, t = ([unit(flat(channel)) for channel in side] for side in (s, t))

    def kernel(left, right):
        return mean(dot(a, b) ** 2 for a in left for b in right)

    return kernel(s, s) + kernel(t, t) - 2 * kernel(s, t)


def test_is_the_squared_discrepancy_with_a_squared_kernel():
    student, teacher = maps()
    for side in (student, student[:, :2]):
        found = neuron_selectivity(side, teacher)
        torch.testing.assert_close(found, by_rows(plain, side, teacher))


def test_sees_neither_which_channel_nor_its_scale_and_sign():
    student, teacher = maps()
    found = neuron_selectivity(student, teacher)
    scales = torch.tensor([-2.0, 0.1, 1.0, -30.0], dtype=torch.float64)[:, None, None]
    for same in (student[:, [2, 0, 3, 1]], scales * student, student.repeat(1, 2, 1, 1)):
        torch.testing.assert_close(neuron_selectivity(same, teacher), found)


def test_channels_that_look_elsewhere_are_at_two():
    student, teacher = torch.zeros(2, 1, 3, 2, 2).unbind()
    student[..., 0, 0], teacher[..., 1, 1] = 5.0, 0.1
    assert float(neuron_selectivity(student, teacher)) == pytest.approx(2.0)


def test_shapes_that_do_not_fit_are_refused():
    with pytest.raises(ShapeError, match=r"^these must have one batch, height and width: student"):
        neuron_selectivity(torch.zeros(4, 8, 7, 7), torch.zeros(4, 8, 7, 6))
    with pytest.raises(ShapeError, match=r"^teacher must be \(batch, channels, height, width\)"):
        neuron_selectivity(torch.zeros(4, 8, 7, 7), torch.zeros(4, 8))
