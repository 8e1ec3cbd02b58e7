"""How students begin: with random weights, the same as their controls', or with their teacher's."""

from typing import Any, Literal

import torch
from torch import nn

from limbeck.data import Samples
from limbeck.models import build, warm_start
from limbeck.pipeline._context import Context
from limbeck.recipe import Student
from limbeck.signals import Batch
from limbeck.teachers import Teacher

NUM_SAMPLES = 256
"""Samples that the modules of a teacher are measured on."""

Role = Literal["control", "distil"]


def beginner(
    context: Context, key: str, seed: int, role: Role, teacher: Teacher
) -> tuple[nn.Module, str]:
    """The named student, or its control, before it learns; and how it begins, in words."""
    student = context.recipe.students[key]
    first = context.recipe.first_seed(key, seed)
    model = build(student.model, student.options, context.interface, seed=first)
    if student.start is None or not _is_warm(student, role):
        return model, ""
    assert isinstance(teacher.model, nn.Module), "a recipe builds torch modules"
    inputs = typical(context.task.data.train).to(teacher.device).inputs
    return model, warm_start(model, teacher.model, student.start.how, inputs).told


def begins_with(context: Context, role: Role, teacher: Teacher) -> list[Any]:
    """What the first weights of a role depend on beside the seed: nothing where they are random."""
    recipe = context.recipe
    warm = {
        key: student.start.how
        for key, student in recipe.students.items()
        if student.start is not None and _is_warm(student, role)
    }
    first = {key: recipe.first_seed(key, 0) for key in recipe.students}
    depends: list[Any] = [first] if any(first.values()) else []
    return [*depends, warm, teacher.fingerprint] if warm else depends


def _is_warm(student: Student, role: Role) -> bool:
    return student.start is not None and (role == "distil" or student.start.control)


def typical(samples: Samples) -> Batch:
    """Some samples, spread evenly."""
    count = min(NUM_SAMPLES, len(samples))
    return samples.fetch(torch.linspace(0, len(samples) - 1, count).long())
