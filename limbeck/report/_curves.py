"""Training curves: every seed faint, their mean strong, one colour per role."""

from collections.abc import Callable

import plotly.graph_objects as go

from limbeck.report._palette import LIGHT
from limbeck.report._style import axis, figure, score_axis
from limbeck.report._tables import ROLES
from limbeck.results import Curve, Details, Report

_WIDE = 30.0
"""Largest loss over smallest, from which on only a logarithmic axis shows both."""

_Points = dict[int, float]


def training_loss(report: Report, details: Details) -> go.Figure | None:
    """Mean training loss of each epoch."""
    losses = [loss for curve in details.curves for loss in curve.loss]
    if losses and min(losses) > 0 and max(losses) > _WIDE * min(losses):
        y = axis("training loss, logarithmic", type="log", dtick=1)
    else:
        y = axis("training loss")
    return _curves(report, details, y, lambda curve: curve.loss)


def validation_score(report: Report, details: Details) -> go.Figure | None:
    """Validation score after each epoch."""
    scores = score_axis("validation", report.metric)
    return _curves(report, details, scores, lambda curve: curve.validation)


def _curves(
    report: Report,
    details: Details,
    y: dict[str, object],
    pick: Callable[[Curve], list[float] | list[float | None]],
) -> go.Figure | None:
    """The teacher's runs, and those of the first named student and its control."""
    first = next(iter(report.students), None)
    plot = figure(height=360, x=axis("epoch", showgrid=False), y=y)
    for role in ROLES:
        seeds = [
            {epoch: v for epoch, v in zip(c.epochs, pick(c), strict=True) if v is not None}
            for c in details.curves
            if c.role == role and (role == "teacher" or first in (None, c.student))
        ]
        seeds = [points for points in seeds if points]
        if len(seeds) > 1:
            plot.add_traces([_line(role, points, strong=False) for points in seeds])
        if seeds:
            plot.add_trace(_line(role, _mean(seeds), strong=True))
    return plot if plot.data else None


def _mean(seeds: list[_Points]) -> _Points:
    """The mean at every epoch that all seeds reached: one seed's end makes no step in it."""
    shared = sorted(set.intersection(*(set(points) for points in seeds)))
    return {epoch: sum(points[epoch] for points in seeds) / len(seeds) for epoch in shared}


def _line(role: str, points: _Points, *, strong: bool) -> go.Scatter:
    return go.Scatter(
        x=list(points),
        y=list(points.values()),
        mode="lines" if len(points) > 1 else "markers",
        name=role,
        line={"color": LIGHT[role], "width": 2.5 if strong else 1},
        opacity=1.0 if strong else 0.45,
        cliponaxis=False,
        hoverinfo="x+y+name" if strong else "skip",
    )
