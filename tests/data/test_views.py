"""Views are functions of (content, view) alone, and shift, flip and turn as their words say."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from limbeck._errors import OptionError, ShapeError
from limbeck.data import ArraySamples, Views, content_keys

IMAGES = torch.from_numpy(
    np.random.default_rng(0).integers(1, 256, (40, 3, 6, 5), dtype=np.uint8)
)  # no 0: what comes in is told from what was there
KEYS = content_keys(IMAGES)


def shifted(image: torch.Tensor, down: int, right: int) -> torch.Tensor:
    """`image`, `(channels, height, width)`, moved, in plain Python."""
    channels, height, width = image.shape
    moved = torch.zeros_like(image)
    for c in range(channels):
        for y in range(height):
            for x in range(width):
                if 0 <= y + down < height and 0 <= x + right < width:
                    moved[c, y + down, x + right] = image[c, y, x]
    return moved


def mirrored(image: torch.Tensor) -> torch.Tensor:
    channels, height, _ = image.shape
    rows = [[image[c, y].tolist()[::-1] for y in range(height)] for c in range(channels)]
    return torch.tensor(rows, dtype=image.dtype)


@given(st.permutations(range(40)), st.integers(0, 39), st.integers(0, 2**31))
def test_a_view_depends_on_the_sample_and_its_number_alone(order, size, view):
    transform = Views(shift=2, flip=True, rotate=20, zoom=0.2)
    whole = transform(IMAGES, KEYS, view)
    some = torch.tensor(order[: size + 1])
    assert torch.equal(transform(IMAGES[some], KEYS[some.numpy()], view), whole[some])


def test_view_0_is_the_sample_as_it_came():
    assert Views(shift=2, flip=True, rotate=20, zoom=0.2)(IMAGES, KEYS, 0) is IMAGES


def test_views_that_do_nothing_are_all_the_sample():
    assert Views()(IMAGES, KEYS, 7) is IMAGES


@pytest.mark.parametrize("shift", [1, 2, 4])
def test_a_view_is_its_image_moved_by_at_most_shift_pixels_with_zeros_coming_in(shift):
    moves = [(y, x) for y in range(-shift, shift + 1) for x in range(-shift, shift + 1)]
    views = Views(shift=shift)(IMAGES, KEYS, 3)
    found = set()
    for image, view in zip(IMAGES, views, strict=True):
        fits = [move for move in moves if torch.equal(view, shifted(image, *move))]
        assert fits
        found.add(fits[0])
    assert len(found) > len(moves) // 3  # 40 draws


def test_grey_images_move_as_colour_images_do():
    grey = Views(shift=2, flip=True)(IMAGES[:, 0], KEYS, 5)
    assert torch.equal(grey, Views(shift=2, flip=True)(IMAGES, KEYS, 5)[:, 0])


def test_a_flip_mirrors_left_to_right_about_half_of_the_samples():
    count, views = 0, range(2, 27)  # view 1 is the one that view 0 is not
    for view in views:
        for image, seen in zip(IMAGES, Views(flip=True)(IMAGES, KEYS, view), strict=True):
            if torch.equal(seen, mirrored(image)):
                count += 1
            else:
                assert torch.equal(seen, image)
    # 1000 fair draws: five standard deviations are 79
    assert abs(count - 500) < 79


def test_flipping_twice_gives_the_sample_back():
    once = Views(flip=True)(IMAGES, KEYS, 1)
    assert torch.equal(Views(flip=True)(once, KEYS, 1), IMAGES)


def every_kind(image: torch.Tensor, shift: int) -> set[bytes]:
    """All of an image's shifts and flips, in plain Python."""
    steps = range(-shift, shift + 1)
    moved = [shifted(image, down, right) for down in steps for right in steps]
    return {bytes(each.flatten().tolist()) for one in moved for each in (one, mirrored(one))}


