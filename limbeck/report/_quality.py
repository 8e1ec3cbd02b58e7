"""Where the student is better, and whether it is as sure as it is right."""

import plotly.graph_objects as go

from limbeck import _format as form
from limbeck.report._palette import LIGHT
from limbeck.report._style import axis, figure, text
from limbeck.report._tables import ROLES
from limbeck.results import Details, PerClass

MAX_CLASSES = 40
_BAR_PIXELS = 26


def class_gain(details: Details) -> go.Figure | None:
    """Student - control in accuracy, class by class, the best at the top."""
    found = details.per_class
    if found is None:
        return None
    gains = _gains(found)
    if not gains:
        return None
    kept = gains if len(gains) <= MAX_CLASSES else gains[:20] + gains[-20:]
    bars = go.Bar(
        x=[gain * 100 for gain, _ in kept],
        # Two classes may share a shortened name, so bars stand at numbers and carry names.
        y=list(range(len(kept))),
        orientation="h",
        marker={"color": [LIGHT["student" if gain > 0 else "control"] for gain, _ in kept]},
        hovertext=[
            f"<b>{text(found.classes[i])}</b><br>student {form.percent(found.student[i])}"
            f"<br>control {form.percent(found.control[i])}"
            f"<br>teacher {form.percent(found.teacher[i])}<br>{found.rows[i]} test rows"
            for _, i in kept
        ],
        hoverinfo="text",
    )
    names = [text(found.classes[i]) for _, i in kept]
    labels = {"tickvals": list(range(len(kept))), "ticktext": names, "autorange": "reversed"}
    plot = figure(
        height=70 + _BAR_PIXELS * len(kept),
        x=axis("points gained", zeroline=True),
        y=axis("", showgrid=False, **labels),
    )
    return plot.add_trace(bars)


def _gains(found: PerClass) -> list[tuple[float, int]]:
    """(gain, position) of each class that both were measured on, the best first."""
    both = zip(found.student, found.control, strict=True)
    gains = [(s - c, i) for i, (s, c) in enumerate(both) if s is not None and c is not None]
    return sorted(gains, key=lambda pair: (-pair[0], pair[1]))


def reliability(details: Details) -> go.Figure | None:
    """Accuracy against confidence, beside the line of a model as sure as it is right."""
    if not details.reliability:
        return None
    plot = figure(
        height=440,
        x=axis("confidence", range=[0, 1.02], tickformat=".0%"),
        y=axis("accuracy", range=[0, 1.02], tickformat=".0%"),
    )
    diagonal = {"color": LIGHT["muted"], "width": 1, "dash": "dot"}
    plot.add_shape(type="line", x0=0, y0=0, x1=1, y1=1, line=diagonal, layer="below")
    for role in ROLES:
        if role not in details.reliability:
            continue
        bins = details.reliability[role]
        kept = [i for i, rows in enumerate(bins.count) if rows > 0]
        most = max((bins.count[i] for i in kept), default=1)
        x, y = [bins.confidence[i] for i in kept], [bins.accuracy[i] for i in kept]
        # A bin of two rows may lie anywhere: its dot is small, and the line that joins it faint.
        line = go.Scatter(
            x=x,
            y=y,
            mode="lines",
            line={"color": LIGHT[role], "width": 1},
            opacity=0.4,
            hoverinfo="skip",
        )
        dots = go.Scatter(
            x=x,
            y=y,
            mode="markers",
            name=role,
            marker={
                "color": LIGHT[role],
                "size": [3 + 15 * (bins.count[i] / most) ** 0.5 for i in kept],
                "opacity": 0.85,
            },
            hovertext=[
                f"<b>{role}</b><br>confidence {form.percent(bins.confidence[i])}"
                f"<br>accuracy {form.percent(bins.accuracy[i])}<br>{bins.count[i]} rows"
                for i in kept
            ],
            hoverinfo="text",
        )
        plot.add_traces([line, dots])
    return plot
