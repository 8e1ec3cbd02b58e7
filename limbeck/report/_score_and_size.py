"""The Pareto picture: what a score costs in parameters."""

from math import log10
from typing import Any

import plotly.graph_objects as go

from limbeck import _format as form
from limbeck.report._palette import LIGHT
from limbeck.report._style import figure, log_axis, score_axis, text
from limbeck.results import Measured, Metric, Report


def score_and_size(report: Report) -> go.Figure | None:
    """Test score against parameters: the teacher, and an arrow from each control to its student."""
    metric, teacher = report.metric, report.models["teacher"]
    pairs = [(text(name), pair.control, pair.student) for name, pair in report.students.items()]
    pairs = pairs or [("", report.models["control"], report.models["student"])]
    pairs = [pair for pair in pairs if pair[1].parameters and pair[2].parameters]
    if not pairs:
        return None
    sizes = [m.parameters for m in [teacher, *(pair[2] for pair in pairs)] if m.parameters]
    plot = figure(height=420, x=_size_axis(sizes), y=score_axis("test", metric))
    _spread(plot, "control", [(name, control) for name, control, _ in pairs], metric)
    _spread(plot, "student", [(name, student) for name, _, student in pairs], metric)
    for name, control, student in pairs:
        _arrow(plot, control, student)
        if len(pairs) > 1:
            _label(plot, name, student)
    if teacher.parameters:
        _spread(plot, "teacher", [("", teacher)], metric)
    else:
        line = {"color": LIGHT["teacher"], "dash": "dot"}
        plot.add_hline(y=teacher.score.mean, line=line, annotation_text="teacher")
    return plot


def _spread(plot: go.Figure, role: str, models: list[tuple[str, Measured]], metric: Metric) -> None:
    """Each model's mean with its standard deviation, over its seeds' faint dots."""
    colour = LIGHT[role]
    dots = [(m.parameters, v) for _, m in models for v in m.score.values]
    seeds = go.Scatter(
        x=[x for x, _ in dots],
        y=[y for _, y in dots],
        mode="markers",
        cliponaxis=False,
        marker={"color": colour, "size": 6, "opacity": 0.3},
        hoverinfo="skip",
    )
    shown = [
        f"<b>{role} {name}</b><br>{form.score(m.score, metric)}<br>{form.count(m.parameters)}"
        " parameters"
        for name, m in models
    ]
    means = go.Scatter(
        x=[m.parameters for _, m in models],
        y=[m.score.mean for _, m in models],
        error_y={
            "array": [m.score.std or 0.0 for _, m in models],
            "color": colour,
            "thickness": 1.5,
            "width": 5,
        },
        mode="markers",
        cliponaxis=False,
        name=role,
        marker={
            "color": colour,
            "size": 12,
            "symbol": {"teacher": "diamond", "control": "circle-open", "student": "circle"}[role],
            "line": {"width": 2.5 if role == "control" else 0, "color": colour},
        },
        hovertext=shown,
        hoverinfo="text",
    )
    plot.add_traces([seeds, means] if len(dots) > len(models) else [means])


def _size_axis(sizes: list[int]) -> dict[str, Any]:
    """A logarithmic axis with room at both sides."""
    low, high = log10(min(sizes)), log10(max(sizes))
    room = max(0.2, 0.14 * (high - low))
    return log_axis("parameters", low - room, high + room, lambda mark: form.count(round(mark)))


def _arrow(plot: go.Figure, control: Measured, student: Measured) -> None:
    """What the teaching changed, from the control's mean to the student's."""
    if control.parameters != student.parameters or control.score.mean == student.score.mean:
        return
    x = log10(student.parameters or 1)  # where an annotation stands on a logarithmic axis
    plot.add_annotation(
        x=x, ax=x, y=student.score.mean, ay=control.score.mean,
        xref="x", yref="y", axref="x", ayref="y", text="",
        arrowcolor=LIGHT["muted"], arrowwidth=1.5, arrowhead=2, standoff=8, startstandoff=8,
    )  # fmt: skip


def _label(plot: go.Figure, name: str, student: Measured) -> None:
    plot.add_annotation(
        x=log10(student.parameters or 1),
        y=student.score.mean,
        text=name,
        showarrow=False,
        xanchor="left",
        xshift=12,
    )
