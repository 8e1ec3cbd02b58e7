"""Where the student is better, and whether it is as sure as it is right."""

import plotly.graph_objects as go

from limbeck import _format as form
from limbeck.report._palette import LIGHT
from limbeck.report._style import axis, figure, text
from limbeck.report._tables import ROLES
from limbeck.results import Details, PerClass

_MAX_CLASSES = 40
_BAR_PIXELS = 26
_ROUNDING = 1e-9
"""A gain in 0..1 that is no more is the rounding of two equal means."""


def class_gain(details: Details) -> go.Figure | None:
    """Student - control in accuracy, class by class where they differ, the best at the top."""
    found = details.per_class
    if found is None:
        return None
    gains = _differences(found)
    if not gains:
        return None
    half = _MAX_CLASSES // 2
    kept = gains if len(gains) <= _MAX_CLASSES else gains[:half] + gains[-half:]
    names = [text(form.visible(found.classes[i])) for _, i in kept]
    bars = go.Bar(
        x=[gain * 100 for gain, _ in kept],
        # Two classes may share a shortened name, so bars stand at numbers and carry names.
        y=list(range(len(kept))),
        orientation="h",
        marker={"color": [LIGHT["student" if gain > 0 else "control"] for gain, _ in kept]},
        hovertext=[
            f"<b>{name}</b><br>student {form.percent(found.student[i])}"
            f"<br>control {form.percent(found.control[i])}"
            f"<br>teacher {form.percent(found.teacher[i])}<br>{found.rows[i]} test rows"
            for name, (_, i) in zip(names, kept, strict=True)
        ],
        hoverinfo="text",
    )
    labels = {"tickvals": list(range(len(kept))), "ticktext": names, "autorange": "reversed"}
    plot = figure(
        height=70 + _BAR_PIXELS * len(kept),
        x=axis("points gained", zeroline=True),
        y=axis("", showgrid=False, **labels),
    )
    return plot.add_trace(bars)


def class_note(details: Details) -> str:
    """Which classes the plot of gains leaves out; empty if none."""
    if details.per_class is None:
        return ""
    drawn = len(_differences(details.per_class))
    equal = len(_gains(details.per_class)) - drawn
    notes = []
    if drawn > _MAX_CLASSES:
        half = _MAX_CLASSES // 2
        notes.append(f"The {half} best and the {half} worst of {form.grouped(drawn)} classes.")
    if equal:
        them = "1 class" if equal == 1 else f"{form.grouped(equal)} classes"
        notes.append(f"{them} without a difference {'is' if equal == 1 else 'are'} left out.")
    return " ".join(notes)


def _differences(found: PerClass) -> list[tuple[float, int]]:
    """Those of `_gains` that are not 0."""
    return [(gain, i) for gain, i in _gains(found) if abs(gain) > _ROUNDING]


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
