"""Every method side by side: a student of at most 1/20 its teacher's FLOPs, and its control.

On fashion-mnist, with a convolutional teacher, but for what is for the tokens of transformers.
One run for each method, all in one folder: the same teacher, controls, samples, initial weights,
batches and steps. Methods have their own default options; labels weigh 0.1 beside 0.9 of the
method, or of soft targets beside features, whose weight is the method's own. Nothing was tuned on
the test data. On validation data, cut off the training data, the learning rate was chosen by the
control, and the temperature, T = 1 of 1, 2 and 4, by soft targets: at 4 so small a student is
worse than its control. The teacher's features are stored once, as its rows are, but for methods
that ask for its classifier. The cost is a student's seconds by its control's.

After the methods comes what stands beside one: what is set for each is in `WAYS`. The teacher is
the same, and so are controls, but for function matching (mixup), where all see new views. Then
three tables of their own, each with its controls: `simkd`, whose student ends in the classifier of
the same teacher; two teachers, that one and another of other initial weights, weighed in each way
there is; and what is for the tokens of transformers, on questions (trec6, a quarter of the labels)
beside soft targets alone, trained as the recipe `trec6` is. Nothing was chosen for any of the
three; the projection of `simkd` is as wide as 1/20 of the FLOPs allows.

With `--out` rows that are there are read, whatever the code says by now.

python bench/methods.py [--quick] [--out DIR] [METHOD ...]
"""

import argparse
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from _results import bar, write
from _side_by_side import gained, side_by_side, taps

from limbeck.methods import BESIDE, METHODS, every_method
from limbeck.results import Report

DATA = """
name = "methods"
seeds = 3

[data]
source = "idx"
path = "fashion-mnist"
limit = 12000
"""
TEACHER = """model = "cnn"
options = { channels = [32, 64, 128], dropout = 0.2 }
train = { epochs = 12, learning_rate = 2e-3 }
"""
REST = """
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
RECIPE = f"{DATA}\n[teacher]\n{TEACHER}{REST}"
OF_TWO = f"{DATA}\n[teachers.first]\n{TEACHER}\n[teachers.second]\nseed = 1\n{TEACHER}{REST}"
REUSED = [
    'students.small.model="_reused:reused"',
    "students.small.options.of=[32, 64, 128]",
    "students.small.options.inside=14",
    'distil.method="simkd"',
    'distil.taps=[{student = "projection", teacher = "features.11"}]',
    "distil.hard_weight=0.0",
    "distil.soft_weight=0.001",
]
"""As the paper: of features alone, or as good as that."""
ENSEMBLES = ("mean", "confidence", "most_confident", "by_class", "agreement")
"""How two teachers are weighed."""
QUESTIONS = """
name = "tokens"
seeds = 3

[data]
source = "trec"
path = "trec6"
labelled = 0.25

[teacher]
model = "transformers:BertForSequenceClassification"
train = { epochs = 12, batch_size = 64, learning_rate = 1e-3, warmup = 0.1, clip = 1.0 }

[teacher.options]
hidden_size = 128
num_hidden_layers = 4
num_attention_heads = 4
intermediate_size = 256
max_position_embeddings = 64
hidden_dropout_prob = 0.2

[targets]
temperature = 2.0

[students.small]
model = "transformers:BertForSequenceClassification"

[students.small.options]
hidden_size = 32
num_hidden_layers = 2
num_attention_heads = 4
intermediate_size = 64
max_position_embeddings = 64

[distil]
hard_weight = 0.1
soft_weight = 0.9

[train]
epochs = 10
batch_size = 64
learning_rate = 3e-3
warmup = 0.1
clip = 1.0
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
FIRST = ("bert.encoder.layer.0", "bert.encoder.layer.1")
LAST = ("bert.encoder.layer.1", "bert.encoder.layer.3")
"""A student's layers, and its teacher's, which has two for each."""


def inside(layers: tuple[str, str], *parts: str) -> list[tuple[str, str]]:
    """Modules of a layer of the student's, and of one of the teacher's."""
    return [(f"{layers[0]}{part}", f"{layers[1]}{part}") for part in parts]


