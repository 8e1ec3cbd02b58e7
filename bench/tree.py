"""A soft decision tree on MNIST, distilled against hard labels (Frosst & Hinton 2017).

The recipe `mnist-tree`: a convolutional teacher, and trees of eight decisions from labels and from
the teacher, once for each temperature below: the same teacher, stored rows, controls and seeds. The
temperature is chosen on the validation data; the test data are only looked at for what is written.
Beside the answer of the leaf that is most probably reached, which is the paper's and can be read
off the tree, there is that of the mean of all leaves, of trees that learned the same.

The paper (https://arxiv.org/abs/1711.09784) has 94.45 % at most from labels, and 96.76 % from a
convolutional network of 99.21 %.

python bench/tree.py [--quick] [--out runs/tree]   goes on where it stopped
"""

import argparse
import json
import statistics
import tempfile
from pathlib import Path
from typing import Any

from _results import bar, write

from limbeck._files import write_json
from limbeck.pipeline import run
from limbeck.recipe import Recipe, Student
from limbeck.recipe_file import load_recipe
from limbeck.results import Measured, read_results

TEMPERATURES = (1.0, 2.0)
LEAF, MIXTURE = "tree", "mixture"
PUBLISHED = {"teacher": 99.21, "control": 94.45, "student": 96.76}
QUICK = ["data.limit=600", "teacher.train.epochs=1", "train.epochs=1", "seeds=2"]


def recipe(temperature: float, *, quick: bool) -> Recipe:
    """The shipped one, with a second tree that answers with the mean of its leaves."""
    said = [f"distil.temperature={temperature}", *(QUICK if quick else [])]
    plain = load_recipe("mnist-tree", said)
    tree = plain.students[LEAF]
    mixture = Student(model=tree.model, options={**tree.options, "answer": "mixture"})
    return plain.model_copy(update={"students": {LEAF: tree, MIXTURE: mixture}})


def points(model: Measured) -> dict[str, Any]:
    values = [100 * value for value in model.score.values]
    std = statistics.stdev(values) if len(values) > 1 else None
    return {"n": len(values), "accuracy": statistics.fmean(values), "std": std, "values": values}


def measured(temperature: float, folder: Path, *, quick: bool) -> dict[str, Any]:
    """Trees of one temperature; what was measured already is read."""
    kept = folder / f"T{temperature:g}.json"
    if kept.is_file():
        found: dict[str, Any] = json.loads(kept.read_text(encoding="utf-8"))
        return found
    report = run(recipe(temperature, quick=quick), folder / "run")
    # The last epoch's: it chooses the temperature.
    last = [
        curve.validation[-1]
        for curve in read_results(folder / "run")[1].curves
        if curve.role == "student"
    ]
    found = {
        "temperature": temperature,
        "validation": statistics.fmean(score for score in last if score is not None)
        if any(last)
        else None,
        "teacher": points(report.models["teacher"]),
        "verdict": report.verdict.model_dump(),
        "recipe": report.recipe,
    }
    for name, pair in report.students.items():
        found[name] = {"control": points(pair.control), "student": points(pair.student)}
    write_json(kept, found)
    return found


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--quick", action="store_true", help="600 images, an epoch, two seeds")
    options.add_argument("--out", default="runs/tree", help="the folder, to go on from")
    chosen = options.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name if chosen.quick else chosen.out)
        folder.mkdir(parents=True, exist_ok=True)
        rows = []
        for temperature in TEMPERATURES:
            rows.append(row := measured(temperature, folder, quick=chosen.quick))
            for tree in (LEAF, MIXTURE):
                hard, soft = (row[tree][role]["accuracy"] for role in ("control", "student"))
                said = (
                    f"T = {temperature:g}, {tree}: {hard:.2f} % from labels, {soft:.2f} distilled"
                )
                print(said, flush=True)
    if chosen.quick:
        print("not all of it: no result file is written")
        return
    best = max(rows, key=lambda row: row["validation"])
    best["chosen"] = True
    for row in rows:
        row["published"] = PUBLISHED
    control, student = best[LEAF]["control"], best[LEAF]["student"]
    at = f"T = {best['temperature']:g}, chosen on validation data"
    write(
        "tree",
        rows,
        [
            bar("soft decision tree: seeds", student["n"], ">=", 3),
            bar(
                f"soft decision tree: accuracy distilled less that from labels, points ({at})",
                student["accuracy"] - control["accuracy"],
                ">",
                0,
            ),
            bar(
                f"soft decision tree: accuracy distilled, % ({at})",
                student["accuracy"],
                ">=",
                PUBLISHED["student"],
            ),
        ],
    )


if __name__ == "__main__":
    main()
