"""How long `make test` takes, and how many of the package's lines it runs.

Lines are counted in a second run, as `make check` does: the tracer takes a third of the time.

python bench/suite.py
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from _results import bar, write

ROOT = Path(__file__).parents[1]


def run(*coverage: str) -> dict[str, Any]:
    """One run of the suite."""
    command = [sys.executable, "-m", "pytest", "-n", "2", "--dist", "loadfile"]
    begun = time.perf_counter()
    done = subprocess.run(
        [*command, "--no-loadscope-reorder", *coverage],
        cwd=ROOT,
        env=os.environ | {"CI": "true"},
        check=False,
        capture_output=True,
        text=True,
    )
    minutes = (time.perf_counter() - begun) / 60
    lines = done.stdout.strip().splitlines()
    print("\n".join(line for line in lines if line.startswith(("FAILED", "ERROR"))))
    print(lines[-1], flush=True)
    return {"summary": lines[-1], "minutes": minutes, "status": done.returncode}


def main() -> None:
    plain = {"run": "make test", **run()}
    with tempfile.TemporaryDirectory() as folder:
        found = Path(folder) / "coverage.json"
        traced = {"run": "with coverage", **run("--cov", f"--cov-report=json:{found}")}
        totals = json.loads(found.read_text(encoding="utf-8"))["totals"]
    traced["lines"] = totals["num_statements"]
    write(
        "suite",
        [plain, traced],
        [
            bar("lines of the package that tests run, %", totals["percent_covered"], ">=", 95),
            bar("the suite, minutes", plain["minutes"], "<", 8),
            bar("exit status of pytest", plain["status"], "==", 0),
            bar("exit status of pytest with coverage", traced["status"], "==", 0),
        ],
    )


if __name__ == "__main__":
    main()
