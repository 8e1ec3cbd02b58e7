"""The page's tables and its picture of the verdict, as plain values for the template."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from limbeck import _format as form
from limbeck.results import Measured, Report, Role

ROLES: tuple[Role, ...] = ("teacher", "control", "student")


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One cell: a number, and a smaller note under it."""

    text: str
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line of the table of models: what is measured, and a cell per role."""

    name: str
    note: str
    cells: tuple[Cell, ...]


def model_rows(report: Report) -> list[Row]:
    """Teacher, control and student, one line per quantity; lines with nothing are left out."""
    models, metric, fidelity = report.models, report.metric, report.fidelity
    trio = [models[role] for role in ROLES]
    latencies = [model.latency_ms for model in trio]
    first = [latency.batch_1 if latency else None for latency in latencies]
    large = [latency.batch_256 if latency else None for latency in latencies]
    ece = fidelity.ece
    errors = [ece.teacher, ece.control, ece.student] if ece else [None] * 3
    agreement = [None, fidelity.control_agreement, fidelity.agreement]
    rows = [
        Row(
            name=f"Test {form.metric_name(metric)}",
            note=form.direction(metric),
            cells=tuple(_score(model, report) for model in trio),
        ),
        _row("Parameters", "", [m.parameters for m in trio], form.count, "smaller"),
        _row("Size", "", [m.bytes for m in trio], form.size, "smaller"),
        _row("FLOPs", "per example", [m.flops_per_example for m in trio], form.count, "fewer"),
        _row("Latency", "batch of 1", first, form.milliseconds, "faster"),
        _row("Latency", "batch of 256", large, form.milliseconds, "faster"),
        _row("Calibration error", "lower is better", errors, form.percent),
        _row("Agreement", "with the teacher", agreement, form.percent),
    ]
    return [row for row in rows if any(cell.text != form.NOTHING for cell in row.cells)]


def facts(report: Report) -> list[tuple[str, str, str]]:
    """The verdict's numbers: name, number, note."""
    verdict, metric = report.verdict, report.metric
    meaning = "" if metric.higher_is_better else f"above 0: a lower {form.metric_name(metric)}"
    found = [("Gain over the control", form.gain(verdict.gain, metric), meaning)]
    if verdict.ci95 is not None:
        seeds = f"paired, over {verdict.seeds} seeds"
        found.append(("95 % interval", form.interval(verdict.ci95, metric), seeds))
    if verdict.gap_closed is not None and verdict.gap_closed >= 0:
        note = "from control to teacher"
        found.append(("Gap closed", form.percent(verdict.gap_closed, 0), note))
    teacher, student = report.models["teacher"], report.models["student"]
    smaller = form.times(teacher.parameters, student.parameters, "smaller")
    if smaller:
        found.append(("Student", smaller, "than the teacher, in parameters"))
    return found


@dataclass(frozen=True, kw_only=True)
class Strip:
    """A number line with zero, the interval, and each seed, as percentages of its width."""

    zero: float
    mean: float
    low: float
    high: float
    seeds: tuple[float, ...]


def gain_strip(report: Report) -> Strip | None:
    """The gain on a line around zero; None where there is no interval to draw."""
    verdict = report.verdict
    if verdict.ci95 is None:
        return None
    sign = 1 if report.metric.higher_is_better else -1
    student = report.models["student"].score.values
    control = report.models["control"].score.values
    paired = len(student) == len(control) > 1
    gains = [sign * (s - c) for s, c in zip(student, control, strict=True)] if paired else []
    marks = [0.0, verdict.gain, *verdict.ci95, *gains]
    low, high = min(marks), max(marks)
    room = (high - low or 1.0) * 0.06

    def place(mark: float) -> float:
        return round(100 * (mark - low + room) / (high - low + 2 * room), 2)

    return Strip(
        zero=place(0.0),
        mean=place(verdict.gain),
        low=place(verdict.ci95[0]),
        high=place(verdict.ci95[1]),
        seeds=tuple(map(place, gains)),
    )


def _score(measured: Measured, report: Report) -> Cell:
    result = measured.score
    return Cell(text=form.score(result, report.metric), note=f"n = {len(result.values)}")


def _row(
    name: str,
    note: str,
    numbers: Sequence[float | None],
    show: Callable[[float | None], str],
    better: str = "",
) -> Row:
    """A line whose student says how many times `better` than the teacher it is."""
    times = form.times(numbers[0], numbers[2], better) if better else ""
    notes = ("", "", times)
    cells = tuple(Cell(text=show(n), note=t) for n, t in zip(numbers, notes, strict=True))
    return Row(name=name, note=note, cells=cells)
