"""`report.html`: one file that asks nobody for anything, made from the result files alone."""

import json
import re
from pathlib import Path
from typing import Any

from limbeck import _format as form
from limbeck._files import write_text
from limbeck.report._tables import ROLES, facts, gain_strip, model_rows
from limbeck.report._template import render
from limbeck.report._tree import tree_picture
from limbeck.results import Details, Report, read_results

_MAX_CARDS = 24


def write_page(folder: Path) -> Path:
    """Write `report.html` from the `report.json` and `details.json` of a run's folder.

    Args:
        folder: Where the result files lie, and where the page goes.

    Returns:
        The page's path.

    Raises:
        DataError: A result file is missing or does not say what it must.
        StorageError: The page cannot be written.
    """
    path = folder / "report.html"
    write_text(path, _render(*read_results(folder)))
    return path


def _render(report: Report, details: Details) -> str:
    # It takes a second to import plotly, and only a page needs it.
    from limbeck.report._plots import class_note, figures

    plots = figures(report, details)
    return render(
        "page.html.j2",
        name=report.recipe.get("name") or "unnamed run",
        report=report,
        details=details,
        form=form,
        roles=ROLES,
        rows=model_rows(report),
        facts=facts(report),
        strip=gain_strip(report),
        outcome_class=report.verdict.outcome.replace(" ", "-"),
        figures={name: json.loads(plot.to_json()) for name, plot in plots.items()},
        legends={name: _roles_in(plot) for name, plot in plots.items()},
        class_note=class_note(details),
        tree=tree_picture(details.tree),
        max_cards=_MAX_CARDS,
        recipe=_as_toml(report.recipe),
        versions={"limbeck": report.limbeck} | report.versions,
    )


def _roles_in(plot: Any) -> list[str]:
    """The roles a plot shows, for its legend."""
    names = {trace.name for trace in plot.data}
    return [role for role in ROLES if role in names]


def _as_toml(recipe: dict[str, Any]) -> str:
    """The recipe as TOML, an array on one line."""
    import tomli_w

    text = tomli_w.dumps(_without_none(recipe))
    # No string holds a line's end here, so a bracket or comma before one belongs to an array.
    return re.sub(r",\n *(?=\])|(?<=\[)\n *|(?<=,)\n +", _joint, text)


def _joint(gap: re.Match[str]) -> str:
    return " " if gap.start() and gap.string[gap.start() - 1] == "," else ""


def _without_none(value: Any) -> Any:
    """The same without None, which TOML cannot say: a key that is left out has its default."""
    if isinstance(value, dict):
        return {key: _without_none(inner) for key, inner in value.items() if inner is not None}
    if isinstance(value, list):
        return [_without_none(inner) for inner in value if inner is not None]
    return value
