"""Train a student on what a teacher said."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from limbeck._errors import OptionError
from limbeck._files import fingerprint
from limbeck._outputs import Outputs
from limbeck._progress import Progress, Silence
from limbeck.api._given import Given
from limbeck.data import DataSet
from limbeck.methods import NO_OPTIONS, check_rows, find_method, objective, only_from_labels
from limbeck.recipe import Train
from limbeck.signals import Batch, Inputs, Rows
from limbeck.targets import Targets, TransferSet
from limbeck.train import History, Learner, Order


def distil(
    student: nn.Module,
    data: Any,
    targets: Targets | str | Path,
    train: Train = Train(),  # noqa: B008  (frozen)
    *,
    temperature: float | None = None,
    hard_weight: float = 0.0,
    soft_weight: float = 1.0,
    method: str = "soft_targets",
    options: Mapping[str, Any] = NO_OPTIONS,
    outputs: Outputs = "logits",
    seed: int = 0,
    checkpoint: str | Path | None = None,
    log_folder: str | Path | None = None,
    progress: Progress = Silence(),  # noqa: B008  (it holds nothing)
) -> History:
    """Train `student` on what a teacher said; it is changed in place, and left in eval mode.

    Args:
        student: A torch module.
        data: The samples that the targets are of. A `DataSet` also has those that the student is
            validated on after each epoch.
        targets: The transfer set, or its folder, or an `Ensemble` of several.
        train: For how long, by what optimiser, ...
        temperature: T > 0 of the loss; that of the targets if left out.
        hard_weight: Weight of the supervised loss on labelled samples, 0 or more.
        soft_weight: Weight of the method's loss, as a rule towards the teacher, 0 or more.
        method: A name in `limbeck.methods.METHODS`. Where it needs labels, and so counts labelled
            samples only, an epoch visits these more often instead of the others.
        options: The method's own options.
        outputs: What the student gives: "logits" or "probabilities".
        seed: Of the order of samples and of dropout.
        checkpoint: A file to keep the state in, to go on from after a kill.
        log_folder: Where TensorBoard logs go, with `train.log`.
        progress: Who watches.

    Returns:
        Losses and validation scores by epoch.

    Raises:
        OptionError: An option is out of range.
        TargetsError: The targets have no row for some of the samples, are of other classes, or
            name too few for the method.
        TrainingError: A loss is not finite.
    """
    sum_of_weights = hard_weight + soft_weight
    if not (hard_weight >= 0 and soft_weight >= 0 and 0 < sum_of_weights < math.inf):
        raise OptionError(
            "hard_weight and soft_weight must be 0 or more, finite, and one of them above 0, got "
            f"{hard_weight} and {soft_weight}."
        )
    if isinstance(targets, (str, Path)):
        targets = TransferSet(targets)
    heads = () if isinstance(data, DataSet) else targets.heads
    given = Given.of(data, heads, labels=hard_weight > 0 or find_method(method).with_labels)
    targets.expect(heads=given.heads, transform=str(given.train.views))
    if train.views:
        raise OptionError(
            "train.views makes new views without end, which a transfer set cannot hold. Capture "
            "with views = N: epochs take them in turn."
        )
    temperature = targets.temperature if temperature is None else temperature
    terms = objective(
        method,
        given.heads,
        temperature=temperature,
        hard_weight=hard_weight,
        soft_weight=soft_weight,
        options=options,
    )
    check_rows(method, targets.like, stored="the transfer set")
    aligned = targets.aligned(given.train)
    pool = torch.arange(len(given.train))
    if only_from_labels(terms) and given.train.labelled is not None:
        pool = pool[given.train.labelled]

    def teach(batch: Batch) -> dict[str, Rows]:
        device = _device_of(batch.inputs)
        rows = aligned.rows(batch.index, batch.view)
        return {name: part.to(device) for name, part in rows.items()}

    return given.fit(
        Learner(name="student", model=student, objective=terms, outputs=outputs),
        train,
        Order(pool=pool, length=len(given.train), seed=seed),
        teach=teach,
        views=targets.views,
        checkpoint=checkpoint,
        taught_by=fingerprint([targets.fingerprint, method, temperature, dict(options)]),
        log_folder=log_folder,
        progress=progress,
    )


def _device_of(inputs: Inputs) -> torch.device:
    return (next(iter(inputs.values())) if isinstance(inputs, dict) else inputs).device
