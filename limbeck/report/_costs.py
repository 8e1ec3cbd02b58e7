"""What the run cost, and when the student has paid for itself."""

from collections.abc import Sequence

import plotly.graph_objects as go

from limbeck import _format as form
from limbeck.report._palette import LIGHT
from limbeck.report._style import axis, figure, text
from limbeck.results import Report


def stages(report: Report) -> go.Figure | None:
    """Seconds per stage, in the order they ran."""
    done = report.ledger.stages
    if not done:
        return None
    bars = go.Bar(
        x=[stage.seconds for stage in done],
        y=list(range(len(done))),
        orientation="h",
        marker={"color": [LIGHT[_role_of(stage.name)] for stage in done]},
        text=[form.seconds(stage.seconds) for stage in done],
        textposition="outside",
        cliponaxis=False,
        hovertext=[
            f"<b>{text(stage.name)}</b><br>{form.seconds(stage.seconds)}"
            f"<br>{form.count(stage.flops)} FLOPs"
            for stage in done
        ],
        hoverinfo="text",
    )
    names = [text(stage.name) for stage in done]
    labels = {"tickvals": list(range(len(done))), "ticktext": names, "autorange": "reversed"}
    longest = max(stage.seconds for stage in done)
    plot = figure(
        height=75 + 40 * len(done),
        x=axis("seconds", range=[0, longest * 1.18 or 1], rangemode="tozero"),
        y=axis("", showgrid=False, **labels),
    )
    return plot.add_trace(bars)


def break_even(report: Report) -> go.Figure | None:
    """Seconds spent after so many predictions: the teacher's line, and the student's head cost."""
    after = report.ledger.break_even_predictions
    teacher = report.models["teacher"].latency_ms
    student = report.models["student"].latency_ms
    if after is None or teacher is None or student is None or after <= 0:
        return None
    # The ledger defines the crossing by this cost, so the two lines meet where it says.
    cost = after * (teacher.batch_1 - student.batch_1) / 1e3
    if cost <= 0:
        return None
    plot = figure(
        height=300,
        x=axis("predictions, one at a time", exponentformat="SI", rangemode="tozero"),
        y=axis("seconds spent", rangemode="tozero"),
    )
    ends = [0, 2.2 * after]
    teaching = [n * teacher.batch_1 / 1e3 for n in ends]
    taught = [cost + n * student.batch_1 / 1e3 for n in ends]
    plot.add_trace(_line("teacher", ends, teaching))
    plot.add_trace(_line("student", ends, taught))
    plot.add_annotation(
        x=after,
        y=after * teacher.batch_1 / 1e3,
        text=f"{form.count(after)} predictions",
        ax=0,
        ay=-40,
        xanchor="right",
        arrowcolor=LIGHT["muted"],
        arrowhead=0,
        arrowwidth=1,
    )
    return plot


def _line(role: str, x: Sequence[float], y: Sequence[float]) -> go.Scatter:
    line = {"color": LIGHT[role], "width": 2.5}
    return go.Scatter(x=x, y=y, mode="lines", name=role, line=line, hoverinfo="x+y+name")


def _role_of(stage: str) -> str:
    """The colour of a stage: its role's where its name says one."""
    starts = {"teach": "teacher", "control": "control", "distil": "student", "student": "student"}
    return next((role for start, role in starts.items() if stage.startswith(start)), "neutral")
