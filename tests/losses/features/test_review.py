import pytest
import torch

from limbeck._errors import ShapeError
from limbeck.losses.features import hierarchical_context, hints
from tests.losses.features.plain import by_rows, flat, maps, mean, squared_gap


def pooled(channel, size):
    """Mean over the parts of one map, of which sides are multiples of the size."""
    height, width = len(channel) // size, len(channel[0]) // size
    return [
        mean(channel[i * height + a][j * width + b] for a in range(height) for b in range(width))
        for i in range(size)
        for j in range(size)
    ]


def error(s, t, size):
    pairs = [(pooled(a, size), pooled(b, size)) for a, b in zip(s, t, strict=True)]
    return mean(squared_gap(a, b) / len(a) for a, b in pairs)


@pytest.mark.parametrize(
    ("side", "levels"),
    [(8, {4: 1 / 2, 2: 1 / 4, 1: 1 / 8}), (4, {2: 1 / 2, 1: 1 / 4}), (2, {1: 1 / 2}), (1, {})],
)
def test_weighs_the_levels_that_are_smaller_than_the_maps(side, levels):
    student, teacher = maps(5, 3, side, side)

    def plain(s, t):
        whole = squared_gap(flat(s), flat(t)) / len(flat(s))
        total = whole + sum(weight * error(s, t, size) for size, weight in levels.items())
        return total / (1 + sum(levels.values()))

    found = hierarchical_context(student, teacher)
    torch.testing.assert_close(found, by_rows(plain, student, teacher))


def test_a_shift_of_the_whole_map_counts_in_full_at_every_level():
    teacher, _ = maps(5, 3, 8, 8)
    found = hierarchical_context(teacher + 2.0, teacher)
    torch.testing.assert_close(found, torch.full((5,), 4.0, dtype=torch.float64))


def test_a_fine_pattern_counts_only_at_the_finest_level():
    teacher, _ = maps(5, 3, 8, 8)
    stripes = torch.tensor([1.0, -1.0], dtype=torch.float64).repeat(4)
    found = hierarchical_context(teacher + stripes, teacher)
    torch.testing.assert_close(found, hints(teacher + stripes, teacher) / 1.875)


def test_the_smaller_side_decides_which_levels_are_left_out():
    student, teacher = maps(5, 3, 2, 8)
    found = hierarchical_context(student, teacher)
    torch.testing.assert_close(found, hierarchical_context(student.mT, teacher.mT))
    whole, one = hints(student, teacher), (student - teacher).mean((2, 3)).square().mean(1)
    torch.testing.assert_close(found, (whole + one / 2) / 1.5)


def test_shapes_that_do_not_fit_are_refused():
    with pytest.raises(ShapeError, match=r"^student must be \(batch, channels, height, width\), "):
        hierarchical_context(torch.zeros(4, 8), torch.zeros(4, 8))
    with pytest.raises(ShapeError) as error:
        hierarchical_context(torch.zeros(4, 8, 7, 7), torch.zeros(4, 9, 7, 7))
    assert str(error.value) == (
        "these must have one shape: student (4, 8, 7, 7), teacher (4, 9, 7, 7)."
    )
