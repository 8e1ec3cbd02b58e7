"""Methods one after the other in one folder: the same teacher, controls, samples and steps."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from limbeck._files import fingerprint, write_json
from limbeck.pipeline import run
from limbeck.recipe_file import load_recipe
from limbeck.results import Report


def taps(paths: Sequence[str | tuple[str, str]]) -> str:
    """The override that lets a method of features look at these paths: the same in both models,
    or the student's and the teacher's."""
    pairs = [(path, path) if isinstance(path, str) else path for path in paths]
    said = ", ".join(f'{{student = "{ours}", teacher = "{theirs}"}}' for ours, theirs in pairs)
    return f"distil.taps=[{said}]"


def side_by_side(
    name: str,
    recipe: str,
    methods: Mapping[str, Sequence[str]],
    row: Callable[[str, Report], dict[str, Any]],
    folder: Path,
) -> list[dict[str, Any]]:
    """Run a recipe with the overrides of each method, and print what came of it.

    Args:
        name: Of the recipe's file.
        recipe: Its text.
        methods: By method, what is set.
        row: What is kept of a method's report, with what is `gained`.
        folder: To go on from. What is measured there is read.
    """
    rows = []
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{name}.toml"
    file.write_text(recipe, encoding="utf-8")
    for method, said in methods.items():
        kept = folder / f"{fingerprint([recipe, method, list(said)])}.json"
        if kept.is_file():
            rows.append(json.loads(kept.read_text(encoding="utf-8")))
        else:
            rows.append(row(method, run(load_recipe(str(file), list(said)), folder / "run")))
            write_json(kept, rows[-1])
        _show(rows[-1])
    return rows


def _show(row: Mapping[str, Any]) -> None:
    low, high = row["ci95"] or (float("nan"), float("nan"))
    print(
        f"{row['method']:18} {row['outcome']:10} {100 * row['gain']:+6.2f} points "
        f"({100 * low:+.2f} to {100 * high:+.2f}), {row['cost_factor']:.2f} x",
        flush=True,
    )


def cost_factor(report: Report) -> float:
    """A student's seconds by its control's."""
    seconds = {stage.name: stage.seconds for stage in report.ledger.stages}
    return seconds["distil"] / seconds["control"]


def gained(method: str, report: Report) -> dict[str, Any]:
    """What a row of any such table has."""
    verdict = report.verdict
    return {
        "method": method,
        "outcome": verdict.outcome,
        "n": verdict.seeds,
        "gain": verdict.gain,
        "ci95": verdict.ci95,
        "cost_factor": cost_factor(report),
        "scores": {role: one.score.model_dump() for role, one in report.models.items()},
    }
