import pytest
import torch

from limbeck._errors import OptionError, ShapeError
from limbeck.losses.features import channel_mask, hints, masked_generation, position_mask
from tests.losses.features.plain import by_rows, flat, maps, squared_gap

MASKS = [channel_mask, position_mask]


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def test_is_the_sum_of_squares_of_each_row():
    student, teacher = maps()
    want = by_rows(lambda s, t: squared_gap(flat(s), flat(t)), student, teacher)
    torch.testing.assert_close(masked_generation(student, teacher), want)


def test_unmasked_and_not_generated_it_is_the_hints_sum():
    student, teacher = maps()
    mask = channel_mask(student, ratio=0.0, generator=seeded())
    found = masked_generation(student * mask, teacher)
    torch.testing.assert_close(found, 4 * 3 * 6 * hints(student, teacher))


def test_a_mask_hides_channels_or_positions_of_each_row():
    maps = torch.zeros(3, 4, 5, 6, dtype=torch.float64)
    assert channel_mask(maps, generator=seeded()).shape == (3, 4, 1, 1)
    assert position_mask(maps, generator=seeded()).shape == (3, 1, 5, 6)


@pytest.mark.parametrize("mask", MASKS)
def test_a_mask_is_of_the_ratio_and_0_or_1(mask):
    maps = torch.zeros(100, 100, 10, 10, dtype=torch.bfloat16)
    for ratio in (0.0, 0.15, 0.5, 1.0):
        found = mask(maps, ratio=ratio, generator=seeded())
        assert set(found.unique().tolist()) <= {0.0, 1.0}
        assert float(found.float().mean()) == pytest.approx(1 - ratio, abs=0.02)
        assert found.dtype == maps.dtype
        if ratio in (0.0, 1.0):
            assert float(found.float().mean()) == 1 - ratio


def test_the_ratios_are_the_papers_if_left_out():
    maps = torch.zeros(5, 40, 7, 7)
    for mask, ratio in ((channel_mask, 0.15), (position_mask, 0.5)):
        left_out = mask(maps, generator=seeded())
        assert torch.equal(left_out, mask(maps, ratio=ratio, generator=seeded()))


@pytest.mark.parametrize("mask", MASKS)
def test_a_mask_is_its_generators(mask):
    maps = torch.zeros(5, 40, 7, 7)
    first, second = seeded(), seeded()
    assert torch.equal(mask(maps, generator=first), mask(maps, generator=second))
    assert not torch.equal(mask(maps, generator=first), mask(maps, generator=seeded()))
    assert not torch.equal(mask(maps, generator=seeded(1)), mask(maps, generator=seeded()))


@pytest.mark.parametrize("mask", MASKS)
def test_a_ratio_out_of_its_range_is_refused(mask):
    for ratio in (-0.1, 1.1, float("nan")):
        with pytest.raises(OptionError) as error:
            mask(torch.zeros(1, 1, 1, 1), ratio=ratio, generator=seeded())
        assert str(error.value) == f"ratio must be 0 or more and at most 1, got {ratio}."


def test_shapes_that_do_not_fit_are_refused():
    with pytest.raises(ShapeError) as error:
        masked_generation(torch.zeros(4, 8, 7, 7), torch.zeros(4, 8, 6, 6))
    assert str(error.value) == (
        "these must have one shape: generated (4, 8, 7, 7), teacher (4, 8, 6, 6)."
    )
    with pytest.raises(ShapeError, match=r"^generated must be \(batch, channels, height, width\),"):
        masked_generation(torch.zeros(4, 8), torch.zeros(4, 8))
    for mask in MASKS:
        with pytest.raises(ShapeError, match=r"^maps must be \(batch, channels, height, width\), "):
            mask(torch.zeros(4, 8), generator=seeded())
