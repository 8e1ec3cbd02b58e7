"""A first table like Hinton's (2015, section 3): errors among the 10,000 test digits.

The recipe `mnist`: a teacher of 2 x 1200 units with dropout, weight constraints and 2-pixel
jitter; students of 2 x 800 without any of it, on labels, and on soft targets at T = 20. The paper
has 67 / 146 / 74 errors, one run each.

python bench/mnist.py [--out runs/mnist]   about 40 minutes on two cores; goes on where it stopped
"""

import argparse
import statistics

from _results import bar, write

from limbeck.pipeline import run
from limbeck.recipe_file import load_recipe
from limbeck.results import Measured

PUBLISHED = {"teacher": 67, "control": 146, "student": 74}


def errors(model: Measured, test: int) -> list[int]:
    """Wrong answers of each seed."""
    return [round((1 - value) * test) for value in model.score.values]


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--out", default="runs/mnist")
    report = run(load_recipe("mnist"), options.parse_args().out)
    rows = []
    for role, model in report.models.items():
        wrong = errors(model, report.data["test"])
        rows.append(
            {
                "model": role,
                "n": len(wrong),
                "errors": statistics.fmean(wrong),
                "std": statistics.stdev(wrong) if len(wrong) > 1 else None,
                "values": wrong,
                "published": PUBLISHED[role],
            }
        )
    rows.append({"verdict": report.verdict.model_dump(), "recipe": report.recipe})
    student = next(row for row in rows if row.get("model") == "student")
    write(
        "mnist",
        rows,
        [bar("mnist: mean test errors of the distilled student", student["errors"], "<", 100)],
    )


if __name__ == "__main__":
    main()