@pytest.mark.parametrize(("shift", "kinds"), [(1, 18), (2, 50), (4, 162)])
def test_a_sample_goes_through_every_shift_and_flip_before_one_comes_again(shift, kinds):
    transform = Views(shift=shift, flip=True)
    assert transform.kinds == kinds
    images, keys = torch.randint(1, 256, (2, 1, 9, 9), dtype=torch.uint8), KEYS[:2]
    for begin in (0, kinds):  # the second turn is of all of them, too
        seen = [transform(images, keys, view) for view in range(begin, begin + kinds)]
        for place, image in enumerate(images):
            found = {bytes(view[place].flatten().tolist()) for view in seen}
            assert found == every_kind(image, shift)


def test_each_sample_and_each_turn_has_an_order_of_its_own():
    kinds = [Views(shift=1, flip=True)._kinds_of(KEYS, view) for view in range(54)]
    first, second, third = (torch.stack(kinds[at : at + 18]) for at in (0, 18, 36))
    for turn in (first[1:], second, third):  # (views, samples)
        orders = {tuple(order) for order in turn.T.tolist()}
        assert len(orders) > 30  # of 40; 17 starts and 16 steps make 272
    assert (second != third).any(dim=0).sum() > 35


@pytest.mark.parametrize("view", [1, 5, 49, 50, 51, 120])
def test_every_shift_and_flip_is_as_common_as_another_in_a_view_of_many_samples(view):
    keys = np.random.default_rng(0).integers(0, 2**63, 100_000, dtype=np.uint64)
    counts = torch.bincount(Views(shift=2, flip=True)._kinds_of(keys, view), minlength=50)
    if view < 50:
        assert counts[0] == 0  # that was view 0
        counts = counts[1:]
    mean = 100_000 / len(counts)
    assert float(((counts - mean) ** 2 / mean).sum()) < 85  # chi-squared of 49: 3.5 deviations


