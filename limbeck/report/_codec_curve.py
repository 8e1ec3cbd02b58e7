"""The page of a choice of codec: what each one costs in bytes, and what it loses."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from math import log10
from pathlib import Path

from limbeck._files import write_json, write_text
from limbeck.report._palette import LIGHT
from limbeck.report._template import render

_COLOURS = {
    "dense": "control",
    "sqrt": "teacher",
    "selected": "student",
    "threshold": "helped",
    "principal": "hurt",
    "real": "warning",
}


_HEIGHT = 520
_Box = tuple[float, float, float, float]
"""Left, right, bottom and top, as parts of the plot."""


@dataclass(frozen=True, kw_only=True)
class CodecPoint:
    """One codec on some rows."""

    codec: str
    """With its options, as one would write them."""
    bytes_per_row: float
    """On disk, compressed, with a row's share of keys and of what the codec learned."""
    error: float
    """What it loses of a row, above 0 unless it loses nothing; see `error_name`."""
    squared_error: float | None = None
    """||stored - live||^2 a row, in probability; None for numbers."""
    unbiased: bool = False
    """Whether it is right on average, entry by entry: what is drawn by chance."""
    chosen: bool = False
    """Whether it is the one that was taken."""


def write_codec_curve(
    folder: Path,
    points: Sequence[CodecPoint],
    *,
    title: str,
    rows: str,
    error_name: str = "KL to the teacher, nats a row",
) -> Path:
    """Write `curve.json`, and from it `curve.html`: bytes of a row against what it loses.

    Args:
        folder: Where to.
        points: One for each codec.
        title: Of the page.
        rows: What was measured, in a sentence.
        error_name: What the points' `error` is.

    Returns:
        The page's path.

    Raises:
        StorageError: It cannot be written.
    """
    ordered = sorted(points, key=lambda point: point.bytes_per_row)
    said = {"title": title, "rows": rows, "error": error_name}
    write_json(folder / "curve.json", said | {"codecs": [asdict(point) for point in ordered]})
    path = folder / "curve.html"
    write_text(path, _render(ordered, title, rows, error_name))
    return path


def _render(points: Sequence[CodecPoint], title: str, rows: str, error_name: str) -> str:
    best = frontier(points)
    return render(
        "curve.html.j2",
        title=title,
        rows=rows,
        error_name=error_name,
        points=[asdict(point) | {"best": point in best} for point in points],
        families=[
            (name, role)
            for name, role in _COLOURS.items()
            if any(point.codec.startswith(name) for point in points)
        ],
        squared=any(point.squared_error is not None for point in points),
        figures={"curve": _plot(points, best, error_name)},
    )


def frontier(points: Sequence[CodecPoint]) -> list[CodecPoint]:
    """The points that no other beats in both: each loses less than all smaller ones."""
    found: list[CodecPoint] = []
    for point in sorted(points, key=lambda point: (point.bytes_per_row, point.error)):
        if not found or point.error < found[-1].error:
            found.append(point)
    return found


def _plot(
    points: Sequence[CodecPoint], best: Sequence[CodecPoint], error_name: str
) -> dict[str, object]:
    import plotly.graph_objects as go

    from limbeck.report._style import axis, figure, log_axis, text

    lossy = [point for point in points if point.error > 0]
    on_line = [point for point in best if point.error > 0]
    named = [point for point in lossy if point in on_line or not _family(point.codec)]
    low, high = _range(points, named)
    placed = _placed(lossy, named, low, high)
    plot = figure(
        height=_HEIGHT,
        x=log_axis("bytes a row, on disk", low, high),
        y=axis(error_name, type="log", exponentformat="power", dtick=1),
    )
    plot.add_trace(
        go.Scatter(
            x=[point.bytes_per_row for point in on_line],
            y=[point.error for point in on_line],
            mode="lines",
            line={"color": LIGHT["neutral"], "width": 1.5},
            hoverinfo="skip",
        )
    )
    plot.add_trace(
        go.Scatter(
            x=[point.bytes_per_row for point in lossy],
            y=[point.error for point in lossy],
            mode="markers+text",
            text=[text(_label(point)) if where else "" for point, where in placed],
            textposition=[where or "middle right" for _, where in placed],
            textfont={"size": 12, "color": LIGHT["muted"]},
            cliponaxis=False,
            marker={
                "color": [LIGHT[_COLOURS.get(_family(point.codec), "muted")] for point in lossy],
                "size": [14 if point.chosen else 10 for point in lossy],
                "symbol": ["star" if point.chosen else "circle" for point in lossy],
            },
            hovertext=[
                f"<b>{text(point.codec)}</b><br>{point.bytes_per_row:.2f} B a row"
                f"<br>{point.error:.3g}{_squared(point)}"
                for point in lossy
            ],
            hoverinfo="text",
        )
    )
    drawn: dict[str, object] = json.loads(plot.to_json())
    return drawn


def _placed(
    points: Sequence[CodecPoint], named: Sequence[CodecPoint], low: float, high: float
) -> list[tuple[CodecPoint, str | None]]:
    """Where the name of each point goes so that it covers no other point or name; None: nowhere."""
    errors = [log10(point.error) for point in points]
    tall = max(errors, default=1) - min(errors, default=0) or 1

    def at(point: CodecPoint) -> tuple[float, float]:
        return (log10(point.bytes_per_row) - low) / (high - low), log10(point.error) / tall

    def is_free(box: _Box) -> bool:
        return box[0] >= 0 and box[1] <= 1.02 and not any(_meet(box, other) for other in taken)

    taken = [(x - 0.008, x + 0.008, y - 0.012, y + 0.012) for x, y in map(at, points)]
    found: list[tuple[CodecPoint, str | None]] = []
    for point in points:
        (x, y), wide = at(point), 0.011 * min(24, len(_label(point)))
        places = {
            "middle right": (x + 0.01, x + 0.01 + wide, y - 0.016, y + 0.016),
            "middle left": (x - 0.01 - wide, x - 0.01, y - 0.016, y + 0.016),
            "top center": (x - wide / 2, x + wide / 2, y + 0.014, y + 0.046),
            "bottom center": (x - wide / 2, x + wide / 2, y - 0.046, y - 0.014),
        }
        free = (where for where, box in places.items() if is_free(box))
        where = next(free, None) if point in named else None
        if where is not None:
            taken.append(places[where])
        found.append((point, where))
    return found


def _meet(one: _Box, other: _Box) -> bool:
    return one[0] < other[1] and other[0] < one[1] and one[2] < other[3] and other[2] < one[3]


def _label(point: CodecPoint) -> str:
    """A codec's options alone, where its colour names it."""
    options = point.codec.partition(" (")[2].removesuffix(")")
    return options if options and _family(point.codec) else point.codec


def _squared(point: CodecPoint) -> str:
    return "" if point.squared_error is None else f"<br>squared error {point.squared_error:.3g}"


def _range(points: Sequence[CodecPoint], named: Sequence[CodecPoint]) -> list[float]:
    """From the smallest to the largest, with room at the right for names."""
    x = [log10(point.bytes_per_row) for point in points]
    low, high = min(x) - 0.12, max(x) + 0.12
    for point in named:
        # A character takes about a hundredth of the plot's width.
        share = 0.011 * min(24, len(_label(point))) + 0.02
        at = log10(point.bytes_per_row)
        high = max(high, low + (at - low) / (1 - share))
    return [low, high]


def _family(codec: str) -> str:
    """What its name begins with, of those that have a colour; empty for all others."""
    return next((family for family in _COLOURS if codec.startswith(family)), "")
