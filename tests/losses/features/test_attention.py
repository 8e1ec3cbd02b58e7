import pytest
import torch

from limbeck._errors import ShapeError
from limbeck.losses.features import attention_transfer
from tests.losses.features.plain import by_rows, flat, maps, mean, rotated, squared_gap, unit


def attention(channels):
    """Of one row's maps: the mean over channels of each position's square, at length 1."""
    positions = zip(*(flat(channel) for channel in channels), strict=True)
    return unit([mean(x * x for x in position) for position in positions])


def plain(s, t):
    return squared_gap(attention(s), attention(t)) / len(attention(s))


def test_is_the_mean_squared_gap_of_the_two_attention_maps():
    student, teacher = maps()
    found = attention_transfer(student, teacher)
    torch.testing.assert_close(found, by_rows(plain, student, teacher))


def test_the_two_sides_may_have_other_channels():
    student, teacher = maps()
    found = attention_transfer(student[:, :2], teacher)
    torch.testing.assert_close(found, by_rows(plain, student[:, :2], teacher))


def test_sees_neither_scale_nor_which_channel_or_their_rotation():
    student, teacher = maps()
    found = attention_transfer(student, teacher)
    turned = rotated(student.movedim(1, -1)).movedim(-1, 1)
    for same in (-3 * student, student[:, [2, 0, 3, 1]], turned):
        torch.testing.assert_close(attention_transfer(same, teacher), found)


def test_is_at_most_two_by_the_number_of_positions():
    student, teacher = torch.zeros(2, 1, 1, 2, 2).unbind()
    student[..., 0, 0], teacher[..., 1, 1] = 5.0, 0.1
    assert float(attention_transfer(student, teacher)) == pytest.approx(2 / 4)


def test_maps_of_another_size_are_refused_with_the_way_out():
    with pytest.raises(ShapeError) as error:
        attention_transfer(torch.zeros(4, 8, 7, 7), torch.zeros(4, 16, 14, 14))
    assert str(error.value) == (
        "these must have one batch, height and width: student (4, 8, 7, 7), teacher "
        "(4, 16, 14, 14). Pool the larger one first, as torch.nn.functional.adaptive_avg_pool2d "
        "does."
    )
    with pytest.raises(ShapeError) as error:
        attention_transfer(torch.zeros(4, 8), torch.zeros(4, 8))
    assert str(error.value) == "student must be (batch, channels, height, width), got shape (4, 8)."
