"""What all plots share: a bare figure, quiet axes, and labels that data cannot break."""

import html
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
