"""Measure a model."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from torch import nn

from limbeck._outputs import Outputs
from limbeck.api._given import Given, TeacherLike, as_teacher
from limbeck.evaluation import Evaluation
from limbeck.evaluation import evaluate as _evaluate
from limbeck.signals import Head
from limbeck.teachers import Teacher


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
    given = Given.of(data, heads, reads=("test",))
    with _left_as_it_was(teacher):
        if teacher is not None:
            teacher = as_teacher(teacher, given.heads, teacher_outputs)
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
