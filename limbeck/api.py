"""The pieces in Python: capture, distil, supervise, evaluate, each usable alone.

`data` is a `DataSet` (`limbeck.data.load`), or samples: a torch dataset, an `(inputs, labels)`
pair of arrays, or `Samples`.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from limbeck._errors import OptionError
from limbeck._files import fingerprint
from limbeck._outputs import Outputs
from limbeck._progress import Progress, Silence
from limbeck.data import DataSet, Samples, check_split, samples_and_heads
from limbeck.evaluation import Evaluation, answer_all, as_answerer
from limbeck.evaluation import evaluate as _evaluate
from limbeck.methods import objective, supervised
from limbeck.metrics import metric_for
from limbeck.recipe import Train
from limbeck.signals import Batch, Head, Inputs, Rows
from limbeck.targets import TransferSet
from limbeck.targets import capture as _capture
from limbeck.teachers import Teacher
from limbeck.train import History, Learner, Order, Teach, fit

TeacherLike = Teacher | nn.Module | Callable[..., Any]


def capture(
    teacher: TeacherLike,
    data: Any,
    out: str | Path,
    *,
    outputs: Outputs = "logits",
    temperature: float = 4.0,
    codec: str = "dense16",
    codec_options: dict[str, Any] | None = None,
    views: int = 1,
    heads: Sequence[Head] = (),
    batch_size: int = 512,
    progress: Progress = Silence(),  # noqa: B008  (it holds nothing)
) -> TransferSet:
    """Ask a teacher for every training sample, once, and keep what it says in the folder `out`.

    Called again with the same arguments it goes on where it stopped, or returns at once.

    Args:
        teacher: A torch module (a Keras model on the torch backend is one), a callable from numpy
            arrays to numpy arrays, or a `Teacher`. A module is frozen.
        data: A `DataSet`, whose training split is taken, or samples.
        out: A folder that is new, or holds targets made by the same call.
        outputs: "logits", which are put through a softmax, or "probabilities": non-negative
            scores, which are normalised to sum to 1. A `Teacher` knows its own.
        temperature: T > 0 that the targets are softened with.
        codec: "dense32", "dense16", or "topk".
        codec_options: The codec's own options: `{"k": 8}` for topk.
        views: How many views of each sample to ask for; 1 is the sample as it came.
        heads: What the teacher answers; told from the labels if left out. A `Teacher` knows its
            own.
        batch_size: Samples that are asked at once.
        progress: Who watches.

    Raises:
        ModelError: The teacher's answers are not what they should be.
        TargetsError: The folder holds something else.
    """
    if not heads and isinstance(teacher, Teacher):
        heads = teacher.heads
    given = _Given.of(data, heads, labels=False, reads=("train",))
    made = _as_teacher(teacher, given.heads, outputs)
    return _capture(
        made,
        given.train,
        Path(out),
        compress="softmax" if made.outputs == "logits" else "normalised",
        temperature=temperature,
        codec=codec,
        codec_options=codec_options,
        views=views,
        batch_size=batch_size,
        progress=progress,
    )


def distil(
    student: nn.Module,
    data: Any,
    targets: TransferSet,
    train: Train = Train(),  # noqa: B008  (frozen)
    *,
    temperature: float | None = None,
    hard_weight: float = 0.0,
    soft_weight: float = 1.0,
    method: str = "soft_targets",
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
        targets: The transfer set.
        train: For how long, by what optimiser, ...
        temperature: T > 0 of the loss; that of the targets if left out.
        hard_weight: Weight of the supervised loss on labelled samples, 0 or more.
        soft_weight: Weight of the loss towards the teacher, 0 or more.
        method: A name in `limbeck.methods.METHODS`.
        outputs: What the student gives: "logits" or "probabilities".
        seed: Of the order of samples and of dropout.
        checkpoint: A file to keep the state in, to go on from after a kill.
        log_folder: Where TensorBoard logs go, with `train.log`.
        progress: Who watches.

    Returns:
        Losses and validation scores by epoch.

    Raises:
        OptionError: An option is out of range.
        TargetsError: The targets have no row for some of the samples, or are of other classes.
        TrainingError: A loss is not finite.
    """
    sum_of_weights = hard_weight + soft_weight
    if not (hard_weight >= 0 and soft_weight >= 0 and 0 < sum_of_weights < math.inf):
        raise OptionError(
            "hard_weight and soft_weight must be 0 or more, finite, and one of them above 0, got "
            f"{hard_weight} and {soft_weight}."
        )
    heads = () if isinstance(data, DataSet) else targets.heads
    given = _Given.of(data, heads, labels=hard_weight > 0)
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
    )
    aligned = targets.aligned(given.train)

    def teach(batch: Batch) -> dict[str, Rows]:
        device = _device_of(batch.inputs)
        rows = aligned.rows(batch.index, batch.view)
        return {name: part.to(device) for name, part in rows.items()}

    return given.fit(
        Learner(name="student", model=student, objective=terms, outputs=outputs),
        train,
        Order(pool=torch.arange(len(given.train)), length=len(given.train), seed=seed),
        teach=teach,
        views=targets.views,
        checkpoint=checkpoint,
        taught_by=fingerprint([targets.fingerprint, method, temperature]),
        log_folder=log_folder,
        progress=progress,
    )


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
    given = _Given.of(data, heads)
    pool = torch.arange(len(given.train))
    if given.train.labelled is not None:
        pool = pool[given.train.labelled]
    return given.fit(
        Learner(name="model", model=model, objective=supervised(given.heads), outputs=outputs),
        train,
        Order(pool=pool, length=len(given.train), seed=seed),
        checkpoint=checkpoint,
        log_folder=log_folder,
        progress=progress,
    )


