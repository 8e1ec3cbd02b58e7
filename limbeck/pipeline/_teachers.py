"""The teachers of a run: one, or several who teach as one."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from limbeck._files import fingerprint
from limbeck._mixture import WEIGHINGS, trust_of
from limbeck._together import together
from limbeck.data import Samples
from limbeck.evaluation import answer_all
from limbeck.pipeline._context import Context
from limbeck.pipeline._records import Record
from limbeck.pipeline._stages import made_teacher, teacher_stage
from limbeck.signals import Head
from limbeck.targets import Ensemble, Targets, TransferSet, weigh
from limbeck.teachers import Teacher


@dataclass(frozen=True, kw_only=True)
class Teachers:
    """Who teaches."""

    whole: Teacher
    """The one teacher, or all together."""
    members: Mapping[str, Teacher]
    """Each, by the name that the recipe gives it; none where there is one."""
    stages: Mapping[str, list[Record]]
    """"teacher" is of the whole."""
    prior: Tensor
    """`(teachers,)`."""
    trust: Tensor
    """`(teachers, classes)`."""


def teachers_stage(context: Context) -> Teachers:
    """Train every teacher, or load it; examine each, and all together."""
    recipe = context.recipe
    if recipe.teacher is not None:
        teacher, record = teacher_stage(context, recipe.teacher, "teacher")
        none = torch.zeros(0)
        return Teachers(
            whole=teacher, members={}, stages={"teacher": [record]}, prior=none, trust=none
        )
    members, stages = {}, {}
    for name, settings in recipe.teachers.items():
        teacher, record = teacher_stage(context, settings, f"teacher {name}")
        members[name], stages[f"teacher-{name}"] = teacher, [record]
    weights = [recipe.ensemble.weights.get(name, 1.0) for name in members]
    prior, trust = torch.tensor(weights), _trust(context, members)
    whole = together(members, recipe.ensemble.how, prior, trust)
    stages["teacher"] = [
        _examine(context, whole, [each[0].fingerprint for each in stages.values()])
    ]
    return Teachers(whole=whole, members=members, stages=stages, prior=prior, trust=trust)


def made_teachers(context: Context) -> list[Teacher]:
    """The teachers that were loaded, or trained, in this run; none is trained."""
    return [made_teacher(context, each, who) for who, each in context.recipe.all_teachers.items()]


def read_as_one(context: Context, sets: Mapping[str, TransferSet], teachers: Teachers) -> Targets:
    """What several teachers said, each stored by itself, weighed and mixed."""
    train: Samples = context.task.data.train
    members = list(sets.values())
    how = context.recipe.ensemble.how
    if WEIGHINGS[how].by_student:
        return Ensemble(members, agreement=True)
    weights = weigh(members, train, how, teachers.prior, teachers.trust)
    return Ensemble(members, weights=weights, samples=train)


def _trust(context: Context, members: Mapping[str, Teacher]) -> Tensor:
    """`(teachers, classes)`: what each has right on validation data, where that is asked for."""
    head: Head = context.task.data.heads[0]
    if not WEIGHINGS[context.recipe.ensemble.how].learned:
        return torch.ones(len(members), head.size)
    answers = [
        answer_all(member.logits, context.task.data.validation, head) for member in members.values()
    ]
    return torch.stack([trust_of(each.rows, each.labels) for each in answers])


def _examine(context: Context, whole: Teacher, members: list[str]) -> Record:
    ensemble = context.recipe.ensemble.model_dump()
    name = fingerprint([members, list(context.recipe.teachers), ensemble, context.data_fingerprint])
    record = context.records.find("teacher", name) or context.record(
        "teacher",
        name,
        seconds=0.0,
        flops=0,
        files=[],
        facts={"validation": context.score(whole.logits), "history": {}},
    )
    score = record.facts["validation"]
    context.progress.say(f"together: validation {context.task.metric.name} {score:.4g}")
    return record
