import pytest
import torch

from limbeck._errors import ShapeError
from limbeck.losses.features import flow_of_solution
from tests.losses.features.plain import by_rows, flat, mean


def case():
    """Maps of 3 and 4 channels; the teacher's are larger."""
    return [
        torch.randn(5, channels, *size, dtype=torch.float64)
        for size in [(3, 2), (4, 5)]
        for channels in (3, 4)
    ]


def flow(first, second):
    return [
        mean(x * y for x, y in zip(flat(a), flat(b), strict=True)) for a in first for b in second
    ]


def plain(first, second, teacher_first, teacher_second):
    gaps = zip(flow(first, second), flow(teacher_first, teacher_second), strict=True)
    return mean((a - b) ** 2 for a, b in gaps)


def test_is_the_mean_squared_gap_of_the_two_flows():
    tensors = case()
    torch.testing.assert_close(flow_of_solution(*tensors), by_rows(plain, *tensors))


def test_a_common_permutation_of_positions_changes_nothing():
    first, second, *teacher = case()
    order = torch.tensor([4, 2, 0, 5, 1, 3])

    def moved(maps):
        return maps.flatten(2)[..., order].view_as(maps)

    found = flow_of_solution(first, second, *teacher)
    torch.testing.assert_close(flow_of_solution(moved(first), moved(second), *teacher), found)
    assert float((flow_of_solution(moved(first), second, *teacher) - found).abs().min()) > 1e-3


def test_no_gradient_reaches_the_teachers_maps():
    tensors = [tensor.requires_grad_() for tensor in case()]
    flow_of_solution(*tensors).sum().backward()
    assert [tensor.grad is None for tensor in tensors] == [False, False, True, True]


def test_a_map_that_repeats_gives_its_own_flow():
    """The size of a map does not matter, as the flow is a mean over positions."""
    first, second, *teacher = case()
    larger = [maps.repeat(1, 1, 2, 3) for maps in (first, second)]
    torch.testing.assert_close(
        flow_of_solution(*larger, *teacher), flow_of_solution(first, second, *teacher)
    )


def test_shapes_that_do_not_fit_are_refused():
    first, second, teacher_first, teacher_second = case()
    with pytest.raises(ShapeError) as error:
        flow_of_solution(first, teacher_second, teacher_first, teacher_second)
    assert str(error.value).startswith(
        "these must have one batch, height and width: student_first (5, 3, 3, 2), student_second "
        "(5, 4, 4, 5). Pool the larger one first"
    )
    with pytest.raises(ShapeError, match=r"teacher_first \(5, 3, 4, 5\), teacher_second \(5, 4, 3"):
        flow_of_solution(first, second, teacher_first, second)
    with pytest.raises(ShapeError) as error:
        flow_of_solution(first, second, teacher_second, teacher_second)
    assert str(error.value) == (
        "the first maps must have one batch and number of channels: student (5, 3, 3, 2), teacher "
        "(5, 4, 4, 5)."
    )
    with pytest.raises(ShapeError, match=r"^the second maps must have one batch and number of"):
        flow_of_solution(first, second, teacher_first, teacher_first)
    with pytest.raises(ShapeError, match=r"^student_second must be \(batch, channels, height"):
        flow_of_solution(first, second[0], teacher_first, teacher_second)
    with pytest.raises(ShapeError, match=r"^teacher_first must be \(batch, channels, height"):
        flow_of_solution(first, second, teacher_first[0], teacher_second)
