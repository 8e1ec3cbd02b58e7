"""The page of a search: what was tried, and how it scored on the validation data."""

import json
import statistics
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from math import log10
from pathlib import Path
from typing import Any

from limbeck import _format as form
from limbeck._files import write_json, write_text
from limbeck.report._palette import LIGHT
from limbeck.report._template import render
from limbeck.results import Metric, Score

_ROLES = ("teacher", "student", "helped", "hurt", "warning", "control")
"""Colours of the methods that did best, best first; all others are drawn in grey."""
_NAMES = {
    "temperature": "temperature of the loss",
    "hard_weight": "weight of the labels",
    "learning_rate": "learning rate",
    "epochs": "epochs",
}


@dataclass(frozen=True, kw_only=True)
class _Setting:
    method: str
    temperature: float
    hard_weight: float
    soft_weight: float
    learning_rate: float
    epochs: int


@dataclass(frozen=True, kw_only=True)
class TrialPoint(_Setting):
    """One setting that was tried."""

    number: int
    score: float | None
    """On the validation data; None if it was given up."""


@dataclass(frozen=True, kw_only=True)
class FinalPoint(_Setting):
    """One setting that was trained with several seeds."""

    what: str
    """`found`, `runner-up`, `recipe`, `control found` or `control recipe`."""
    scores: list[float]
    """On the validation data."""


def write_trials(
    folder: Path,
    *,
    title: str,
    metric: Metric,
    trials: Sequence[TrialPoint],
    finalists: Sequence[FinalPoint],
) -> Path:
    """Write `tune.json`, and from it `tune.html`.

    Args:
        folder: Where to.
        title: Of the page.
        metric: What the scores are.
        trials: All that was tried, in order; one at least came to its end.
        finalists: What was trained with several seeds, best first, controls last.

    Returns:
        The page's path.

    Raises:
        StorageError: It cannot be written.
    """
    said: dict[str, Any] = {"recipe": title, "metric": metric.model_dump()}
    said["trials"] = [asdict(each) for each in trials]
    said["finalists"] = [asdict(each) for each in finalists]
    write_json(folder / "tune.json", said)
    whole = [each for each in trials if each.score is not None]
    roles = _roles(whole, metric)
    page = folder / "tune.html"
    write_text(
        page,
        render(
            "trials.html.j2",
            title=title,
            metric=form.metric_name(metric),
            direction=form.direction(metric),
            seeds=len(finalists[0].scores),
            tried=len(trials),
            given_up=len(trials) - len(whole),
            families=list(roles.items()),
            others=len({each.method for each in whole}) > len(roles),
            finalists=[_row(each, metric) for each in finalists],
            figures={
                "order": _order(whole, metric, roles),
                **{name: _against(name, whole, metric, roles) for name in _changed(whole)},
            },
            names=_NAMES,
        ),
    )
    return page


def _roles(whole: Sequence[TrialPoint], metric: Metric) -> dict[str, str]:
    ranked = sorted(whole, key=lambda each: each.score or 0.0, reverse=metric.higher_is_better)
    methods = list(dict.fromkeys(each.method for each in ranked))
    return dict(zip(methods, _ROLES, strict=False))


def _changed(whole: Sequence[TrialPoint]) -> list[str]:
    """What differs between trials."""
    return [name for name in _NAMES if len({getattr(each, name) for each in whole}) > 1]


def _row(final: FinalPoint, metric: Metric) -> dict[str, Any]:
    several = len(final.scores) > 1
    score = Score(
        mean=statistics.fmean(final.scores),
        std=statistics.stdev(final.scores) if several else None,
        values=final.scores,
    )
    control = final.what.startswith("control")
    return {
        "what": {
            "found": "found",
            "runner-up": "runner-up",
            "recipe": "the recipe's own",
            "control found": "control, as was found",
            "control recipe": "control, as the recipe says",
        }[final.what],
        "role": "control" if control else "student",
        "method": "labels alone" if control else final.method,
        "temperature": "" if control else form.digits(final.temperature),
        "hard_weight": "" if control else form.digits(final.hard_weight, 2),
        "learning_rate": form.digits(final.learning_rate, 2),
        "epochs": final.epochs,
        "score": form.score(score, metric),
    }


def _order(whole: Sequence[TrialPoint], metric: Metric, roles: dict[str, str]) -> dict[str, Any]:
    """Each trial's score in the order of trials, and the best so far."""
    import plotly.graph_objects as go

    from limbeck.report._style import axis

    better: Callable[..., float] = max if metric.higher_is_better else min
    best: list[float] = []
    for each in whole:
        assert each.score is not None
        best.append(better([*best[-1:], each.score]))
    plot = _points(
        "number", axis("trial", dtick=max(1, len(whole) // 8)), whole, metric, roles, height=360
    )
    plot.add_trace(
        go.Scatter(
            x=[each.number for each in whole],
            y=best,
            mode="lines",
            line={"color": LIGHT["neutral"], "width": 1.5, "shape": "hv"},
            hoverinfo="skip",
        )
    )
    return _drawn(plot)


def _against(
    name: str, whole: Sequence[TrialPoint], metric: Metric, roles: dict[str, str]
) -> dict[str, Any]:
    from limbeck.report._style import axis, log_axis

    x = axis("")
    if name == "epochs":
        x = axis("", type="log", tickvals=sorted({each.epochs for each in whole}))
    elif name in ("temperature", "learning_rate"):
        at = [log10(getattr(each, name)) for each in whole]
        room = max(0.1, 0.05 * (max(at) - min(at)))
        x = log_axis("", min(at) - room, max(at) + room)
    return _drawn(_points(name, x, whole, metric, roles, height=280))


def _points(
    name: str,
    x: dict[str, Any],
    whole: Sequence[TrialPoint],
    metric: Metric,
    roles: dict[str, str],
    *,
    height: int,
) -> Any:
    import plotly.graph_objects as go

    from limbeck.report._style import figure, score_axis, text

    plot = figure(height=height, x=x, y=score_axis("validation", metric))
    plot.add_trace(
        go.Scatter(
            x=[getattr(each, name) for each in whole],
            y=[each.score for each in whole],
            mode="markers",
            marker={
                "size": 9,
                "color": [LIGHT[roles.get(each.method, "neutral")] for each in whole],
                "line": {"width": 1, "color": LIGHT["page"]},
            },
            hovertext=[
                f"<b>{text(each.method)}</b>, trial {each.number}<br>T {each.temperature:.3g}, "
                f"labels {each.hard_weight:.2g}, rate {each.learning_rate:.2g}, "
                f"{each.epochs} epochs<br>{form.value(each.score, metric)}"
                for each in whole
            ],
            hoverinfo="text",
        )
    )
    return plot


def _drawn(plot: Any) -> dict[str, Any]:
    drawn: dict[str, Any] = json.loads(plot.to_json())
    return drawn
