"""Seconds per epoch of training loops on the same models and samples, interleaved.

MNIST, an MLP 1200-1200 teaching an MLP 800-800, batch 128, Adam, soft targets at T = 4:

a  a loop written by hand, supervised          b  Limbeck, supervised
d  a loop written by hand, over logits held    c  Limbeck, from a transfer set
   in memory                                   e  Limbeck, from a live teacher
g  as a, with the fused form of Adam, which    f  keras.distillation.Distiller on torch, with
   Limbeck takes by itself: what is left of       the loss that is right
   b/g is the loop alone

python bench/loop.py [--rounds 7] [--samples 60000]
"""

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from typing import Any

os.environ["KERAS_BACKEND"] = "torch"

import keras
import numpy as np
import torch
import torch.nn.functional as F
from _results import bar, write
from torch import Tensor, nn

from limbeck.data import DataSet, load
from limbeck.methods import objective, supervised
from limbeck.models import MLP
from limbeck.recipe import Train
from limbeck.signals import Batch, Dense, Rows
from limbeck.targets import TransferSet, capture
from limbeck.teachers import Teacher
from limbeck.train import Learner, Teach, fit

BATCH, TEMPERATURE, LEARNING_RATE = 128, 4.0, 1e-3
SETTINGS = Train(
    epochs=1,
    batch_size=BATCH,
    optimizer="Adam",
    learning_rate=LEARNING_RATE,
    schedule="constant",
    validate_every=0,
)


def teacher_model() -> nn.Module:
    torch.manual_seed(0)
    return MLP(784, [1200, 1200], 10)


def student_model() -> nn.Module:
    torch.manual_seed(1)
    return MLP(784, [800, 800], 10)


def bare_supervised(inputs: Tensor, labels: Tensor, *, fused: bool = False) -> None:
    model = student_model()
    optimizer = torch.optim.Adam(model.parameters(), lr=LEARNING_RATE, fused=fused or None)
    for index in torch.randperm(len(inputs)).split(BATCH):
        loss = F.cross_entropy(model(inputs[index]), labels[index])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def bare_from_logits(inputs: Tensor, logits: Tensor) -> None:
    model = student_model()
    optimizer = torch.optim.Adam(model.parameters(), lr=LEARNING_RATE)
    for index in torch.randperm(len(inputs)).split(BATCH):
        student = F.log_softmax(model(inputs[index]) / TEMPERATURE, dim=-1)
        teacher = F.log_softmax(logits[index] / TEMPERATURE, dim=-1)
        loss = F.kl_div(student, teacher, reduction="batchmean", log_target=True)
        optimizer.zero_grad()
        (loss * TEMPERATURE**2).backward()
        optimizer.step()


def limbeck_epoch(data: DataSet, teach: Teach | None) -> None:
    terms = (
        supervised(data.heads)
        if teach is None
        else objective(
            "soft_targets", data.heads, temperature=TEMPERATURE, hard_weight=0.0, soft_weight=1.0
        )
    )
    learner = Learner(name="student", model=student_model(), objective=terms)
    fit([learner], data.train, SETTINGS, heads=data.heads, seed=0, teach=teach)


def stored(data: DataSet, targets: TransferSet) -> Teach:
    aligned = targets.aligned(data.train)
    cpu = torch.device("cpu")

    def teach(batch: Batch) -> dict[str, Rows]:
        return {name: rows.to(cpu) for name, rows in aligned.rows(batch.index, 0).items()}

    return teach


def live(teacher: Teacher) -> Teach:
    def teach(batch: Batch) -> dict[str, Rows]:
        return {name: Dense(values=rows) for name, rows in teacher.logits(batch.inputs).items()}

    return teach