def test_a_view_of_a_key_is_the_same_for_ever():
    # SplitMix64 of state 0 moved on by one step is published: 0xE220A8397B1DCDAF.
    draw = 0xE220A8397B1DCDAF
    start, step = draw % 17, 1 + (draw >> 32) % 16  # 17 other views than view 0, a prime number
    for view in (1, 2, 17):
        kind = 1 + (start + step * (view - 1)) % 17
        down, right = ((kind // 2 // 3 + 1) % 3 - 1, (kind // 2 % 3 + 1) % 3 - 1)
        wanted = shifted(IMAGES[0], -down, -right)
        seen = Views(shift=1, flip=True)(IMAGES[:1], np.zeros(1, dtype=np.uint64), view)[0]
        assert torch.equal(seen, mirrored(wanted) if kind % 2 else wanted)


def turned(image: np.ndarray, degrees: float, size: float) -> np.ndarray:
    """`image`, `(height, width)`, turned and made larger around its middle, pixel by pixel."""
    height, width = image.shape
    made = np.zeros((height, width))
    cosine, sine = (f(math.radians(degrees)) for f in (math.cos, math.sin))
    for y in range(height):
        for x in range(width):
            right, down = x - (width - 1) / 2, y - (height - 1) / 2
            from_x = (cosine * right - sine * down) / size + (width - 1) / 2
            from_y = (sine * right + cosine * down) / size + (height - 1) / 2
            for j in (math.floor(from_y), math.floor(from_y) + 1):
                for i in (math.floor(from_x), math.floor(from_x) + 1):
                    if 0 <= j < height and 0 <= i < width:
                        near = (1 - abs(from_y - j)) * (1 - abs(from_x - i))
                        made[y, x] += near * image[j, i]
    return made


def drawn(number: int) -> float:
    """In [0, 1): a number of the key 0 of SplitMix64, whose state is moved on by one more."""
    mask = 2**64 - 1
    mixed = (number + 1) * 0x9E3779B97F4A7C15 & mask
    mixed = (mixed ^ mixed >> 30) * 0xBF58476D1CE4E5B9 & mask
    mixed = (mixed ^ mixed >> 27) * 0x94D049BB133111EB & mask
    return ((mixed ^ mixed >> 31) >> 11) / 2**53


@pytest.mark.parametrize("view", [1, 2, 77])
def test_a_view_is_its_image_turned_and_zoomed_around_the_middle(view):
    image = torch.rand(2, 9, 6, generator=torch.Generator().manual_seed(0))
    seen = Views(rotate=30, zoom=0.4)(image[None], np.zeros(1, dtype=np.uint64), view)[0]
    degrees = 30 * (2 * drawn(2**40 + view) - 1)
    size = 1 + 0.4 * (2 * drawn(2**41 + view) - 1)
    for channel, found in zip(image.numpy(), seen.numpy(), strict=True):
        np.testing.assert_allclose(found, turned(channel, degrees, size), atol=1e-5)


def test_whole_numbers_stay_whole_and_are_rounded():
    seen = Views(rotate=30)(IMAGES, KEYS, 3)
    assert seen.dtype == torch.uint8
    exact = Views(rotate=30)(IMAGES.float(), KEYS, 3)
    assert float((seen - exact).abs().max()) <= 0.5


def test_angles_and_sizes_go_through_their_whole_range():
    bar = torch.zeros(1000, 41, 41)
    bar[:, 20, 24:31] = 1.0  # to the right of the middle, 7 pixels away on average
    keys = content_keys(torch.arange(1000)[:, None])
    places = torch.arange(41.0) - 20
    of_angles, of_sizes = Views(rotate=40)(bar, keys, 1), Views(zoom=0.4)(bar, keys, 1)
    mass = of_angles.sum(dim=(1, 2))
    down = (of_angles.sum(dim=2) @ places) / mass
    right = (of_angles.sum(dim=1) @ places) / mass
    angles = torch.rad2deg(torch.atan2(down, right))
    assert -40.5 < float(angles.min()) < -38
    assert 38 < float(angles.max()) < 40.5
    assert abs(float(angles.mean())) < 3.7  # five standard deviations of 1000 even draws
    reach = (of_sizes.sum(dim=1) @ places) / of_sizes.sum(dim=(1, 2))
    assert 0.6 * 7 - 0.1 < float(reach.min()) < 0.62 * 7
    assert 1.38 * 7 < float(reach.max()) < 1.4 * 7 + 0.1


def test_its_text_names_transform_and_version():
    assert str(Views(shift=2, flip=True)) == "shift=2 flip=true version=2"
    turning = Views(shift=2, rotate=12.5, zoom=0.1)
    assert str(turning) == "shift=2 flip=false rotate=12.5 zoom=0.1 version=2"


@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        ({"shift": -1}, "shift must be 0 pixels or more, got -1"),
        ({"rotate": -1.0}, r"rotate must be in \[0, 180\] degrees, got -1.0"),
        ({"rotate": float("nan")}, r"rotate must be in \[0, 180\] degrees, got nan"),
        ({"zoom": 1.0}, r"zoom must be in \[0, 1\), got 1.0"),
    ],
)
def test_what_no_view_can_be_is_refused(options, wanted):
    with pytest.raises(OptionError, match=wanted):
        Views(**options)


def test_what_is_no_image_has_no_shifted_view():
    with pytest.raises(ShapeError, match=r"got \(4, 2\)\. Leave out `augment`"):
        Views(shift=1)(torch.zeros(4, 2), KEYS[:4], 1)
    with pytest.raises(ShapeError, match=r"got \(4, 2\)\. Leave out `augment`"):
        Views(rotate=1)(torch.zeros(4, 2), KEYS[:4], 1)


def test_keyword_inputs_have_no_shifted_view():
    words = ArraySamples({"input_ids": torch.ones(2, 3, dtype=torch.int64)}, {})
    same = words.fetch(torch.arange(2), view=1).inputs["input_ids"]
    assert torch.equal(same, torch.ones(2, 3, dtype=torch.int64))
    with pytest.raises(ShapeError, match=r"got the inputs input_ids\. Leave out `augment`"):
        words.with_views(Views(shift=1)).fetch(torch.arange(2), view=1)
