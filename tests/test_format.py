"""Numbers read as people write them."""

import pytest

from limbeck import _format as form
from limbeck.results import Score
from tests.report.examples import ACCURACY, CROSS_ENTROPY, RMSE

_NBSP = "\N{NO-BREAK SPACE}"


def _plain(text: str) -> str:
    return text.replace(_NBSP, " ").replace("\N{MINUS SIGN}", "-")


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        (form.count(0), "0"),
        (form.count(999), "999"),
        (form.count(1000), "1 k"),
        (form.count(12_345), "12.3 k"),
        (form.count(999_600), "1.00 M"),
        (form.count(10_700_000), "10.7 M"),
        (form.size(45_123), "45.1 KB"),
        (form.size(21.7), "21.7 B"),
        (form.milliseconds(0.1234), "0.12 ms"),
        (form.milliseconds(12.34), "12.3 ms"),
        (form.milliseconds(1630.0), "1.6 s"),
        (form.seconds(0.42), "420 ms"),
        (form.seconds(59.96), "1 min 00 s"),
        (form.seconds(185), "3 min 05 s"),
        (form.seconds(7830), "2 h 10 min"),
        (form.percent(0.971), "97.1 %"),
        (form.digits(0), "0"),
        (form.digits(0.0123), "0.0123"),
        (form.digits(-1234.5), "-1234"),
        (form.digits(3.1e-7, 2), "3.1 \u00d7 10⁻⁷"),
        (form.grouped(1_234_567), "1\u202f234\u202f567"),
    ],
)
def test_a_number_has_the_digits_that_matter_and_its_unit(shown, expected):
    assert _plain(shown) == expected


@pytest.mark.parametrize(
    "show", [form.count, form.size, form.seconds, form.milliseconds, form.percent, form.digits]
)
def test_what_is_not_known_is_a_dash(show):
    assert show(None) == "-"


@pytest.mark.parametrize(
    ("score", "metric", "expected"),
    [
        (Score(mean=0.9712, std=0.0031, values=[]), ACCURACY, "97.1 ± 0.3 %"),
        (Score(mean=0.9712, std=None, values=[]), ACCURACY, "97.1 %"),
        (Score(mean=1.69006, std=0.00220, values=[]), CROSS_ENTROPY, "1.6901 ± 0.0022"),
        (Score(mean=1.69006, std=None, values=[]), CROSS_ENTROPY, "1.690"),
        (Score(mean=48213.7, std=1250.0, values=[]), RMSE, "48214 ± 1250"),
    ],
)
def test_a_score_shows_as_many_decimals_as_its_spread_allows(score, metric, expected):
    assert _plain(form.score(score, metric)) == expected


def test_a_gain_has_its_sign_and_unit():
    assert form.gain(0.0187, ACCURACY) == "+1.87 points"
    assert _plain(form.gain(-0.0187, ACCURACY)) == "-1.87 points"
    assert form.gain(0.0416, CROSS_ENTROPY) == "+0.0416"
    assert form.gain(0.0, ACCURACY) == "0.00 points"


def test_an_interval_is_in_the_unit_of_the_gain():
    assert _plain(form.interval((-0.012, 0.0261), ACCURACY)) == "-1.20 to 2.61"
    assert _plain(form.interval((0.02822, 0.05504), CROSS_ENTROPY)) == "0.0282 to 0.0550"
    assert form.interval(None, ACCURACY) == "-"


def test_a_ratio_is_shown_only_where_the_student_is_better():
    assert form.times(132_000, 4_810, "smaller") == "27\u00d7 smaller"
    assert form.times(0.092, 0.031, "faster") == "3.0\u00d7 faster"
    assert form.times(1.0, 2.0, "faster") == ""
    assert form.times(None, 2.0, "faster") == ""


def test_a_class_of_white_space_is_quoted():
    assert form.visible("\n") == r"'\n'"
    assert form.visible("cat") == "cat"
