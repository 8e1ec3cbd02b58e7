"""What a newcomer waits for: the main job's time, the size of an install, and `--help`.

A new environment is made from this checkout in a temporary folder, with the lean core only.
Downloads are not counted: packages come from pip's cache, and the time of pip is given apart.

python bench/install.py
"""

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from _results import bar, write

ROOT = Path(__file__).parents[1]
TORCH = ("torch", "nvidia", "triton", "cuda")
"""How the folders of torch and of what it brings for GPUs begin."""


def size_mib(folder: Path) -> float:
    """Bytes of all files below a folder, in MiB; links count once."""
    return sum(path.lstat().st_size for path in folder.rglob("*") if path.is_file()) / 2**20


def seconds(command: list[str], folder: Path) -> float:
    """Wall time of a command that must succeed."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("OMP_", "PYTHON"))}
    begun = time.perf_counter()
    subprocess.run(command, cwd=folder, env=environment, check=True, capture_output=True)
    return time.perf_counter() - begun


def main() -> None:
    rows = []
    with tempfile.TemporaryDirectory() as name:
        clone = Path(name) / "limbeck"
        subprocess.run(["git", "clone", "-q", str(ROOT), str(clone)], check=True)
        set_up = seconds(["make", f"PYTHON={sys.executable}", ".venv/core.stamp"], clone)
        packages = next((clone / ".venv/lib").glob("python*/site-packages"))
        largest = sorted(
            ((size_mib(path), path.name) for path in packages.iterdir() if path.is_dir()),
            reverse=True,
        )[:5]
        total = size_mib(packages)
        of_torch = [path for path in packages.iterdir() if path.name.startswith(TORCH)]
        beside = total - sum(map(size_mib, of_torch))
        demo = []
        for _ in range(3):
            shutil.rmtree(clone / "runs", ignore_errors=True)
            demo.append(seconds(["make", "demo"], clone))
        help_ = [seconds([".venv/bin/limbeck", "--help"], clone) for _ in range(11)]
        own = size_mib(clone / "limbeck")
    rows.append({"what": "pip, packages in its cache (s)", "value": set_up, "n": 1})
    rows.append(
        {
            "what": "lean core installed (MiB)",
            "value": total,
            "of which": {name: round(size, 1) for size, name in largest},
        }
    )
    rows.append({"what": "limbeck itself (MiB)", "value": own})
    rows.append({"what": "clean clone to first verdict, set-up too (s)", "value": set_up + demo[0]})
    rows.append(
        {
            "what": "make demo, main job (s)",
            "n": len(demo),
            "median": statistics.median(demo),
            "values": demo,
        }
    )
    rows.append({"what": "limbeck --help (s)", "n": len(help_), "median": statistics.median(help_)})
    write(
        "install",
        rows,
        [
            bar("make demo, main job, s", statistics.median(demo), "<", 60),
            bar("limbeck --help, s", statistics.median(help_), "<", 0.5),
            bar("lean core beside torch, MiB (a bar of our own)", beside, "<", 1024),
        ],
    )


if __name__ == "__main__":
    main()
