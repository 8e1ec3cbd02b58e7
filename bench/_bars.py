"""List the bars of the committed result files that do not hold; exit with 1 if there are any.

python bench/_bars.py [FOLDER]
"""

import json
import operator
import sys
from pathlib import Path

RELATIONS = {
    "<=": operator.le,
    ">=": operator.ge,
    "<": operator.lt,
    ">": operator.gt,
    "==": operator.eq,
}


def broken_bars(folder: Path) -> list[str]:
    """One line per bar that does not hold; a value that was not measured, null, never does."""
    lines = []
    for path in sorted(folder.glob("*.json")):
        for bar in json.loads(path.read_text(encoding="utf-8"))["bars"]:
            value, relation = bar["value"], bar["relation"]
            if value is None or not RELATIONS[relation](value, bar["bar"]):
                lines.append(f"{path.stem}: {bar['name']}: {value}, not {relation} {bar['bar']}")
    return lines


if __name__ == "__main__":
    results = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "results"
    broken = broken_bars(results)
    print("\n".join(broken) or "Every bar holds.")
    sys.exit(bool(broken))