QUERY, KEY, VALUE = (f".attention.self.{part}" for part in ("query", "key", "value"))
OF_TOKENS = {
    "pkd": [FIRST],
    "minilm": inside(LAST, QUERY, KEY, VALUE),
    "tinybert": [*inside(FIRST, QUERY, KEY, ""), *inside(LAST, QUERY, KEY, "")],
    "distilbert": [LAST],
}
"""Where each method for tokens looks: paths in student and teacher."""
IMAGES = (*METHODS, *TAPS, *WAYS)
QUESTIONED = ("soft_targets: questions", *OF_TOKENS)
HEADS = {"minilm": "relation_heads=4", "tinybert": "heads=4"}
"""As many as both transformers have."""


def overrides(method: str) -> list[str]:
    """What is set for a method of images, or what stands beside one."""
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


def of_tokens(method: str) -> list[str]:
    """What is set for a method for tokens."""
    if method not in OF_TOKENS:
        return []
    options = [f"distil.options.{HEADS[method]}"] if method in HEADS else []
    return [
        f"distil.method={method}",
        taps(OF_TOKENS[method]),
        "targets.features=true",
        *options,
    ]


def row(method: str, report: Report) -> dict[str, Any]:
    return gained(method, report) | {
        "kl_to_teacher": report.fidelity.model_dump(),
        "flops": {role: one.flops_per_example for role, one in report.models.items()},
    }


def measured(out: Path, names: Sequence[str], plain: Sequence[str]) -> list[dict[str, Any]]:
    """A row each, of all that are asked for."""

    def table(
        folder: Path,
        recipe: str,
        said: Mapping[str, Sequence[str]],
        data: str = "fashion-mnist",
        plain: Sequence[str] = plain,
    ) -> list[dict[str, Any]]:
        asked = {each: [*set_to, *plain] for each, set_to in said.items() if each in names}
        rows = side_by_side("methods", recipe, asked, row, folder)
        return [one | {"data": data} for one in rows]

    rows = table(out, RECIPE, {name: overrides(name) for name in IMAGES})
    weights = out.resolve() / "run" / "teacher" / "teacher.safetensors"
    reused = [f"teacher.weights={weights}", f"students.small.options.teacher={weights}"]
    rows += table(out / "reused", RECIPE, {"simkd": [*REUSED, *reused]})
    how = {f"teachers: {how}": [f"ensemble.how={how}"] for how in ENSEMBLES}
    of_each = [
        one.replace("teacher.", f"teachers.{which}.")
        for one in plain
        for which in ("first", "second")
    ]
    rows += table(out / "teachers", OF_TWO, how, plain=of_each)
    tokens = {name: of_tokens(name) for name in QUESTIONED}
    return rows + table(out / "tokens", QUESTIONS, tokens, "trec6")


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("methods", nargs="*", metavar="METHOD")
    options.add_argument("--quick", action="store_true", help="600 images, an epoch, two seeds")
    options.add_argument("--out", help="the run's folder, to go on from")
    chosen = options.parse_args()
    everything = [*IMAGES, "simkd", *(f"teachers: {how}" for how in ENSEMBLES), *QUESTIONED]
    known = every_method() | BESIDE
    missing = known.keys() - {method_of(name) for name in everything}
    assert not missing, f"say how {missing} are measured"
    names = chosen.methods or everything
    plain = QUICK if chosen.quick else []
    with tempfile.TemporaryDirectory() as temporary:
        rows = measured(Path(chosen.out or temporary), names, plain)
    if chosen.quick or chosen.methods:
        print("not all of it: no result file is written")
        return
    told = {name: each.card.hurt for name, each in every_method().items()}
    told |= {name: each.hurt for name, each in BESIDE.items()}
    silent = [
        one["method"]
        for one in rows
        if one["outcome"] == "hurt" and not told[method_of(one["method"])]
    ]
    named = f": {', '.join(silent)}" if silent else ""
    flops = [one["flops"]["student"] / one["flops"]["teacher"] for one in rows]
    write(
        "methods",
        rows,
        [
            bar(
                "side by side: cards of which nothing is measured",
                len(known.keys() - {method_of(one["method"]) for one in rows}),
                "<=",
                0,
            ),
            bar("side by side: seeds of each method", min(one["n"] for one in rows), ">=", 3),
            bar(
                "side by side: students' FLOPs by their teacher's, at most",
                max(flops),
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


def method_of(row: str) -> str:
    """Whose row it is: "teachers: mean" is one of "teachers"."""
    return row.partition(":")[0]


if __name__ == "__main__":
    main()
