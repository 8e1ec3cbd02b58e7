"""`limbeck tune` on a recipe that its own setting hurts: digits with every label.

The search sees training and validation data; then the recipe it found, and the one it began with,
are run to their verdicts on the test data.

python bench/tune.py [--quick]      quick: few trials; writes nothing
"""

import sys
import tempfile
import time
from pathlib import Path

from _results import bar, write

from limbeck.pipeline import run, tune
from limbeck.recipe_file import load_recipe

RECIPE = "digits-hurt"
TRIALS = 48


def main() -> None:
    quick = "--quick" in sys.argv
    recipe = load_recipe(RECIPE, ["train.epochs=5", "seeds=2"] if quick else [])
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "run"
        begun = time.perf_counter()
        found = tune(recipe, out, trials=4 if quick else TRIALS)
        minutes = (time.perf_counter() - begun) / 60
        for what, which in (("recipe", recipe), ("found", found.recipe)):
            report = run(which, out)
            (student,) = report.students.values()
            low, high = student.verdict.ci95 or (float("nan"), float("nan"))
            rows.append(
                {
                    "what": what,
                    "method": which.distil.method,
                    "temperature": which.distil.temperature or which.targets.temperature,
                    "hard_weight": which.distil.hard_weight,
                    "learning_rate": which.train.learning_rate,
                    "epochs": which.train.epochs,
                    "seeds": which.seeds,
                    "control": student.control.score.values,
                    "student": student.student.score.values,
                    "gain": student.verdict.gain,
                    "interval": [low, high],
                    "outcome": student.verdict.outcome,
                }
            )
            print(what, rows[-1])
    rows[-1] |= {"trials": len(found.trials), "minutes_of_search": minutes}
    rows[-1]["validation"] = [
        {"what": one.what, "method": one.candidate.method, "scores": one.scores}
        for one in (*found.finalists, *found.controls)
    ]
    if quick:
        print("few trials: no result file is written")
        return
    bars = [
        bar("the found setting's verdict is hurt", int(rows[-1]["outcome"] == "hurt"), "==", 0),
        bar("the recipe's own verdict is hurt", int(rows[0]["outcome"] == "hurt"), "==", 1),
    ]
    write("tune", rows, bars)


if __name__ == "__main__":
    main()
