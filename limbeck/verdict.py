"""The verdict: helped, hurt, or not shown."""

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from limbeck._errors import OptionError, ShapeError, did_you_mean
from limbeck.metrics import METRICS
from limbeck.results import Metric, Verdict

_ROUNDING = 1e-14
"""What a difference of two scores may be of the larger one, and be nothing but rounding."""


def judge(
    student: Sequence[float],
    control: Sequence[float],
    teacher: float,
    metric: Metric | str,
) -> Verdict:
    """Compare students with their controls, seed by seed.

    The gain is the mean of student - control (control - student where lower is better), with its
    95 % interval by the paired t-test. Helped: the interval is above 0; hurt: below 0; otherwise,
    and with one seed always, not shown. Seeds that all have the same gain show nothing either: on
    few test rows that is often chance, and an interval without width would be sure of it. The
    interval says how the gain varies with the seed on this test set; it does not speak of other
    data.

    Args:
        student: Test scores of the students, one per seed.
        control: Those of their controls, in the same order.
        teacher: The teacher's test score.
        metric: What the scores are, or a name in `limbeck.metrics.METRICS`.

    Raises:
        OptionError: There is no metric of that name; a score is not finite.
        ShapeError: There are not as many students as controls, or none.
    """
    if isinstance(metric, str):
        if metric not in METRICS:
            raise OptionError(
                f"no metric is called {metric!r}.{did_you_mean(metric, METRICS)} There are "
                f"{', '.join(METRICS)}."
            )
        found = METRICS[metric]
        metric = Metric(name=found.name, higher_is_better=found.higher_is_better)
    if len(student) != len(control) or not student:
        raise ShapeError(
            "a verdict pairs students with controls: expected one or more scores, and as many of "
            f"each, got {len(student)} and {len(control)}."
        )
    _check_finite("student", student)
    _check_finite("control", control)
    _check_finite("teacher", [teacher], each="")
    sign = 1.0 if metric.higher_is_better else -1.0
    gains = sign * (np.asarray(student, dtype=float) - np.asarray(control, dtype=float))
    rounding = _ROUNDING * float(np.abs([student, control]).max())
    gains[np.abs(gains) <= rounding] = 0.0
    gain = float(gains.mean())
    varies = len(gains) > 1 and np.ptp(gains) > rounding
    interval = _paired_interval(gains) if varies else None
    outcome: Literal["helped", "hurt", "not shown"] = "not shown"
    if interval is not None and interval[0] > 0:
        outcome = "helped"
    elif interval is not None and interval[1] < 0:
        outcome = "hurt"
    gap = sign * (teacher - float(np.mean(control)))
    return Verdict(
        outcome=outcome,
        gain=gain,
        ci95=interval,
        gap_closed=gain / gap if gap > 0 else None,
        seeds=len(gains),
        sentence=_sentence(outcome, gain, interval, len(gains), metric),
    )


def _check_finite(who: str, scores: Sequence[float], *, each: str = " of seed {}") -> None:
    for seed, score in enumerate(scores):
        if not math.isfinite(score):
            raise OptionError(
                f"a verdict compares finite scores, got {score} as the {who}'s{each.format(seed)}. "
                "Leave out what did not learn, or train it again with a lower learning rate."
            )


def _paired_interval(gains: NDArray[np.float64]) -> tuple[float, float]:
    half = stdtrit(len(gains) - 1, 0.975) * gains.std(ddof=1) / math.sqrt(len(gains))
    return float(gains.mean() - half), float(gains.mean() + half)


def _sentence(
    outcome: str,
    gain: float,
    interval: tuple[float, float] | None,
    seeds: int,
    metric: Metric,
) -> str:
    points = metric.name in ("accuracy", "exact_match")
    scale, unit = (100.0, " points") if points else (1.0, "")

    def number(value: float, sign: str = "") -> str:
        return f"{value * scale:{sign}{'.2f' if points else '.4g'}}"

    size = number(abs(gain))
    better = f"{size}{unit} {'worse' if gain < 0 else 'better'}"
    compared = "the same as" if float(size) == 0 else f"{better} than"
    if interval is None and seeds == 1:
        return (
            f"Not shown: with one seed nothing can be. The student's {metric.name} is {compared} "
            "its control's; take several seeds."
        )
    if interval is None:
        return (
            f"Not shown: the student's {metric.name} is {compared} its control's with each of "
            f"{seeds} seeds, and equal gains may be chance; take more seeds, or more test data."
        )
    low, high = (number(end, "+") for end in interval)
    between = f"95 % interval of the gain {low} to {high}{unit}, {seeds} seeds"
    beyond = ""
    if points and max(map(abs, interval)) > 1:
        more = "5 or more" if seeds < 5 else "more"
        beyond = (
            f" That is wider than {metric.name} can be: {seeds} seeds cannot say more; take {more}."
        )
    if outcome == "not shown":
        chance = "" if float(size) == 0 else ", which may be chance"
        return (
            f"Not shown: the student's {metric.name} is {compared} its control's ({between})"
            f"{chance}.{beyond}"
        )
    return f"The teaching {outcome}: {metric.name} is {better} than without it ({between}).{beyond}"
