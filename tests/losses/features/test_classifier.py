import pytest
import torch

from limbeck._errors import OptionError, ShapeError
from limbeck.losses import squared_error
from limbeck.losses.features import class_attention, hints, softmax_regression
from tests.losses.features.plain import by_rows, dot, maps, mean, squared_gap


def case():
    student, teacher = maps(5, 6)
    return student, teacher, torch.randn(9, 6, dtype=torch.float64)


@pytest.mark.parametrize("shares", [(1.0, 1.0), (0.5, 3.0), (0.0, 2.0), (2.0, 0.0)])
def test_softmax_regression_is_the_error_of_features_and_of_logits(shares):
    student, teacher, weight = case()
    bias = torch.randn(9).tolist()

    def plain(s, t):
        def logits(row):
            return [dot(w, row) + b for w, b in zip(weight.tolist(), bias, strict=True)]

        of_logits = squared_gap(logits(s), logits(t)) / 9
        return shares[0] * squared_gap(s, t) / 6 + shares[1] * of_logits

    found = softmax_regression(
        student, teacher, weight, features_weight=shares[0], logits_weight=shares[1]
    )
    torch.testing.assert_close(found, by_rows(plain, student, teacher))


def test_softmax_regression_weighs_both_parts_alike_if_left_out():
    student, teacher, weight = case()
    want = hints(student, teacher) + hints(student @ weight.T, teacher @ weight.T)
    torch.testing.assert_close(softmax_regression(student, teacher, weight), want)


def test_without_the_features_weight_only_what_the_classifier_sees_counts():
    student, teacher, weight = case()
    unseen = torch.linalg.svd(weight[:3]).Vh[-1]  # orthogonal to these three classes
    moved = softmax_regression(student + 5 * unseen, teacher, weight[:3], features_weight=0.0)
    found = softmax_regression(student, teacher, weight[:3], features_weight=0.0)
    torch.testing.assert_close(moved, found)


def test_the_teachers_classifier_stays_as_it_is():
    student, teacher, weight = case()
    softmax_regression(student.requires_grad_(), teacher, weight.requires_grad_()).sum().backward()
    assert weight.grad is None


def pooled(channel, size):
    """Mean over the parts of one map, of which sides are multiples of the size."""
    height, width = len(channel) // size, len(channel[0]) // size
    return [
        mean(channel[i * height + a][j * width + b] for a in range(height) for b in range(width))
        for i in range(size)
        for j in range(size)
    ]


@pytest.mark.parametrize("resolution", [1, 2])
def test_class_attention_is_the_error_of_pooled_maps(resolution):
    student, teacher = maps(5, 4, 4, 6)

    def plain(s, t):
        return mean(
            squared_gap(pooled(a, resolution), pooled(b, resolution)) / resolution**2
            for a, b in zip(s, t, strict=True)
        )

    found = class_attention(student, teacher, resolution=resolution)
    torch.testing.assert_close(found, by_rows(plain, student, teacher))


def test_class_attention_ends_at_the_logits_and_at_the_maps_themselves():
    student, teacher = maps(5, 4, 6, 6)
    logits = squared_error(student.mean((2, 3)), teacher.mean((2, 3)))
    torch.testing.assert_close(class_attention(student, teacher, resolution=1), logits)
    whole = class_attention(student, teacher, resolution=6)
    torch.testing.assert_close(whole, hints(student, teacher))


def test_class_attention_pools_to_2_if_left_out_and_takes_maps_of_other_sizes():
    student, teacher = maps(5, 4, 6, 6)
    small = teacher[..., :4, :2]
    found = class_attention(student, small)
    assert torch.equal(found, class_attention(student, small, resolution=2))
    torch.testing.assert_close(class_attention(student, student.repeat_interleave(2, 3)), 0 * found)


def test_options_and_shapes_that_are_wrong_are_refused():
    with pytest.raises(ShapeError) as error:
        softmax_regression(torch.zeros(4, 8), torch.zeros(4, 8), torch.zeros(8, 10))
    assert str(error.value) == (
        "teacher_weight must have one column for each feature, expected 8, got shape (8, 10)."
    )
    with pytest.raises(ShapeError, match=r"^teacher_weight must be \(classes, features\), got sha"):
        softmax_regression(torch.zeros(4, 8), torch.zeros(4, 8), torch.zeros(8))
    with pytest.raises(
        ShapeError, match=r"^student must be \(batch, features\), got shape \(4, 8,"
    ):
        softmax_regression(torch.zeros(4, 8, 2, 2), torch.zeros(4, 8), torch.zeros(10, 8))
    with pytest.raises(ShapeError, match=r"^these must have one shape: student \(4, 8\), teacher"):
        softmax_regression(torch.zeros(4, 8), torch.zeros(4, 9), torch.zeros(10, 8))
    cams = torch.zeros(4, 10, 7, 7)
    with pytest.raises(OptionError, match=r"^resolution must be 1 or more, got 0\.$"):
        class_attention(cams, cams, resolution=0)
    with pytest.raises(ShapeError) as error:
        class_attention(cams, cams[:, :9])
    assert str(error.value) == (
        "these must have one batch and number of classes: student (4, 10, 7, 7), teacher "
        "(4, 9, 7, 7)."
    )
    with pytest.raises(ShapeError) as error:
        class_attention(cams, cams[..., :1])
    assert str(error.value) == (
        "teacher must be 2 × 2 positions or more, got shape (4, 10, 7, 1). Take a smaller "
        "resolution."
    )
    with pytest.raises(ShapeError, match=r"^student must be \(batch, classes, height, width\), "):
        class_attention(torch.zeros(4, 10), cams)
