import math
import statistics

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from limbeck._errors import OptionError, ShapeError
from limbeck.losses import correlation_distance

NONE = float("-inf")
ONLY_INTER = {"inter_class_weight": 1.0, "intra_class_weight": 0.0}
ONLY_INTRA = {"inter_class_weight": 0.0, "intra_class_weight": 1.0}


def softmax(row, temperature):
    powers = [math.exp(x / temperature) for x in row]
    return [power / sum(powers) for power in powers]


def reference(student, teacher, temperature, inter_weight=1.0, intra_weight=1.0):
    """Each row's loss in plain Python floats."""
    q, p = ([softmax(row, temperature) for row in side] for side in (student, teacher))
    inter = [1 - statistics.correlation(a, b) for a, b in zip(q, p, strict=True)]
    columns = zip(zip(*q, strict=True), zip(*p, strict=True), strict=True)
    intra = statistics.mean(1 - statistics.correlation(a, b) for a, b in columns)
    return [temperature**2 * (inter_weight * row + intra_weight * intra) for row in inter]


def pair(rows=7, classes=5):
    return torch.randn(2, rows, classes, dtype=torch.float64).unbind()


def gradient(student, teacher, **options):
    student = student.clone().requires_grad_()
    correlation_distance(student, teacher, **options).sum().backward()
    return student.grad


@pytest.mark.parametrize("weights", [(1.0, 1.0), (0.5, 2.0), (1.0, 0.0), (0.0, 1.0)])
@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0])
def test_matches_the_formula(temperature, weights):
    student, teacher = pair()
    want = reference(student.tolist(), teacher.tolist(), temperature, *weights)
    found = correlation_distance(
        student,
        teacher,
        inter_class_weight=weights[0],
        intra_class_weight=weights[1],
        temperature=temperature,
    )
    torch.testing.assert_close(found, torch.tensor(want).double())


def test_the_weights_and_the_temperature_are_1_if_left_out():
    student, teacher = pair()
    want = torch.tensor(reference(student.tolist(), teacher.tolist(), 1.0)).double()
    torch.testing.assert_close(correlation_distance(student, teacher), want)


def test_the_relation_along_rows_sees_no_increasing_line_of_a_rows_probabilities():
    student, teacher = pair()
    want = correlation_distance(student, teacher, **ONLY_INTER)
    p = teacher.softmax(-1)
    share = torch.rand(7, 1).double()
    mixed = share * p + (1 - share) / 5  # still a distribution
    found = correlation_distance(student, mixed.log(), **ONLY_INTER)
    torch.testing.assert_close(found, want)


def test_the_relation_along_classes_sees_no_increasing_line_of_a_classs_probabilities():
    student, teacher = pair(classes=3)
    want = correlation_distance(student, teacher, **ONLY_INTRA)
    p = teacher.softmax(-1)
    p = torch.stack([0.2 * p[:, 0] + 0.1, 0.3 * p[:, 1] + 0.2], -1)
    mixed = torch.cat([p, 1 - p.sum(-1, keepdim=True)], -1)
    found = correlation_distance(student[:, :3], mixed.log(), **ONLY_INTRA)
    # The third class takes what is left: leave it out by its own distance.
    third = 1 - torch.corrcoef(torch.stack([student.softmax(-1)[:, 2], mixed[:, 2]]))[0, 1]
    before = 1 - torch.corrcoef(torch.stack([student.softmax(-1)[:, 2], teacher.softmax(-1)[:, 2]]))
    torch.testing.assert_close(found * 3 - third, want * 3 - before[0, 1])


def test_logits_may_be_moved_but_not_scaled():
    student, teacher = pair()
    want = correlation_distance(student, teacher)
    moved = correlation_distance(student + torch.randn(7, 1).double(), teacher - 3.0)
    torch.testing.assert_close(moved, want)
    assert float((correlation_distance(3 * student, teacher) - want).abs().max()) > 1e-2


@given(
    rows=st.lists(st.tuples(*[st.floats(-200, 200)] * 8), min_size=1, max_size=4),
    temperature=st.sampled_from([0.5, 1.0, 4.0]),
)
def test_both_distances_are_between_0_and_2(rows, temperature):
    student, teacher = torch.tensor(rows, dtype=torch.float64).chunk(2, dim=-1)
    for options in (ONLY_INTER, ONLY_INTRA):
        found = correlation_distance(student, teacher, temperature=temperature, **options)
        assert bool((found >= -1e-12).all())
        assert bool((found <= 2 * temperature**2 + 1e-9).all())


def test_a_reversed_order_is_at_distance_2():
    student = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    found = correlation_distance(student, -student, **ONLY_INTER)
    torch.testing.assert_close(found, torch.full((2,), 2.0))
    found = correlation_distance(student, -student, **ONLY_INTRA)
    torch.testing.assert_close(found, torch.full((2,), 2.0))


