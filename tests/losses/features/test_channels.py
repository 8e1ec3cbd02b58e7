import pytest
import torch

from limbeck._errors import OptionError, ShapeError
from limbeck.losses.features import channel_wise
from tests.losses.features.plain import by_rows, flat, kl, maps, mean, softmax


def plain(temperature):
    def one_row(s, t):
        channels = zip(s, t, strict=True)
        return temperature**2 * mean(
            kl(softmax(flat(b), temperature), softmax(flat(a), temperature)) for a, b in channels
        )

    return one_row


@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0])
def test_is_the_mean_over_channels_of_the_kl_over_positions_times_t_squared(temperature):
    student, teacher = maps()
    found = channel_wise(student, teacher, temperature=temperature)
    torch.testing.assert_close(found, by_rows(plain(temperature), student, teacher))


def test_the_temperature_is_the_papers_if_left_out():
    student, teacher = maps()
    found = channel_wise(student, teacher)
    assert torch.equal(found, channel_wise(student, teacher, temperature=4.0))


def test_sees_no_shift_of_a_channel_but_its_scale():
    student, teacher = maps()
    found = channel_wise(student, teacher)
    shift = torch.randn(5, 4, 1, 1, dtype=torch.float64)
    torch.testing.assert_close(channel_wise(student + shift, teacher), found)
    torch.testing.assert_close(channel_wise(student, teacher + shift), found)
    assert float((channel_wise(2 * student, teacher) - found).abs().min()) > 1e-3


def test_nears_half_the_mean_squared_gap_of_centred_maps_at_a_high_temperature():
    student, teacher = maps()
    gap = student - teacher
    want = (gap - gap.mean((2, 3), keepdim=True)).square().mean((1, 2, 3)) / 2
    torch.testing.assert_close(
        channel_wise(student, teacher, temperature=1e4), want, rtol=1e-3, atol=0
    )


def test_only_the_strongest_position_counts_at_a_low_temperature():
    student, teacher = torch.zeros(2, 1, 1, 1, 3, dtype=torch.float64).unbind()
    teacher[..., 0], teacher[..., 1], student[..., 1] = 2.0, 1.0, 1.0
    found = channel_wise(student, teacher, temperature=1e-3) / 1e-3
    torch.testing.assert_close(found, torch.ones(1, dtype=torch.float64))


def test_options_and_shapes_that_are_wrong_are_refused():
    zeros = torch.zeros(1, 1, 2, 2)
    with pytest.raises(OptionError, match=r"^temperature must be above 0 and finite, got 0\.$"):
        channel_wise(zeros, zeros, temperature=0)
    with pytest.raises(ShapeError, match=r"^student must be \(batch, channels, height, width\), "):
        channel_wise(torch.zeros(4, 8), torch.zeros(4, 8))
    with pytest.raises(ShapeError) as error:
        channel_wise(torch.zeros(4, 8, 7, 7), torch.zeros(4, 8, 6, 6))
    assert str(error.value) == (
        "these must have one shape: student (4, 8, 7, 7), teacher (4, 8, 6, 6)."
    )
