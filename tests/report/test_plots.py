"""Each plot shows what the result files say, or is not there."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from limbeck.report._palette import DARK, LIGHT, dark_partners
from limbeck.report._plots import class_note, figures
from limbeck.report._style import log_axis
from limbeck.results import Curve, Details, PerClass
from tests.report import examples


def _trace(plot, name):
    return next(trace for trace in plot.data if trace.name == name)


def test_images_have_every_plot():
    assert set(figures(*examples.helped_images())) == {
        "score_and_size",
        "training_loss",
        "validation",
        "class_gain",
        "reliability",
        "stages",
        "break_even",
    }


def test_regression_has_no_plot_of_classes_or_confidence_or_break_even():
    plots = figures(*examples.regression())
    assert set(plots) == {"score_and_size", "training_loss", "validation", "stages"}


def test_nothing_measured_is_nothing_drawn():
    assert figures(*examples.bare()) == {}


def test_each_model_stands_at_its_parameters_and_mean_score():
    report, details = examples.helped_images()
    plot = figures(report, details)["score_and_size"]
    students = _trace(plot, "student")
    assert students.x == (4_810, 1_202, 26_122)
    assert students.y == tuple(pair.student.score.mean for pair in report.students.values())
    assert _trace(plot, "teacher").x == (132_000,)
    assert plot.layout.xaxis.type == "log"


def test_an_arrow_goes_from_each_control_to_its_student():
    report, details = examples.helped_images()
    plot = figures(report, details)["score_and_size"]
    arrows = [(mark.ay, mark.y) for mark in plot.layout.annotations if mark.axref == "x"]
    pairs = report.students.values()
    assert arrows == [(p.control.score.mean, p.student.score.mean) for p in pairs]


def test_students_whose_shortened_names_are_equal_are_all_shown():
    report, details = examples.hostile()
    plot = figures(report, details)["score_and_size"]
    assert len(_trace(plot, "student").x) == 3


def test_a_teacher_without_a_size_is_a_line():
    report, details = examples.hurt()
    unsized = report.models["teacher"].model_copy(update={"parameters": None})
    report = report.model_copy(update={"models": {**report.models, "teacher": unsized}})
    plot = figures(report, details)["score_and_size"]
    assert plot.layout.shapes[0].y0 == unsized.score.mean
    assert "teacher" not in {trace.name for trace in plot.data}


def test_an_axis_says_which_way_is_better():
    image = figures(*examples.helped_images())["score_and_size"]
    text = figures(*examples.language_model())["validation"]
    assert image.layout.yaxis.title.text == "test accuracy, higher is better"
    assert text.layout.yaxis.title.text == "validation cross entropy, lower is better"


def test_the_strong_curve_is_the_mean_of_the_seeds_where_all_have_a_value():
    report, _ = examples.hurt()
    seeds = [([3.0, 2.0, 1.0], [None, 0.5, 0.7]), ([5.0, 4.0], [None, 0.7])]
    curves = [
        Curve(
            role="student",
            student="small",
            seed=seed,
            epochs=list(range(1, len(loss) + 1)),
            loss=loss,
            validation=validation,
        )
        for seed, (loss, validation) in enumerate(seeds)
    ]
    plots = figures(report, Details(curves=curves))
    strong = plots["training_loss"].data[-1]
    assert (strong.x, strong.y) == ((1, 2), (4.0, 3.0))
    assert plots["validation"].data[-1].y == (0.6,)
    assert len(plots["training_loss"].data) == 3


def test_losses_that_span_decades_are_drawn_on_a_logarithmic_axis():
    report, details = examples.hurt()
    assert figures(report, details)["training_loss"].layout.yaxis.type is None
    wide = [
        curve.model_copy(update={"loss": [10.0 / epoch**2 for epoch in curve.epochs]})
        for curve in details.curves
    ]
    plots = figures(report, details.model_copy(update={"curves": wide}))
    assert plots["training_loss"].layout.yaxis.type == "log"


def test_curves_of_other_students_are_left_out():
    report, details = examples.helped_images()
    other = details.curves[-1].model_copy(update={"student": "tiny"})
    more = details.model_copy(update={"curves": [*details.curves, other]})
    plots = figures(report, details)["training_loss"], figures(report, more)["training_loss"]
    assert len(plots[0].data) == len(plots[1].data)


def test_class_gains_are_sorted_and_in_points():
    _, details = examples.helped_images()
    bars = figures(*examples.helped_images())["class_gain"].data[0]
    assert list(bars.x) == sorted(bars.x, reverse=True)
    assert round(bars.x[0], 6) == 17.0  # class 8: 0.83 - 0.66
    assert bars.marker.color[0] == LIGHT["student"]
    assert bars.marker.color[-1] == LIGHT["control"]
    assert details.per_class is not None


def test_of_many_classes_the_best_and_the_worst_are_shown():
    report, _ = examples.hurt()
    gains = [i / 1000 for i in range(100)]
    many = PerClass(
        classes=[f"class {i}" for i in range(101)],
        rows=[10] * 100 + [0],
        teacher=[*[0.9] * 100, None],
        control=[*[0.5] * 100, None],
        student=[*[0.5 + gain for gain in gains], None],
    )
    plot = figures(report, Details(per_class=many))["class_gain"]
    names = plot.layout.yaxis.ticktext
    assert len(names) == 40
    assert (names[0], names[-1]) == ("class 99", "class 1")  # class 0 gained nothing


def _classes(*gains: float) -> PerClass:
    """So many classes, named by their number, with these gains."""
    return PerClass(
        classes=[str(number) for number in range(len(gains))],
        rows=[10] * len(gains),
        teacher=[0.9] * len(gains),
        control=[0.5] * len(gains),
        student=[0.5 + gain for gain in gains],
    )


def test_classes_without_a_difference_are_counted_and_not_drawn():
    report, _ = examples.hurt()
    details = Details(per_class=_classes(0.0, 0.1, 1e-16, 0.0, -0.1))
    assert figures(report, details)["class_gain"].layout.yaxis.ticktext == ("1", "4")
    assert class_note(details) == "3 classes without a difference are left out."
    assert class_note(Details(per_class=_classes(0.1, 0.0))) == (
        "1 class without a difference is left out."
    )
    assert class_note(Details(per_class=_classes(0.1, -0.1))) == ""
    assert "class_gain" not in figures(report, Details(per_class=_classes(0.0, 0.0)))


def test_of_many_classes_it_is_said_which_are_drawn():
    gains = [number / 100 for number in range(1, 46)]
    assert class_note(Details(per_class=_classes(*gains, *[0.0] * 20))) == (
        "The 20 best and the 20 worst of 45 classes. 20 classes without a difference are left out."
    )


def test_a_class_of_white_space_has_a_label():
    report, _ = examples.hurt()
    white = _classes(0.2, 0.1).model_copy(update={"classes": [" ", "\n"]})
    plot = figures(report, Details(per_class=white))["class_gain"]
    assert plot.layout.yaxis.ticktext == ("' '", r"'\n'")
    assert [label.split("<br>")[0] for label in plot.data[0].hovertext] == [
        "<b>' '</b>",
        r"<b>'\n'</b>",
    ]


def test_a_bin_without_rows_is_no_point():
    _, details = examples.helped_images()
    bins = details.reliability["student"]
    shown = _trace(figures(*examples.helped_images())["reliability"], "student")
    assert len(shown.x) == sum(rows > 0 for rows in bins.count) < len(bins.count)


def test_the_lines_of_teacher_and_student_cross_at_the_break_even():
    report, details = examples.helped_images()
    plot = figures(report, details)["break_even"]
    teacher, student = _trace(plot, "teacher"), _trace(plot, "student")

    def slope(line):
        return (line.y[1] - line.y[0]) / (line.x[1] - line.x[0])

    crossing = (student.y[0] - teacher.y[0]) / (slope(teacher) - slope(student))
    assert round(crossing) == report.ledger.break_even_predictions


def test_a_break_even_without_latencies_is_not_drawn():
    report, details = examples.hurt()
    slow = report.models["student"].model_copy(update={"latency_ms": None})
    report = report.model_copy(update={"models": {**report.models, "student": slow}})
    assert "break_even" not in figures(report, details)


def test_classes_that_were_not_measured_are_not_drawn():
    report, _ = examples.hurt()
    nothing = PerClass(classes=["a"], rows=[0], teacher=[None], control=[None], student=[None])
    assert "class_gain" not in figures(report, Details(per_class=nothing))


def test_every_light_colour_has_one_dark_partner():
    assert len(dark_partners()) == len(LIGHT) == len(DARK)


def test_tags_in_labels_are_shown_and_not_read():
    plots = figures(*examples.hostile())
    assert plots["class_gain"].layout.yaxis.ticktext[0].startswith("&lt;")
    labels = [mark.text for mark in plots["score_and_size"].layout.annotations if mark.text]
    assert labels
    assert all("<" not in label for label in labels)


@given(st.floats(-8, 8), st.floats(0.24, 12))
def test_a_logarithmic_axis_names_numbers_that_can_be_read_off_it(low, wide):
    found = log_axis("bytes", low, low + wide)
    marks = found["tickvals"]
    assert 2 <= len(marks) <= 16
    assert all(low <= math.log10(mark) <= low + wide for mark in marks)
    assert [float(name) for name in found["ticktext"]] == pytest.approx(marks, rel=1e-9)
    assert sorted(marks) == marks


def test_a_logarithmic_axis_of_many_decades_is_marked_at_powers_of_ten():
    assert log_axis("", -0.3, 4.2)["ticktext"] == ["1", "10", "100", "1000", "10000"]
    assert log_axis("", 0.9, 2.1)["ticktext"] == ["10", "20", "50", "100"]
