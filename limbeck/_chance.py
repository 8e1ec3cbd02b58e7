"""What an answer that does not look is worth, and who is worth no more."""

import math

import torch
from torch import Tensor

from limbeck.data import DataSet
from limbeck.metrics import Metric
from limbeck.tasks import Task


def chance_warnings(task: Task, teacher_validation: float) -> list[str]:
    """A warning of a teacher that is no better than the best constant answer, or none.

    Args:
        task: What was learned; its validation samples are those that were scored.
        teacher_validation: The teacher's score of them.
    """
    if (said := at_chance(task, teacher_validation)) is None:
        return []
    classes = task.data.head.space == "categorical"
    order = "the order of its classes" if classes else "the scale of the numbers that it learns"
    return [
        f"The teacher is at chance level: {said}. It has nothing to teach; look at how long it was "
        f"trained, its weights, its inputs and {order}."
    ]


def at_chance(task: Task, validation: float) -> str | None:
    """In words, that a validation score is not clearly better than a constant's; None if it is."""
    metric = task.metric
    chance = constant_score(task.data, metric)
    margin = 0.0
    if metric.name in ("accuracy", "exact_match"):  # shares of so many samples: two standard errors
        margin = 2 * math.sqrt(chance * (1 - chance) / len(task.data.validation))
    if metric.is_better(validation, chance + margin):
        return None
    return (
        f"validation {metric.name} {validation:.4g}, which is not clearly better than "
        f"{chance:.4g}, the best constant answer's"
    )


def constant_score(data: DataSet, metric: Metric) -> float:
    """The validation score of the best answer that does not look: the training labels' mean."""
    head = data.head
    train, labels = data.train.labels[head.name], data.validation.labels[head.name]
    if head.space == "categorical":
        share = torch.bincount(train.flatten(), minlength=head.size).float() + 1e-6
        row = (share / share.sum()).log()
        return metric.score(_repeat(row, labels.numel()), labels.flatten())
    mean = train.float().mean(0)
    row = torch.logit(mean, eps=1e-6) if head.space == "binary" else mean
    return metric.score(_repeat(row, len(labels)), labels)


def _repeat(row: Tensor, rows: int) -> Tensor:
    return row.expand(rows, -1)