def evaluate(
    model: nn.Module,
    data: Any,
    *,
    teacher: TeacherLike | None = None,
    outputs: Outputs = "logits",
    teacher_outputs: Outputs = "logits",
    metric: str | None = None,
    heads: Sequence[Head] = (),
) -> Evaluation:
    """Measure a model: score, calibration, size, FLOPs, latency, and nearness to a teacher.

    Args:
        model: A torch module; it is left in eval mode.
        data: A `DataSet`, whose test split is read, or samples.
        teacher: Who it should be near to.
        outputs: What the model gives: "logits" or "probabilities".
        teacher_outputs: What the teacher gives; a `Teacher` knows its own.
        metric: A name in `limbeck.metrics.METRICS`; the first that fits if left out.
        heads: What the model answers; if left out, what the `Teacher` does, or what the labels
            tell. Give it where samples may lack the last classes.
    """
    if not heads and isinstance(teacher, Teacher):
        heads = teacher.heads
    given = _Given.of(data, heads, reads=("test",))
    with _left_as_it_was(teacher):
        if teacher is not None:
            teacher = _as_teacher(teacher, given.heads, teacher_outputs)
        return _evaluate(
            model, given.test, given.heads, teacher=teacher, outputs=outputs, metric=metric
        )


@contextmanager
def _left_as_it_was(teacher: TeacherLike | None) -> Iterator[None]:
    """Unfreeze what a `Teacher` freezes, where the caller gave a module of theirs."""
    if not isinstance(teacher, nn.Module):
        yield
        return
    training = teacher.training
    learning = [parameter for parameter in teacher.parameters() if parameter.requires_grad]
    try:
        yield
    finally:
        teacher.train(training)
        for parameter in learning:
            parameter.requires_grad_(True)


@dataclass(frozen=True, kw_only=True)
class _Given:
    """What the caller gave as `data`: samples are all three splits but validation."""

    train: Samples
    validation: Samples | None
    test: Samples
    heads: tuple[Head, ...]

    @classmethod
    def of(
        cls,
        data: Any,
        heads: Sequence[Head] = (),
        *,
        labels: bool = True,
        reads: Sequence[str] = ("train", "validation"),
    ) -> "_Given":
        """What was given, checked.

        Args:
            data: As the caller gave it.
            heads: The caller's; those of the data if left out.
            labels: Whether those of the training samples are needed.
            reads: The splits that will be.
        """
        if isinstance(data, DataSet):
            told = data.heads
            given = {"train": data.train, "validation": data.validation, "test": data.test}
        else:
            split, told = samples_and_heads(data)
            given = {"train": split, "test": split}
        chosen = tuple(heads) or told
        if not chosen:
            raise OptionError(
                "these samples have no labels, which would tell what is to be answered. Give "
                "(inputs, labels); to capture without, give heads=(limbeck.Head(...),)."
            )
        for name in reads:
            if name in given:
                check_split(name, given[name], chosen, labels=labels or name != "train")
        return cls(
            train=given["train"],
            validation=given.get("validation"),
            test=given["test"],
            heads=chosen,
        )

    def fit(
        self,
        learner: Learner,
        train: Train,
        order: Order,
        *,
        teach: Teach | None = None,
        views: int = 1,
        checkpoint: str | Path | None,
        taught_by: str = "",
        log_folder: str | Path | None,
        progress: Progress,
    ) -> History:
        """Train one learner, validated where there are samples for it."""
        metric = metric_for(self.heads[0])

        def validate(learner: Learner) -> float:
            assert self.validation is not None, "there is nothing to validate on"
            answer = as_answerer(learner.model, self.heads, outputs=learner.outputs)
            answers = answer_all(answer, self.validation, self.heads[0])
            return metric.score(answers.rows, answers.labels)

        fitted = fit(
            [learner],
            self.train,
            train,
            heads=self.heads,
            seed=order.seed,
            order=order,
            teach=teach,
            views=views,
            validate=None if self.validation is None else validate,
            higher_is_better=metric.higher_is_better,
            checkpoint=None if checkpoint is None else Path(checkpoint),
            taught_by=taught_by,
            log_folder=None if log_folder is None else Path(log_folder),
            progress=progress,
        )
        return fitted.histories[learner.name]


def _as_teacher(teacher: TeacherLike, heads: Sequence[Head], outputs: Outputs) -> Teacher:
    """A `Teacher`, where its weights are."""
    if isinstance(teacher, Teacher):
        return teacher
    device = torch.device("cpu")
    if isinstance(teacher, nn.Module):
        device = next((part.device for part in teacher.parameters()), device)
    return Teacher(teacher, heads, outputs=outputs, device=device)


def _device_of(inputs: Inputs) -> torch.device:
    return (next(iter(inputs.values())) if isinstance(inputs, dict) else inputs).device
