import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from limbeck._errors import OptionError, ShapeError
from limbeck.results import Metric
from limbeck.verdict import judge

ACCURACY = Metric(name="accuracy", higher_is_better=True)
RMSE = Metric(name="rmse", higher_is_better=False)

scores = st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=2, max_size=8)


@given(pairs=scores)
def test_the_interval_is_that_of_the_paired_t_test(pairs):
    student, control = zip(*pairs, strict=True)
    gains = [a - b for a, b in pairs]
    verdict = judge(student, control, 0.9, ACCURACY)
    assert verdict.gain == pytest.approx(sum(gains) / len(gains), abs=1e-12)
    if max(gains) - min(gains) > 1e-6:  # SciPy warns where the differences hardly vary
        from scipy import stats

        interval = stats.ttest_rel(student, control).confidence_interval(0.95)
        assert verdict.ci95 == pytest.approx((interval.low, interval.high), abs=1e-9)
        assert (verdict.outcome == "helped") == (interval.low > 0)
        assert (verdict.outcome == "hurt") == (interval.high < 0)


def test_a_hand_example():
    # Gains 1, 2, 3: mean 2, standard error 1 / sqrt(3), t(0.975, 2) = 4.302653.
    verdict = judge([2.0, 4.0, 6.0], [1.0, 2.0, 3.0], 4.0, ACCURACY)
    half = 4.302653 / math.sqrt(3)
    assert verdict.gain == pytest.approx(2.0)
    assert verdict.ci95 == pytest.approx((2 - half, 2 + half), rel=1e-6)
    assert verdict.outcome == "not shown"
    assert verdict.gap_closed == pytest.approx(1.0)
    assert verdict.seeds == 3


def test_it_pairs_the_seeds():
    """The same scores, in another order, would show nothing."""
    control = [0.1, 0.4, 0.7]
    assert judge([0.15, 0.46, 0.75], control, 0.9, ACCURACY).outcome == "helped"
    assert judge([0.75, 0.15, 0.46], control, 0.9, ACCURACY).outcome == "not shown"


@given(student=st.floats(0, 1), control=st.floats(0, 1))
def test_one_seed_never_shows_anything(student, control):
    verdict = judge([student], [control], 1.0, ACCURACY)
    assert verdict.outcome == "not shown"
    assert verdict.ci95 is None
    assert verdict.seeds == 1


def test_no_gain_at_all_is_not_shown():
    verdict = judge([0.5, 0.6, 0.7], [0.5, 0.6, 0.7], 0.9, ACCURACY)
    assert verdict.outcome == "not shown"
    assert verdict.gain == 0
    assert verdict.ci95 is None


def test_what_rounding_leaves_is_no_gain():
    verdict = judge([0.1 + 0.2] * 3, [0.3] * 3, 0.9, ACCURACY)
    assert (verdict.outcome, verdict.gain) == ("not shown", 0)


@pytest.mark.parametrize("seeds", [2, 3, 5])
@pytest.mark.parametrize("gain", [0.05, -0.05])
def test_seeds_that_all_have_one_gain_show_nothing(gain, seeds):
    """On few test rows seeds often agree by chance, and their spread of 0 would be sure."""
    control = [0.8, 0.7, 0.6, 0.75, 0.65][:seeds]
    verdict = judge([score + gain for score in control], control, 0.9, ACCURACY)
    assert (verdict.outcome, verdict.ci95, verdict.seeds) == ("not shown", None, seeds)
    assert verdict.gain == pytest.approx(gain)
    varied = judge(
        [score + gain + 1e-4 * n for n, score in enumerate(control)], control, 0.9, ACCURACY
    )
    assert varied.outcome == ("helped" if gain > 0 else "hurt")


def test_a_teacher_of_no_worth_seldom_seems_to_help_on_few_test_rows():
    """Two seeds, 20 test rows, everyone right half of the time: 2.5 % would be nominal."""
    drawn = np.random.default_rng(1).binomial(20, 0.5, size=(4000, 2, 2)) / 20
    helped = sum(
        judge(student, control, 0.9, ACCURACY).outcome == "helped"
        for student, control in drawn.tolist()
    )
    assert helped / len(drawn) < 0.025


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("who", ["student", "control", "teacher"])
def test_scores_that_are_not_finite_are_refused_by_name(who, bad):
    scores = {"student": [0.8, 0.9], "control": [0.5, 0.6], "teacher": 0.9}
    scores[who] = bad if who == "teacher" else [0.7, bad]
    of = "" if who == "teacher" else " of seed 1"
    with pytest.raises(OptionError) as error:
        judge(**scores, metric=ACCURACY)
    assert str(error.value) == (
        f"a verdict compares finite scores, got {bad} as the {who}'s{of}. Leave out what did not "
        "learn, or train it again with a lower learning rate."
    )


