import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from limbeck._errors import OptionError
from limbeck.metrics import (
    BINS,
    METRICS,
    accuracy,
    agreement,
    agreement_when_wrong,
    exact_match,
    expected_calibration_error,
    mean_cross_entropy,
    mean_kl,
    metric_for,
    reliability,
    root_mean_squared_error,
)
from limbeck.signals import Head

SHAPES = [(12,), (3, 4), (2, 3, 2)]


def head(space):
    return Head(space=space, size=3)


def reference_bins(logits, labels):
    """Confidences and hits of each bin ((m - 1) / M, m / M], in plain Python."""
    bins = [[] for _ in range(15)]
    for row, label in zip(logits, labels, strict=True):
        powers = [math.exp(x) for x in row]
        confidence = max(powers) / sum(powers)
        place = next(m for m in range(15) if confidence <= (m + 1) / 15 + 1e-12)
        bins[place].append((confidence, row.index(max(row)) == label))
    return bins


@pytest.mark.parametrize("shape", SHAPES)
def test_scores_take_rows_of_any_leading_shape(shape):
    logits, labels = torch.randn(12, 3), torch.randint(3, (12,))
    for score in (accuracy, mean_cross_entropy, expected_calibration_error):
        found = score(logits.reshape(*shape, 3), labels.reshape(shape))
        assert found == pytest.approx(score(logits, labels), abs=1e-12)


def test_accuracy_is_the_fraction_of_rows_whose_largest_logit_is_at_the_label():
    logits = torch.tensor([[1.0, 2.0], [3.0, 0.0], [0.0, 1.0], [0.0, 1.0]])
    assert accuracy(logits, torch.tensor([1, 0, 0, 0])) == 0.5


def test_mean_cross_entropy_is_in_nats_per_row():
    logits = torch.tensor([[0.0, math.log(3)], [0.0, 0.0]], dtype=torch.float64)
    want = (-math.log(0.75) - math.log(0.5)) / 2
    assert mean_cross_entropy(logits, torch.tensor([1, 0])) == pytest.approx(want)


def test_exact_match_wants_every_class_right():
    logits = torch.tensor([[1.0, -1.0], [1.0, 1.0], [-1.0, -1.0]])
    labels = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 0.0]])
    assert exact_match(logits, labels) == pytest.approx(2 / 3)


def test_root_mean_squared_error_is_in_the_labels_unit():
    found = root_mean_squared_error(torch.tensor([[1.0], [5.0]]), torch.tensor([[4.0], [1.0]]))
    assert found == pytest.approx(math.sqrt((9 + 16) / 2))


def test_agreement_does_not_ask_for_the_label():
    student = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])
    teacher = torch.tensor([[2.0, 1.0], [0.0, 9.0], [3.0, 1.0]])
    assert agreement(student, teacher) == pytest.approx(2 / 3)


def test_agreement_when_wrong_looks_at_the_teachers_mistakes_only():
    student = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])
    teacher = torch.tensor([[2.0, 1.0], [0.0, 9.0], [3.0, 1.0]])
    assert agreement_when_wrong(student, teacher, torch.tensor([0, 0, 1])) == 0.5
    assert agreement_when_wrong(student, teacher, torch.tensor([0, 1, 0])) is None


def test_mean_kl_is_from_the_teacher_at_temperature_1():
    student = torch.zeros(1, 2)
    teacher = torch.tensor([[math.log(3), 0.0]])
    want = 0.75 * math.log(1.5) + 0.25 * math.log(0.5)
    assert mean_kl(student, teacher) == pytest.approx(want, rel=1e-6)


def test_mean_kl_leaves_out_what_the_teacher_says_cannot_be():
    teacher = torch.tensor([[0.0, 1.0, -torch.inf]])
    for excluded in (-torch.inf, -800.0):
        student = torch.tensor([[1.0, 0.0, excluded]])
        want = mean_kl(student[:, :2], teacher[:, :2])
        assert mean_kl(student, teacher) == pytest.approx(want, rel=1e-9)


@given(seed=st.integers(0, 10_000), spread=st.sampled_from([0.1, 1.0, 5.0]))
def test_calibration_error_agrees_with_a_plain_loop(seed, spread):
    generator = torch.Generator().manual_seed(seed)
    logits = spread * torch.randn(40, 4, dtype=torch.float64, generator=generator)
    labels = torch.randint(4, (40,), generator=generator)
    bins = reference_bins(logits.tolist(), labels.tolist())
    want = 0.0
    for rows in filter(None, bins):
        confidence = sum(row[0] for row in rows) / len(rows)
        right = sum(row[1] for row in rows) / len(rows)
        want += len(rows) / 40 * abs(right - confidence)
    assert expected_calibration_error(logits, labels) == pytest.approx(want, abs=1e-12)
    assert reliability(logits, labels).count.tolist() == [len(rows) for rows in bins]


def test_a_sure_and_right_model_has_no_calibration_error():
    logits = 1000 * torch.eye(4)
    assert expected_calibration_error(logits, torch.arange(4)) == 0.0
    assert expected_calibration_error(logits, (torch.arange(4) + 1) % 4) == 1.0


@pytest.mark.parametrize(("classes", "place"), [(3, 4), (5, 2)])
def test_a_bin_holds_its_upper_edge(classes, place):
    """Bin m of 15 is ((m - 1) / 15, m / 15]: 1/3 is the edge of the 5th, 1/5 of the 3rd."""
    count = reliability(torch.zeros(1, classes), torch.zeros(1, dtype=torch.long)).count
    assert count.nonzero().tolist() == [[place]]


def test_an_empty_bin_stands_at_its_middle_with_no_accuracy():
    bins = reliability(1000 * torch.eye(4), torch.arange(4))
    assert bins.count.tolist() == [0] * (BINS - 1) + [4]
    assert bins.confidence[0] == pytest.approx(0.5 / BINS)
    assert bins.accuracy[0] == 0
    assert bins.confidence[-1] == 1


def test_a_head_without_a_named_metric_gets_the_first_of_its_space():
    assert metric_for(head("categorical")).name == "accuracy"
    assert metric_for(head("binary")).name == "exact_match"
    assert metric_for(head("real")).name == "rmse"
    assert metric_for(head("categorical"), "cross_entropy").name == "cross_entropy"


def test_lower_is_better_for_errors_only():
    lower = {metric.name for metric in METRICS.values() if not metric.higher_is_better}
    assert lower == {"cross_entropy", "rmse"}


def test_an_unknown_metric_is_refused_with_the_nearest_one():
    with pytest.raises(OptionError) as error:
        metric_for(head("categorical"), "acuracy")
    assert str(error.value) == (
        "no metric is called 'acuracy'. Did you mean accuracy? For these labels: accuracy, "
        "cross_entropy."
    )


def test_a_metric_for_other_labels_is_refused():
    with pytest.raises(OptionError) as error:
        metric_for(head("categorical"), "rmse")
    assert str(error.value) == (
        "metric rmse is for real labels, the data's are categorical. For these: accuracy, "
        "cross_entropy."
    )
