"""What the user must know of a teacher before they believe its student."""

import statistics
from collections.abc import Mapping, Sequence

import numpy as np

from limbeck._chance import at_chance, chance_warnings
from limbeck.data import DataSet
from limbeck.tasks import Task


def teacher_warnings(
    task: Task,
    *,
    teacher_validation: float,
    control_validation: Mapping[str, Sequence[float]],
    student_validation: Mapping[str, Sequence[float]],
    assistant_validation: Mapping[str, float],
    seeds: int,
) -> list[str]:
    """What to know of a teacher or student at chance level, leaks, few seeds, ...

    Args:
        task: What was learned.
        teacher_validation: The teacher's validation score.
        control_validation: Those of the controls, one per seed, by student's name.
        student_validation: Those of the students, in the same way.
        assistant_validation: Those of the assistants, by name.
        seeds: How many.
    """
    metric = task.metric
    warnings = chance_warnings(task, teacher_validation)
    knows_nothing = bool(warnings)
    teachers = {"The teacher": teacher_validation}
    teachers |= {f"Assistant {name}": score for name, score in assistant_validation.items()}
    for name, scores in control_validation.items():
        control = statistics.fmean(scores)
        for who, score in teachers.items():
            if not metric.is_better(score, control):
                warnings.append(
                    f"{who} is not better than student {name} without it: validation "
                    f"{metric.name} {score:.4g} against {control:.4g} for the control. "
                    "Take a better teacher, or a smaller student."
                )
    for name, scores in student_validation.items():
        said = at_chance(task, statistics.fmean(scores))
        if said and at_chance(task, statistics.fmean(control_validation[name])):
            warnings.append(
                f"Student {name} is at chance level, and so is its control: {said}. Neither has "
                "learned, and the verdict says nothing of use: look at train.learning_rate, "
                "train.epochs and the inputs."
            )
        elif said and not knows_nothing:
            warnings.append(
                f"Student {name} is at chance level, and its control is not: {said}. It has not "
                "learned yet, which is all that the verdict says: look at train.epochs, "
                "train.learning_rate, distil.temperature and the weights of the losses."
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
