"""Every method side by side: fashion-mnist, a convolutional teacher, a student of 1/25 its FLOPs.

One run for each method, all in one folder: the same teacher, controls, samples, initial weights,
batches and steps. Methods have their own default options; labels weigh 0.1 beside 0.9 of the
method, or of soft targets beside features, whose weight is the method's own. Nothing was tuned on
the test data. On validation data, cut off the training data, the learning rate was chosen by the
control, and the temperature, T = 1 of 1, 2 and 4, by soft targets: at 4 so small a student is
worse than its control. The teacher's features are stored once, as its rows are, but for methods
that ask for its classifier. The cost is a student's seconds by its control's.

After the methods comes what stands beside one: what is set for each is in `WAYS`. The teacher is
the same, and so are controls, but for function matching (mixup), where all see new views.

python bench/methods.py [--quick] [--out DIR] [METHOD ...]
"""

import argparse
from collections.abc import Sequence
from typing import Any

from _results import bar, write
from _side_by_side import gained, side_by_side, taps

from limbeck.methods import BESIDE, METHODS, every_method
from limbeck.methods.features import FEATURE_METHODS
from limbeck.results import Report

RECIPE = """
name = "methods"
seeds = 3

[data]
source = "idx"
path = "fashion-mnist"
limit = 12000

[teacher]
model = "cnn"
options = { channels = [32, 64, 128], dropout = 0.2 }
train = { epochs = 12, learning_rate = 2e-3 }

[targets]
temperature = 1.0

[students.small]
model = "cnn"
options = { channels = [6, 12, 24] }

[distil]
hard_weight = 0.1
soft_weight = 0.9

[train]
epochs = 12
learning_rate = 2e-2
validate_every = 0
"""
QUICK = ["data.limit=600", "train.epochs=1", "teacher.train.epochs=1", "seeds=2"]
STAGES = ["features.3", "features.7", "features.11"]
BEFORE_RELU = ["features.1", "features.5", "features.9"]
POOLED = ["dropout"]
TAPS = {
    "fitnets": ["features.7"],
    "at": STAGES,
    "fsp": ["features.5", "features.6"],
    "nst": ["features.11"],
    "sp": ["features.11"],
    "pkt": POOLED,
    "rkd": POOLED,
    "cc": POOLED,
    "cka": POOLED,
    "vid": STAGES,
    "ab": BEFORE_RELU,
    "ft": ["features.11"],
    "ofd": BEFORE_RELU,
    "crd": POOLED,
    "reviewkd": STAGES,
    "semckd": STAGES,
    "srrl": ["features.11"],
    "catkd": ["features.11"],
    "mgd": ["features.11"],
    "cwd": ["features.11"],
}
"""Where each method of features for images looks, the same path in both models."""
OF_CLASSIFIERS = ("srrl", "catkd")
"""Which need the live teacher's last layer."""
OF_TOKENS = "is for the tokens of a transformer"
HELD_BACK = {
    "simkd": "needs a student that ends in the teacher's classifier",
    "pkd": OF_TOKENS,
    "minilm": OF_TOKENS,
    "tinybert": OF_TOKENS,
    "distilbert": OF_TOKENS,
    "teachers": "needs a second teacher",
}
"""What is not for these models."""
WAYS = {
    "anneal": ["distil.anneal={soft_weight=0.0, hard_weight=1.0}"],
    "balance": ["distil.balance=20"],
    "generations": ["distil.generations=3"],
    "assistants": ["assistants.middle={model='cnn', options={channels=[14, 28, 56]}}"],
    "ema": ["distil.ema={weight=1.0, decay=0.99}"],
    "branches": ["distil.branches={taps=['features.3', 'features.7']}"],
    "mutual_weight": [
        "students.peer={model='cnn', options={channels=[6, 12, 24]}}",
        "distil.mutual_weight=0.5",
    ],
    "mixup": [
        "data.augment={shift=2, flip=true}",
        "train.views=true",
        "distil.live=true",
        "distil.mixup=true",
        "distil.hard_weight=0",
        "distil.soft_weight=1",
    ],
    "start": ["students.small.start.how=width"],
    "progressive": [
        "distil.method=at",
        taps(STAGES),
        "targets.features=true",
        "distil.progressive=0.5",
    ],
}
"""What stands beside a method, soft targets but for one, by its card, and what is set for it."""


def overrides(method: str) -> list[str]:
    if method in WAYS:
        return WAYS[method]
    said = [f"distil.method={method}"]
    if method in TAPS:
        said.append(taps(TAPS[method]))
        if method not in OF_CLASSIFIERS:
            said.append("targets.features=true")
    if method == "label_smoothing":  # it is what labels are here
        said.append("distil.hard_weight=0")
    return said


def row(method: str, report: Report) -> dict[str, Any]:
    return gained(method, report) | {
        "kl_to_teacher": report.fidelity.model_dump(),
        "flops": {role: one.flops_per_example for role, one in report.models.items()},
        "taps": TAPS.get(method, []),
    }


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("methods", nargs="*", metavar="METHOD")
    options.add_argument("--quick", action="store_true", help="600 images, an epoch, two seeds")
    options.add_argument("--out", help="the run's folder, to go on from")
    chosen = options.parse_args()
    names: Sequence[str] = chosen.methods or [*METHODS, *TAPS, *WAYS]
    missing = FEATURE_METHODS.keys() - TAPS.keys() - HELD_BACK.keys()
    assert not missing, f"say where {missing} look"
    said = {name: overrides(name) + (QUICK if chosen.quick else []) for name in names}
    rows = side_by_side("methods", RECIPE, said, row, chosen.out)
    if chosen.quick or chosen.methods:
        print("not all of it: no result file is written")
        return
    told = {name: each.card.hurt for name, each in every_method().items()}
    told |= {name: each.hurt for name, each in BESIDE.items()}
    silent = [one["method"] for one in rows if one["outcome"] == "hurt" and not told[one["method"]]]
    named = f": {', '.join(silent)}" if silent else ""
    flops = rows[0]["flops"]
    write(
        "methods",
        rows,
        [
            bar("side by side: methods measured", len(rows), ">=", len(told.keys() - HELD_BACK)),
            bar("side by side: seeds of each method", min(one["n"] for one in rows), ">=", 3),
            bar(
                "side by side: the student's FLOPs by the teacher's",
                flops["student"] / flops["teacher"],
                "<=",
                1 / 20,
            ),
            bar(
                f"side by side: methods that hurt, of which no card says so{named}",
                len(silent),
                "<=",
                0,
            ),
        ],
    )


if __name__ == "__main__":
    main()