def keras_epoch(inputs: np.ndarray, labels: np.ndarray) -> Callable[[], Any]:
    def mlp(width: int) -> keras.Model:
        layers = keras.layers
        return keras.Sequential(
            [
                layers.Input((784,)),
                layers.Dense(width, activation="relu"),
                layers.Dense(width, activation="relu"),
                layers.Dense(10),
            ]
        )

    distiller = keras.distillation.Distiller(
        teacher=mlp(1200),
        student=mlp(800),
        distillation_losses=keras.distillation.LogitsDistillation(
            temperature=TEMPERATURE, loss=keras.losses.KLDivergence()
        ),
        student_loss_weight=0.0,
    )
    distiller.compile(
        optimizer=keras.optimizers.Adam(LEARNING_RATE),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    return lambda: distiller.fit(inputs, labels, batch_size=BATCH, epochs=1, verbose=0)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--rounds", type=int, default=7)
    options.add_argument("--samples", type=int, default=60_000)
    chosen = options.parse_args()

    data = load("idx", path="mnist", validation=0.001)
    data_set = DataSet(
        train=data.train.subset(torch.arange(min(chosen.samples, len(data.train)))),
        validation=data.validation,
        test=data.test,
        heads=data.heads,
    )
    # The loops by hand read from one float tensor; Limbeck from 8-bit images, as it always does.
    whole = data_set.train.fetch(torch.arange(len(data_set.train)))
    assert isinstance(whole.inputs, Tensor)
    inputs, labels = whole.inputs.flatten(1).contiguous(), whole.labels[data.head.name]
    teacher = Teacher(teacher_model(), data.heads)
    with tempfile.TemporaryDirectory() as folder:
        targets = capture(teacher, data_set.train, folder, temperature=TEMPERATURE)
        with torch.no_grad():
            logits = torch.cat([teacher.logits(part)["label"] for part in inputs.split(1024)])
        teach_stored, teach_live = stored(data_set, targets), live(teacher)
        loops: dict[str, Callable[[], Any]] = {
            "a bare, supervised": lambda: bare_supervised(inputs, labels),
            "b Limbeck, supervised": lambda: limbeck_epoch(data_set, None),
            "c Limbeck, stored targets": lambda: limbeck_epoch(data_set, teach_stored),
            "d bare, logits in memory": lambda: bare_from_logits(inputs, logits),
            "e Limbeck, live teacher": lambda: limbeck_epoch(data_set, teach_live),
            "f keras Distiller": keras_epoch(inputs.numpy(), labels.numpy()),
            "g bare, supervised, fused Adam": lambda: bare_supervised(inputs, labels, fused=True),
        }
        seconds: dict[str, list[float]] = {name: [] for name in loops}
        for turn in range(chosen.rounds + 1):
            names = list(loops)
            # Each round begins elsewhere, so that no loop is always after the same one.
            for name in names[turn % 7 :] + names[: turn % 7]:
                start = time.perf_counter()
                loops[name]()
                if turn:  # the first round warms up
                    seconds[name].append(time.perf_counter() - start)
            print(f"round {turn}:", {k[0]: round(v[-1], 2) for k, v in seconds.items() if v})

    def ratio(one: str, other: str) -> float:
        """Median over rounds of the ratio within a round."""
        first = next(values for name, values in seconds.items() if name.startswith(one))
        second = next(values for name, values in seconds.items() if name.startswith(other))
        return statistics.median(x / y for x, y in zip(first, second, strict=True))

    rows = [
        {
            "loop": name,
            "n": len(values),
            "seconds_per_epoch": statistics.median(values),
            "min": min(values),
            "max": max(values),
            "samples": len(inputs),
        }
        for name, values in seconds.items()
    ]
    for pair in ("ba", "bg", "cd", "da", "ea", "ed", "fa", "fc"):
        rows.append({"ratio": f"{pair[0]}/{pair[1]}", "median": ratio(pair[0], pair[1])})
    write(
        "loop",
        rows,
        [
            bar("Limbeck supervised / bare (b/a)", ratio("b", "a"), "<=", 1.05),
            bar("Limbeck stored / bare over logits (c/d)", ratio("c", "d"), "<=", 1.05),
            bar("keras Distiller / Limbeck stored (f/c)", ratio("f", "c"), ">=", 1.8),
        ],
    )


if __name__ == "__main__":
    main()
