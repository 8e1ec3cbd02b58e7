"""What all plots share: a bare figure, quiet axes, and labels that data cannot break."""

import html
from collections.abc import Callable
from math import ceil, floor, log10
from typing import Any

import plotly.graph_objects as go

from limbeck import _format as form
from limbeck.report._palette import LIGHT
from limbeck.results import Metric

_CLEAR = "rgba(0,0,0,0)"


def figure(*, height: int, x: dict[str, Any], y: dict[str, Any]) -> go.Figure:
    """An empty figure, as wide as its place on the page. The page draws its legend."""
    return go.Figure(
        layout={
            "template": "none",
            "height": height,
            "margin": {"l": 8, "r": 16, "t": 12, "b": 8},
            "paper_bgcolor": _CLEAR,
            "plot_bgcolor": _CLEAR,
            "font": {"family": "system-ui, sans-serif", "size": 13, "color": LIGHT["ink"]},
            "showlegend": False,
            "hoverlabel": {"bgcolor": LIGHT["page"], "bordercolor": LIGHT["line"]}
            | {"font": {"color": LIGHT["ink"]}, "align": "left"},
            "xaxis": x,
            "yaxis": y,
            # A finger that drags over a plot moves the page.
            "dragmode": False,
            "bargap": 0.35,
        }
    )


def axis(title: str, **options: Any) -> dict[str, Any]:
    """An axis with thin lines, that makes room for its labels and does not zoom."""
    quiet = {
        "automargin": True,
        "ticks": "outside",
        "ticklen": 6,
        "tickcolor": _CLEAR,
        "fixedrange": True,
        "gridcolor": LIGHT["line"],
        "linecolor": LIGHT["line"],
        "zerolinecolor": LIGHT["muted"],
        "zeroline": False,
        "tickfont": {"color": LIGHT["muted"], "size": 12},
        "title": {"text": title, "standoff": 14, "font": {"color": LIGHT["muted"], "size": 13}},
    }
    return quiet | options


_STEPS = (
    (1,),
    (1, 2, 5),
    (1, 1.5, 2, 3, 5, 7),
    (1, 1.2, 1.5, 2, 2.5, 3, 3.5, 4, 5, 6, 7, 8, 9),
)
_ENOUGH_MARKS = 4


def log_axis(
    title: str, low: float, high: float, name: Callable[[float], str] = "{:g}".format
) -> dict[str, Any]:
    """A logarithmic axis, marked with as few numbers as let others be read off between them.

    Args:
        title: What it shows.
        low: log10 of where it begins.
        high: log10 of where it ends.
        name: What is written at a number.
    """
    shown: list[float] = []
    for steps in _STEPS:
        marks = [step * 10.0**power for power in range(floor(low), ceil(high)) for step in steps]
        shown = [mark for mark in marks if low <= log10(mark) <= high]
        if len(shown) >= _ENOUGH_MARKS:
            break
    names = [name(mark) for mark in shown]
    return axis(title, type="log", range=[low, high], tickvals=shown, ticktext=names)


def score_axis(split: str, metric: Metric) -> dict[str, Any]:
    """An axis of scores on a split, which says which way is better; of fractions, 0 to 100 %."""
    title = f"{split} {text(form.metric_name(metric))}, {form.direction(metric)}"
    if not form.is_fraction(metric):
        return axis(title)
    # Around scores that are all equal plotly would show from -50 % to 150 %.
    return axis(title, tickformat=".1~%", autorangeoptions={"clipmin": 0, "clipmax": 1})


def text(words: str) -> str:
    """Text from data, for a label: tags are shown, not read, and a long one is cut."""
    short = words if len(words) <= 24 else f"{words[:23]}…"
    return html.escape(short, quote=False)