def test_small_probabilities_count_as_any_others():
    """The third class is of 1e-30 at most: the official code would find it at distance 1."""
    teacher = torch.tensor([[1.0, 0.0, -70.0], [0.0, 1.0, -75.0], [0.5, 0.5, -71.0]])
    same = correlation_distance(teacher, teacher)
    torch.testing.assert_close(same, torch.zeros(3), rtol=0, atol=1e-6)
    student = teacher.clone()
    student[:, 2] = torch.tensor([-75.0, -70.0, -74.0])
    found = correlation_distance(student, teacher, **ONLY_INTRA)
    a, b = (
        [math.exp(x + 75) for x in side[:, 2].tolist()]  # the first two classes hold all mass
        for side in (student - student.logsumexp(-1, keepdim=True), teacher.log_softmax(-1))
    )
    want = (1 - statistics.correlation(a, b)) / 3
    torch.testing.assert_close(found, torch.full((3,), want), rtol=1e-3, atol=1e-5)
    assert 0.01 < float(gradient(student, teacher, **ONLY_INTRA)[:, 2].abs().max()) < 10


def test_what_is_the_same_throughout_on_both_sides_is_at_0_and_on_one_at_1():
    flat, varied = torch.zeros(2, 3), torch.tensor([[1.0, 2.0, 0.0], [1.0, 2.0, 0.0]])
    torch.testing.assert_close(correlation_distance(flat, flat + 0.1), torch.zeros(2))
    # Along the classes every column is the same throughout, along the rows only the student's is.
    torch.testing.assert_close(correlation_distance(flat, varied), torch.ones(2))
    torch.testing.assert_close(gradient(flat, varied), torch.zeros(2, 3))
    varied[1] = torch.tensor([0.0, 1.0, 2.0])
    torch.testing.assert_close(correlation_distance(flat, varied), torch.full((2,), 2.0))


def test_what_differs_by_rounding_alone_is_the_same_throughout():
    one = torch.tensor([0.5, 0.3, 0.2]).log()
    student = one + torch.linspace(-1, 1, 64)[:, None]  # one distribution, in 64 ways
    found = student.log_softmax(-1)
    assert bool((found.amax(0) > found.amin(0)).any())
    same = correlation_distance(student, one.expand(64, 3), **ONLY_INTRA)
    assert torch.equal(same, torch.zeros(64))
    teacher = torch.randn(64, 3)
    found = correlation_distance(student, teacher, **ONLY_INTRA)
    assert torch.equal(found, torch.ones(64))
    assert torch.equal(gradient(student, teacher, **ONLY_INTRA), torch.zeros(64, 3))


def test_one_row_has_no_relation_along_its_classes():
    student, teacher = pair(rows=1)
    found = correlation_distance(student, teacher, **ONLY_INTRA)
    torch.testing.assert_close(found, torch.zeros(1).double())


def test_a_class_that_only_one_side_excludes_counts():
    student, teacher = pair()
    student[:, 1] = NONE
    found = correlation_distance(student, teacher)
    q = [[*softmax([row[0], *row[2:]], 1.0)] for row in student.tolist()]
    q = [[row[0], 0.0, *row[1:]] for row in q]
    p = [softmax(row, 1.0) for row in teacher.tolist()]
    inter = [1 - statistics.correlation(a, b) for a, b in zip(q, p, strict=True)]
    kept = [0, 2, 3, 4]
    columns = [
        1 - statistics.correlation([row[i] for row in q], [row[i] for row in p]) for i in kept
    ]
    intra = (sum(columns) + 1) / 5
    torch.testing.assert_close(found, torch.tensor([x + intra for x in inter]).double())
    assert bool(torch.isfinite(gradient(student, teacher)).all())


def test_rows_of_any_leading_shape_are_one_batch():
    student, teacher = pair(rows=6)
    found = correlation_distance(student.reshape(2, 3, 5), teacher.reshape(2, 3, 5))
    torch.testing.assert_close(found.flatten(), correlation_distance(student, teacher))


def test_what_is_not_a_number_is_not_hidden():
    student, teacher = pair()
    student[0, 0] = float("nan")
    assert bool(correlation_distance(student, teacher).isnan().all())
    assert bool(correlation_distance(teacher, student).isnan().all())


def test_what_does_not_fit_is_refused():
    with pytest.raises(OptionError, match=r"^temperature must be above 0 and finite, got 0\.$"):
        correlation_distance(torch.zeros(1, 2), torch.zeros(1, 2), temperature=0)
    with pytest.raises(ShapeError) as error:
        correlation_distance(torch.zeros(4, 10), torch.zeros(4, 100))
    assert str(error.value) == (
        "these must have one shape: student_logits (4, 10), teacher_logits (4, 100)."
    )