@given(pairs=scores)
def test_where_lower_is_better_the_sign_turns(pairs):
    student, control = zip(*pairs, strict=True)
    error = judge(student, control, 0.0, RMSE)
    score = judge([-x for x in student], [-x for x in control], 0.0, ACCURACY)
    assert (error.outcome, error.gain, error.ci95) == (score.outcome, score.gain, score.ci95)
    assert error.gap_closed == score.gap_closed


def test_the_gap_closed_is_none_where_the_teacher_is_no_better_than_the_control():
    assert judge([0.8, 0.9], [0.5, 0.6], 0.55, ACCURACY).gap_closed is None
    assert judge([1.0, 1.1], [1.5, 1.6], 2.0, RMSE).gap_closed is None
    assert judge([1.0, 1.1], [1.5, 1.6], 0.55, RMSE).gap_closed == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("student", "control", "metric", "sentence"),
    [
        (
            [0.81, 0.82, 0.83],
            [0.71, 0.72, 0.74],
            ACCURACY,
            "The teaching helped: accuracy is 9.67 points better than without it "
            "(95 % interval of the gain +8.23 to +11.10 points, 3 seeds).",
        ),
        (
            [0.71, 0.72, 0.74],
            [0.81, 0.82, 0.83],
            ACCURACY,
            "The teaching hurt: accuracy is 9.67 points worse than without it "
            "(95 % interval of the gain -11.10 to -8.23 points, 3 seeds).",
        ),
        (
            [0.5, 0.6],
            [0.6, 0.8],
            RMSE,
            "Not shown: the student's rmse is 0.15 better than its control's "
            "(95 % interval of the gain -0.4853 to +0.7853, 2 seeds), which may be chance.",
        ),
        (
            [0.7],
            [0.72],
            ACCURACY,
            "Not shown: with one seed nothing can be. The student's accuracy is 2.00 points "
            "worse than its control's; take several seeds.",
        ),
        (
            [0.7],
            [0.7],
            ACCURACY,
            "Not shown: with one seed nothing can be. The student's accuracy is the same as its "
            "control's; take several seeds.",
        ),
        (
            [0.75, 0.85],
            [0.7, 0.8],
            ACCURACY,
            "Not shown: the student's accuracy is 5.00 points better than its control's with each "
            "of 2 seeds, and equal gains may be chance; take more seeds, or more test data.",
        ),
        (
            [0.7, 0.8],
            [0.7, 0.8],
            RMSE,
            "Not shown: the student's rmse is the same as its control's with each of 2 seeds, and "
            "equal gains may be chance; take more seeds, or more test data.",
        ),
        (
            [0.5, 0.75],
            [0.75, 0.5],
            ACCURACY,
            "Not shown: the student's accuracy is the same as its control's "
            "(95 % interval of the gain -317.66 to +317.66 points, 2 seeds). That is wider than "
            "accuracy can be: 2 seeds cannot say more; take 5 or more.",
        ),
        (
            [0.9, 0.98, 0.99],
            [0.1, 0.1, 0.3],
            ACCURACY,
            "The teaching helped: accuracy is 79.00 points better than without it "
            "(95 % interval of the gain +55.30 to +102.70 points, 3 seeds). That is wider than "
            "accuracy can be: 3 seeds cannot say more; take 5 or more.",
        ),
        (
            [1.0, 0.0, 1.0, 0.0, 0.1],
            [0.0, 1.0, 0.0, 1.0, 0.0],
            ACCURACY,
            "Not shown: the student's accuracy is 2.00 points better than its control's "
            "(95 % interval of the gain -122.29 to +126.29 points, 5 seeds), which may be chance. "
            "That is wider than accuracy can be: 5 seeds cannot say more; take more.",
        ),
        (
            [1.0, 3.0],
            [2.0, 1.0],
            RMSE,
            "Not shown: the student's rmse is 0.5 worse than its control's "
            "(95 % interval of the gain -19.56 to +18.56, 2 seeds), which may be chance.",
        ),
    ],
)
def test_the_sentence_says_what_was_found(student, control, metric, sentence):
    assert judge(student, control, 0.9, metric).sentence == sentence


@pytest.mark.parametrize(("student", "control"), [([0.5, 0.6], [0.5]), ([], [])])
def test_students_without_their_controls_are_refused(student, control):
    with pytest.raises(ShapeError) as error:
        judge(student, control, 0.9, ACCURACY)
    assert str(error.value) == (
        "a verdict pairs students with controls: expected one or more scores, and as many of "
        f"each, got {len(student)} and {len(control)}."
    )
