"""Train a model on labels alone."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from limbeck._outputs import Outputs
from limbeck._progress import Progress, Silence
from limbeck.api._given import Given, check_trained
from limbeck.methods import supervised
from limbeck.recipe import Train
from limbeck.signals import Head
from limbeck.train import History, Learner, Order


def supervise(
    model: nn.Module,
    data: Any,
    train: Train = Train(),  # noqa: B008  (frozen)
    *,
    outputs: Outputs = "logits",
    heads: Sequence[Head] = (),
    seed: int = 0,
    checkpoint: str | Path | None = None,
    log_folder: str | Path | None = None,
    progress: Progress = Silence(),  # noqa: B008  (it holds nothing)
) -> History:
    """Train `model` on labels alone: a teacher, or a control; it is changed in place.

    Where few samples show their labels it sees these more often: an epoch has as many steps as
    one of `distil`. Where all do, the same seed gives the same batches as there.

    Args:
        model: A torch module; it is left in eval mode.
        data: A `DataSet`, whose training split is learned from, or samples.
        train: For how long, by what optimiser, ...
        outputs: What the model gives: "logits" or "probabilities".
        heads: What it answers; told from the labels if left out.
        seed: Of the order of samples and of dropout.
        checkpoint: A file to keep the state in, to go on from after a kill.
        log_folder: Where TensorBoard logs go, with `train.log`.
        progress: Who watches.

    Returns:
        Losses and validation scores by epoch.

    Raises:
        DataError: Labels are out of range, or a number is not finite.
        TrainingError: A loss is not finite.
    """
    check_trained(train, {"model": model})
    given = Given.of(data, heads)
    pool = torch.arange(len(given.train))
    if given.train.labelled is not None:
        pool = pool[given.train.labelled]
    return given.fit(
        [Learner(name="model", model=model, objective=supervised(given.heads), outputs=outputs)],
        train,
        Order(pool=pool, length=len(given.train), seed=seed),
        checkpoint=checkpoint,
        log_folder=log_folder,
        progress=progress,
    )
