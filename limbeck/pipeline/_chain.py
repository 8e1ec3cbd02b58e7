"""From the teacher to who teaches the students: itself, or the last of a chain of assistants.

Teacher assistants, of sizes between (Mirzadeh et al. 2020, https://arxiv.org/abs/1902.03393), and
born-again generations, of the student's own (Furlanello et al. 2018,
https://arxiv.org/abs/1805.04770), are the same here: each learns from what the one before said, by
the recipe's method, and is then asked itself. What each said is kept.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from limbeck._files import fingerprint
from limbeck.methods import alone, objective_of, only_from_labels
from limbeck.models import architecture, build, load_weights, save_weights
from limbeck.pipeline._context import Context
from limbeck.pipeline._records import Record
from limbeck.pipeline._stages import (
    AS_MADE,
    distil_words,
    features_stage,
    flops_of_asking,
    targets_stage,
    teach_from,
    teach_live,
)
from limbeck.pipeline._teachers import Teachers, read_as_one
from limbeck.recipe import Assistant
from limbeck.signals import Rows
from limbeck.targets import TransferSet
from limbeck.teachers import Teacher
from limbeck.train import Learner, Teach


@dataclass(frozen=True, kw_only=True)
class Lecture:
    """What one teacher, or assistant, gives to whoever learns from it."""

    teacher: Teacher
    sets: list[TransferSet]
    """What is stored: one, or one of each teacher; none where it is asked live."""
    like: Mapping[str, Rows]
    """A row of each head, if they are stored."""
    teach: Teach
    depends: list[Any]
    """What its rows depend on."""


@dataclass(frozen=True, kw_only=True)
class Chain:
    """Everyone who taught, up to those who teach the students."""

    last: Lecture
    """What the students learn from."""
    assistants: dict[str, Teacher]
    """Those between, in order."""
    stages: dict[str, list[Record]]
    """Of what was done after the teacher was there, in order."""


def chain_stages(context: Context, teachers: Teachers) -> Chain:
    """Ask every teacher; train each assistant on what the one before said, and ask it."""
    stages: dict[str, list[Record]] = {}
    assistants: dict[str, Teacher] = {}
    lecture = _first_lecture(context, teachers, stages)
    for name, assistant in context.recipe.chain.items():
        learned, record = _assistant_stage(context, name, assistant, lecture)
        stages[f"assistant-{name}"] = [record]
        assistants[name] = learned
        lecture = _lecture(context, learned, f"targets-{name}", stages)
    return Chain(last=lecture, assistants=assistants, stages=stages)


def made_assistants(context: Context) -> dict[str, Teacher]:
    """The assistants that were trained in this run; none is trained."""
    found = {}
    for name, assistant in context.recipe.chain.items():
        model = _before(context, assistant)
        load_weights(model, _file(context, name))
        found[name] = _as_teacher(context, model, assistant)
    return found


def _first_lecture(
    context: Context, teachers: Teachers, stages: dict[str, list[Record]]
) -> Lecture:
    if not teachers.members:
        return _lecture(context, teachers.whole, "targets", stages)
    sets, records = {}, []
    for name, member in teachers.members.items():
        sets[name], record = targets_stage(context, member, f"targets-{name}")
        stages[f"targets-{name}"] = [record]
        records.append(record.fingerprint)
    targets = read_as_one(context, sets, teachers)
    codecs = sorted({one.manifest.settings.codec for one in sets.values()})
    return Lecture(
        teacher=teachers.whole,
        sets=list(sets.values()),
        like=targets.like,
        teach=teach_from(context, targets, teachers.whole, stored=" and ".join(codecs)),
        depends=[*records, teachers.stages["teacher"][0].fingerprint],
    )


def _lecture(
    context: Context, teacher: Teacher, stage: str, stages: dict[str, list[Record]]
) -> Lecture:
    if context.recipe.distil.live:
        settings = context.recipe.targets.model_dump()
        depends: list[Any] = [teacher.fingerprint, settings]
        stages[stage] = []
        return Lecture(
            teacher=teacher, sets=[], like={}, teach=teach_live(context, teacher), depends=depends
        )
    targets, record = targets_stage(context, teacher, stage)
    records, features = [record], None
    if context.recipe.targets.features:
        features, record = features_stage(context, teacher)
        records.append(record)
    stages[stage] = records
    codec = targets.manifest.settings.codec
    return Lecture(
        teacher=teacher,
        sets=[targets],
        like=targets.like,
        teach=teach_from(context, targets, teacher, stored=codec, features=features),
        depends=[record.fingerprint for record in records],
    )


def _assistant_stage(
    context: Context, key: str, assistant: Assistant, lecture: Lecture
) -> tuple[Teacher, Record]:
    recipe, stage = context.recipe, f"assistant-{key}"
    settings = assistant.train or recipe.train
    model = _before(context, assistant)
    name = fingerprint(
        [
            assistant.model_dump(exclude={"train"}),
            architecture(model, assistant.model),
            settings.model_dump(exclude=AS_MADE),
            context.views_of(settings),
            context.data_fingerprint,
            context.labelled_fingerprint,
            distil_words(recipe),
            *lecture.depends,
        ]
    )
    made = _file(context, key)
    record = context.records.find(stage, name)
    if record is not None:
        load_weights(model, made)
    else:
        terms = alone(objective_of(recipe, context.task.data.heads))
        asks = any(term.from_teacher for term in terms)
        learner = Learner(
            name=key,
            model=model,
            objective=terms,
            outputs=assistant.outputs,
            balance=recipe.distil.balance,
        )
        fitted = context.fit(
            stage,
            name,
            [learner],
            settings,
            assistant.seed,
            "labelled" if only_from_labels(terms) else "taught",
            teach=lecture.teach if asks else None,
            title=f"training assistant {key}",
        )
        if context.writes:
            save_weights(model, made)
        record = context.record(
            stage,
            name,
            seconds=fitted.seconds,
            flops=context.training_flops([learner], fitted)
            + (flops_of_asking(context, lecture.teacher, fitted) if asks else 0),
            files=[made],
            facts={
                "validation": context.validate(model, assistant.outputs),
                "history": vars(fitted.histories[key]),
            },
        )
    score = record.facts["validation"]
    context.progress.say(f"assistant {key}: validation {context.task.metric.name} {score:.4g}")
    return _as_teacher(context, model, assistant), record


def _before(context: Context, assistant: Assistant) -> nn.Module:
    """An assistant before it learns."""
    return build(assistant.model, assistant.options, context.interface, seed=assistant.seed)


def _as_teacher(context: Context, model: nn.Module, assistant: Assistant) -> Teacher:
    heads = context.task.data.heads
    return Teacher(model, heads, outputs=assistant.outputs, device=context.device)


def _file(context: Context, key: str) -> Path:
    return context.out / "assistants" / f"{key}.safetensors"
