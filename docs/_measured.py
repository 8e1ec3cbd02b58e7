"""What the committed result files say: a page of every bar, and in short for README.md."""

import ast
import json
import operator
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

BENCH = Path(__file__).parent.parent / "bench"
HOLDS = {
    "<=": operator.le,
    "<": operator.lt,
    ">=": operator.ge,
    ">": operator.gt,
    "==": operator.eq,
}
HEAD = """# What was measured

Every bar of every committed result file: what is wanted, what came out, and on what. `python bench/NAME.py` measures it again, and writes
`bench/results/NAME.json`, which has each row, seed and spread behind these lines; `make bench` runs all and ends with the bars that do not hold.
Why one is not met, and what was tried, is in [log.md](log.md). This page is made by `docs/make_pages.py`.
"""
TABLE = ["| what | measured | wanted |", "|---|---|---|"]


def bars_page() -> str:
    """Each result file with its bars, and the errors on MNIST beside the published ones."""
    parts = [HEAD]
    for name, result in _results():
        tree = ast.parse((BENCH / f"{name}.py").read_text(encoding="utf-8"))
        about = (ast.get_docstring(tree) or "").partition("\n\n")[0]
        parts += [f"## {name}\n", f"{' '.join(about.split())}\n", f"{_machine(result)}\n", *TABLE]
        parts += _published(result["rows"]) if name == "hinton" else []
        parts += [_line(bar) for bar in result["bars"]]
        parts.append("")
    return "\n".join(parts)


def in_short() -> str:
    """How many bars there are, and those that are not met."""
    bars = [bar for _, result in _results() for bar in result["bars"]]
    missed = [_line(bar) for bar in bars if not _holds(bar)]
    return "\n".join(
        [
            f"{len(bars) - len(missed)} of {len(bars)} bars are met. [All of them](docs/bars.md); "
            "and here those that are not, whose story is in [`docs/log.md`](docs/log.md):\n",
            *TABLE,
            *missed,
        ]
    )


def _results() -> Iterator[tuple[str, dict[str, Any]]]:
    for path in sorted((BENCH / "results").glob("*.json")):
        yield path.stem, json.loads(path.read_text(encoding="utf-8"))


def _machine(result: Mapping[str, Any]) -> str:
    """On what it was measured."""
    machine, versions = result["machine"], result["versions"]
    device = result["rows"][0].get("device", f"{machine['processor']}, {machine['cores']} cores")
    return f"`{result['command']}`, {device}, torch {versions['torch']}."


def _published(rows: list[dict[str, Any]]) -> list[str]:
    lines = []
    for row in rows:
        if "published" in row:
            spread = "" if row["std"] is None else f" ± {row['std']:.1f}"
            lines.append(
                f"| test errors of the {row['model']}, n = {row['n']} | "
                f"{row['errors']:.1f}{spread} | {row['published']} published |"
            )
    return lines


def _holds(bar: Mapping[str, Any]) -> bool:
    return bool(HOLDS[bar["relation"]](bar["value"], bar["bar"]))


def _line(bar: Mapping[str, Any]) -> str:
    missed = "" if _holds(bar) else ", **not met**"
    return f"| {bar['name']} | {bar['value']:.4g} | {bar['relation']} {bar['bar']}{missed} |"
