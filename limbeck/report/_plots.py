"""Every plot of the page: each from the results to a plotly figure, or None."""

import plotly.graph_objects as go

from limbeck.report._costs import break_even, stages
from limbeck.report._curves import training_loss, validation_score
from limbeck.report._quality import class_gain, reliability
from limbeck.report._quality import class_note as class_note
from limbeck.report._score_and_size import score_and_size
from limbeck.results import Details, Report


def figures(report: Report, details: Details) -> dict[str, go.Figure]:
    """Every plot that these results have something for, by name."""
    found = {
        "score_and_size": score_and_size(report),
        "training_loss": training_loss(report, details),
        "validation": validation_score(report, details),
        "class_gain": class_gain(details),
        "reliability": reliability(details),
        "stages": stages(report),
        "break_even": break_even(report),
    }
    return {name: plot for name, plot in found.items() if plot is not None}
