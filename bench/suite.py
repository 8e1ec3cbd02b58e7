"""How long the tests take, and how many of the package's lines they run.

python bench/suite.py
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from _results import bar, write

ROOT = Path(__file__).parents[1]


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        found = Path(folder) / "coverage.json"
        command = [sys.executable, "-m", "pytest", "-n", "2", "--dist", "loadfile"]
        command += ["--no-loadscope-reorder", "--cov"]
        begun = time.perf_counter()
        done = subprocess.run(
            [*command, f"--cov-report=json:{found}"],
            cwd=ROOT,
            env=os.environ | {"CI": "true"},
            check=False,
            capture_output=True,
            text=True,
        )
        minutes = (time.perf_counter() - begun) / 60
        totals = json.loads(found.read_text(encoding="utf-8"))["totals"]
    lines = done.stdout.strip().splitlines()
    print("\n".join(line for line in lines if line.startswith(("FAILED", "ERROR"))))
    summary = lines[-1]
    print(summary)
    write(
        "suite",
        [{"summary": summary, "minutes": minutes, "lines": totals["num_statements"]}],
        [
            bar("lines of the package that tests run, %", totals["percent_covered"], ">=", 95),
            bar("the suite, minutes", minutes, "<", 8),
            bar("exit status of pytest", done.returncode, "==", 0),
        ],
    )


if __name__ == "__main__":
    main()
