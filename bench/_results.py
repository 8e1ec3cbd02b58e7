"""Write a benchmark's result file: what was measured, on what, and whether the bars hold."""

import sys
from pathlib import Path
from typing import Any

from _bars import RELATIONS

from limbeck._files import write_json
from limbeck.results import machine, versions

RESULTS = Path(__file__).parent / "results"


def bar(name: str, value: float | None, relation: str, wanted: float) -> dict[str, Any]:
    """One figure, and what it must be."""
    return {"name": name, "value": value, "relation": relation, "bar": wanted}


def write(name: str, rows: list[dict[str, Any]], bars: list[dict[str, Any]]) -> None:
    """Write `bench/results/NAME.json`, and print each bar.

    Of the command `--out` is left out: a folder of one machine, which changes no figure.
    """
    given = list(sys.argv[1:])
    if "--out" in given:
        at = given.index("--out")
        del given[at : at + 2]
    command = " ".join(["python", f"bench/{Path(sys.argv[0]).name}", *given])
    found = {
        "command": command,
        "machine": machine(),
        "versions": versions(),
        "rows": rows,
        "bars": bars,
    }
    write_json(RESULTS / f"{name}.json", found)
    for each in bars:
        value, relation, wanted = each["value"], each["relation"], each["bar"]
        holds = value is not None and RELATIONS[relation](value, wanted)
        shown = "not measured" if value is None else f"{value:.4g}"
        print(f"{'holds ' if holds else 'BROKEN'} {each['name']}: {shown} {relation} {wanted}")
