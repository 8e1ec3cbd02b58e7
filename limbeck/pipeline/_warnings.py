"""What the user must know of a teacher before they believe its student."""

import math
import statistics
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from limbeck.data import DataSet
from limbeck.metrics import Metric
from limbeck.tasks import Task


def teacher_warnings(
    task: Task,
    *,
    teacher_validation: float,
    control_validation: Mapping[str, Sequence[float]],
    seeds: int,
) -> list[str]:
    """What to know of a teacher at chance level, one no better than a control, leaks, few seeds.

    Args:
        task: What was learned.
        teacher_validation: The teacher's validation score.
        control_validation: Those of the controls, one per seed, by student's name.
        seeds: How many.
    """
    metric = task.metric
    warnings = chance_warnings(task, teacher_validation)
    for name, scores in control_validation.items():
        control = statistics.fmean(scores)
        if not _better(teacher_validation, control, metric):
            warnings.append(
                f"The teacher is not better than student {name} without it: validation "
                f"{metric.name} {teacher_validation:.4g} against {control:.4g} for the control. "
                "Take a better teacher, or a smaller student."
            )
    if leaked := leaked_samples(task.data):
        warnings.append(
            f"{leaked} of {len(task.data.test)} test samples are training samples too, to the last "
            "bit of their inputs: scores are better than on new data. Leave them out of one split."
        )
    if seeds == 1:
        warnings.append("One seed shows nothing: set seeds to 5 or more for a verdict.")
    return warnings


def leaked_samples(data: DataSet) -> int:
    """How many test samples have the content of a training sample."""
    return int(np.isin(data.test.keys, data.train.keys).sum())


def chance_warnings(task: Task, teacher_validation: float) -> list[str]:
    """A warning about a teacher that is no better than an answer that does not look."""
    metric = task.metric
    chance = constant_score(task.data, metric)
    margin = 0.0
    if metric.name in ("accuracy", "exact_match"):  # shares of so many samples: two standard errors
        margin = 2 * math.sqrt(chance * (1 - chance) / len(task.data.validation))
    if _better(teacher_validation, chance + margin, metric):
        return []
    return [
        f"The teacher is at chance level: validation {metric.name} {teacher_validation:.4g}, and "
        f"{chance:.4g} for the best constant answer. It has nothing to teach; look at its "
        "weights, its inputs and the order of its classes."
    ]


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


def _better(score: float, other: float, metric: Metric) -> bool:
    return score > other if metric.higher_is_better else score < other
