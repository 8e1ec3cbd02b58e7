"""The CIFAR students of the papers on cifar10-jpeg: six methods against the control, on a GPU.

ResNet-56 teaches ResNet-20, the pair of CRD's table. What the teacher says of an image's views
(moved by up to 4 pixels, mirrored: 162, or as many as there are epochs) is stored once; each epoch
shows every image in another view, whose own rows are read. Images lie on the GPU as bytes; bf16,
channels last, CUDA graphs.

One run for each method, all in one folder: the same teacher, rows, controls, initial weights,
batches and steps. Weights, temperatures and options are the methods' papers', and nothing was tuned
on the test data. Papers train with batches of 64 and three falls of the learning rate; here are
batches of 250 and a cosine, and a teacher of 30 epochs at least: after 4 it is worse than its
students' controls. The images are JPEGs: scores are not those of published tables.

python bench/cifar.py [--epochs N] [--seeds N] [--small] [--out DIR] [METHOD ...]
"""

import argparse
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from _results import bar, write
from _side_by_side import gained, side_by_side, taps

from limbeck.results import Report

VIEWS = 162
"""9 x 9 places of a 32 x 32 crop in an image padded by 4, each of them mirrored too."""
TEACHER_EPOCHS = 30
"""At least; a deep network begins slowly."""
RECIPE = """
name = "cifar"

[data]
source = "_cifar:cifar10"
path = "cifar10-jpeg"
validation = 0.02
resident = true
augment = { shift = 4, flip = true }

[teacher]
model = "cifar_resnet"
options = { depth = 56 }

[teacher.train]
views = true
TRAIN
[students.small]
model = "cifar_resnet"
options = { depth = 20 }

[train]
TRAIN"""
TRAIN = """batch_size = 250
optimizer = "SGD"
optimizer_options = { momentum = 0.9, weight_decay = 5e-4 }
learning_rate = 0.1
warmup = 0.02
precision = "bf16"
channels_last = true
cuda_graphs = true
validate_every = 0
"""
SHARED = ("teacher", "targets", "control")
"""Stages that are done once for all methods."""
SMALL = [
    "data.options.each=20",
    "data.validation=0.1",
    "train.batch_size=60",
    "teacher.train.batch_size=60",
    "teacher.options.depth=8",
    "teacher.options.channels=[4, 4, 8, 16]",
    "students.small.options.depth=8",
    "students.small.options.channels=[2, 2, 4, 8]",
]
"""180 images, and two thin ResNet-8."""
SMALL_OPTIONS = {"crd": ["distil.options.negatives=64"], "reviewkd": ["distil.options.channels=16"]}
STAGES = ["stages.0", "stages.1", "stages.2"]
METHODS: dict[str, list[str]] = {
    "soft_targets": ["distil.soft_weight=0.9", "distil.hard_weight=0.1"],
    "dkd": ["distil.soft_weight=1", "distil.hard_weight=1"],
    "dist": ["distil.soft_weight=2", "distil.hard_weight=1"],
    "lskd": ["distil.temperature=2", "distil.soft_weight=9", "distil.hard_weight=0.1"],
    "crd": ["distil.soft_weight=1", "distil.hard_weight=1"],
    "reviewkd": ["distil.soft_weight=0", "distil.hard_weight=1"],
}
"""What each method's paper, or its code, sets on CIFAR; soft targets are at T = 4."""
TAPS = {"crd": ["pool"], "reviewkd": STAGES}
"""Where a method of features looks, the same path in both models."""
STORED = ("crd",)
"""Methods whose features are small enough to be stored for every view: 64 bytes of each."""


def overrides(method: str, *, epochs: int, seeds: int, small: bool) -> list[str]:
    said = [
        f"distil.method={method}",
        f"seeds={seeds}",
        f"train.epochs={epochs}",
        f"teacher.train.epochs={epochs if small else max(epochs, TEACHER_EPOCHS)}",
        f"targets.views={min(epochs, VIEWS)}",
        *METHODS[method],
    ]
    if method in TAPS:
        said.append(taps(TAPS[method]))
    if method in STORED:
        said.append("targets.features=true")
    if small:
        said += [*SMALL, *SMALL_OPTIONS.get(method, [])]
    return said


def row(method: str, report: Report, device: str, epochs: int) -> dict[str, Any]:
    return gained(method, report) | {
        "gap_closed": report.verdict.gap_closed,
        "epochs": epochs,
        "views": None if report.targets is None else report.recipe["targets"]["views"],
        "seconds_by_stage": {stage.name: stage.seconds for stage in report.ledger.stages},
        "parameters": {role: one.parameters for role, one in report.models.items()},
        "agreement": report.fidelity.agreement,
        "device": device,
    }


def minutes(rows: Sequence[Mapping[str, Any]]) -> float:
    """Of every stage of all methods; of what they share once, but for what one asks besides."""
    shared = {name: min(one["seconds_by_stage"][name] for one in rows) for name in SHARED}
    own = (sum(one["seconds_by_stage"].values()) - sum(shared.values()) for one in rows)
    return (sum(shared.values()) + sum(own)) / 60


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("methods", nargs="*", metavar="METHOD", help=", ".join(METHODS))
    options.add_argument("--epochs", type=int, default=VIEWS)
    options.add_argument("--seeds", type=int, default=3)
    options.add_argument("--small", action="store_true", help="two epochs of 180 images, two seeds")
    options.add_argument("--out", help="the run's folder, to go on from")
    chosen = options.parse_args()
    names: Sequence[str] = chosen.methods or list(METHODS)
    unknown = [name for name in names if name not in METHODS]
    if unknown:
        options.error(f"no method {', '.join(unknown)} here: there are {', '.join(METHODS)}")
    epochs, seeds = (2, 2) if chosen.small else (chosen.epochs, chosen.seeds)
    on_gpu = torch.cuda.is_available()
    device = torch.cuda.get_device_name() if on_gpu else "CPU"
    said = {name: overrides(name, epochs=epochs, seeds=seeds, small=chosen.small) for name in names}
    with tempfile.TemporaryDirectory() as temporary:
        rows = side_by_side(
            "cifar",
            RECIPE.replace("TRAIN", TRAIN),
            said,
            lambda method, report: row(method, report, device, epochs),
            Path(chosen.out or temporary),
        )
    if chosen.small or chosen.methods or not on_gpu:
        print("not all of it, or not on a GPU: no result file is written")
        return
    scores = rows[0]["scores"]
    write(
        "cifar",
        rows,
        [
            bar("cifar: methods measured", len(rows), ">=", len(METHODS)),
            bar("cifar: seeds of each", min(one["n"] for one in rows), ">=", 3),
            bar(
                "cifar: the teacher's accuracy - the control's",
                scores["teacher"]["mean"] - scores["control"]["mean"],
                ">",
                0.0,
            ),
            *(
                bar(
                    f"cifar, {one['method']}: gain over the control, points",
                    100 * one["gain"],
                    ">",
                    0.0,
                )
                for one in rows
            ),
            bar("cifar: minutes on the GPU in all", minutes(rows), "<=", 60.0),
        ],
    )


if __name__ == "__main__":
    main()
