"""The stages that train or ask a model: teacher, targets, control, distil.

Each finds its record, if it was done already on what it depends on, and what it made then; or does
its work, and leaves a record.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from torch import nn

from limbeck import recipe as recipes
from limbeck._chance import chance_warnings
from limbeck._files import file_hash, fingerprint
from limbeck.methods import (
    Objective,
    check_rows,
    objective_of,
    only_from_labels,
    supervised,
)
from limbeck.models import architecture, build, load_weights, save_weights
from limbeck.pipeline._begin import Role, beginner, begins_with
from limbeck.pipeline._context import Context
from limbeck.pipeline._records import Record
from limbeck.signals import Batch, Dense, Rows
from limbeck.targets import Targets, TransferSet, capture
from limbeck.teachers import Teacher
from limbeck.train import Learner, Teach

AS_MADE = {"log", "workers"}
"""Of `[train]`, what moves how a model is trained and not what it becomes."""


@dataclass(frozen=True, kw_only=True)
class Pass:
    """All students of one seed, trained in one pass."""

    models: dict[str, nn.Module]
    record: Record


def teacher_stage(context: Context, settings: recipes.Teacher, who: str) -> tuple[Teacher, Record]:
    """Train a teacher, or load it; examine it. It is called "teacher", or "teacher NAME"."""
    stage = who.replace(" ", "-")
    heads = context.task.data.heads
    weights = None if settings.weights is None else Path(settings.weights)
    model = build(settings.model, settings.options, context.interface, seed=settings.seed)
    depends = [
        settings.model_dump(exclude={"train": AS_MADE}),
        architecture(model, settings.model),
        context.data_fingerprint,
        "all" if settings.labels == "all" else context.labelled_fingerprint,
        file_hash(weights) if weights is not None and weights.is_file() else None,
    ]
    name = fingerprint(depends)
    made = _teacher_file(context, who)
    record = context.records.find(stage, name)
    if weights is not None:
        load_weights(model, weights)
    elif record is not None:
        load_weights(model, made)
    seconds, history = 0.0, {}
    computed: int | None = 0
    if record is None and weights is None:
        learner = Learner(
            name=who, model=model, objective=supervised(heads), outputs=settings.outputs
        )
        fitted = context.fit(
            stage,
            name,
            [learner],
            settings.train,
            settings.seed,
            settings.labels,
            title=f"training {who}",
        )
        seconds, history = fitted.seconds, vars(fitted.histories[who])
        computed = context.training_flops([model], fitted)
        if context.writes:
            save_weights(model, made)
    teacher = Teacher(model, heads, outputs=settings.outputs, device=context.device)
    if record is None:
        record = context.record(
            stage,
            name,
            seconds=seconds,
            flops=computed,
            files=[made] if weights is None else [],
            facts={"validation": context.score(teacher.logits), "history": history},
        )
    score = record.facts["validation"]
    context.progress.say(f"{who}: validation {context.task.metric.name} {score:.4g}")
    for warning in chance_warnings(context.task, score):
        context.progress.warn(warning)
    return teacher, record


def made_teacher(context: Context, settings: recipes.Teacher, who: str) -> Teacher:
    """A teacher that was loaded, or trained, in this run; none is trained."""
    model = build(settings.model, settings.options, context.interface, seed=settings.seed)
    load_weights(model, Path(settings.weights or _teacher_file(context, who)))
    heads = context.task.data.heads
    return Teacher(model, heads, outputs=settings.outputs, device=context.device)


def _teacher_file(context: Context, who: str) -> Path:
    return context.out / "teacher" / f"{who.removeprefix('teacher ')}.safetensors"


def targets_stage(
    context: Context, teacher: Teacher, stage: str = "targets", *, engine: str = "here"
) -> tuple[TransferSet, Record]:
    """Ask the teacher once, and keep what it says; or another one, in a stage of another name."""
    settings, train = context.recipe.targets, context.task.data.train
    said = settings.model_dump(exclude={"folder"})
    name = fingerprint([said, teacher.fingerprint, context.asked_fingerprint])
    elsewhere = settings.folder if stage == "targets" else None
    folder = elsewhere or context.out / stage
    if elsewhere is None:
        context.put_in_place(stage, name)
    record = context.records.find(stage, name)
    if record is None or elsewhere is not None:  # what lies elsewhere may be gone
        begun = time.monotonic()
        stored = capture(
            teacher,
            train,
            folder,
            compress=settings.compress,
            temperature=settings.temperature,
            **settings.codec_words,
            views=settings.views,
            processes=context.processes,
            engine=engine,
            progress=context.progress,
        )
        record = record or context.record(
            stage,
            name,
            seconds=time.monotonic() - begun,
            flops=context.flops(teacher.model, len(train) * settings.views),
            files=[context.out / stage / "manifest.json"] if elsewhere is None else [],
            facts={"bytes": stored.card.bytes},
        )
    targets = TransferSet(folder)
    targets.expect(
        teacher=teacher.fingerprint, heads=context.task.data.heads, transform=str(train.views)
    )
    return targets, record


def control_stage(context: Context, seed: int, teacher: Teacher) -> Pass:
    """Every student of one seed, from labels alone; some begin with weights of the teacher."""
    terms = supervised(context.task.data.heads)
    return _students(context, "control", seed, teacher, terms, None, [])


def distil_stage(
    context: Context, seed: int, teacher: Teacher, teach: Teach, depends: Sequence[Any]
) -> Pass:
    """Every student of one seed, from the teacher; `depends` says what its rows depend on."""
    terms = objective_of(context.recipe, context.task.data.heads)
    said = distil_words(context.recipe)
    asked = teach if any(term.from_teacher for term in terms) else None
    return _students(context, "distil", seed, teacher, terms, asked, [said, *depends])


def distil_words(recipe: recipes.Recipe) -> dict[str, Any]:
    """Those words of `[distil]` that move how one model learns from another's rows."""
    # What is not asked for is not there, so that what was made before it was thought of stays.
    new = {"mixup"} if not recipe.distil.mixup else set()
    return recipe.distil.model_dump(exclude={"generations", *new})


def teach_from(context: Context, targets: Targets, *, stored: str) -> Teach:
    """The teacher's rows from the transfer set, if the method can learn from such rows.

    Args:
        context: The run.
        targets: What the teacher said, or several.
        stored: By which codec, for the message.

    Raises:
        TargetsError: It cannot. Only now is known what codec "auto" chose.
    """
    check_rows(context.recipe.distil.method, targets.like, stored=f"codec {stored}")
    aligned = targets.aligned(context.task.data.train)

    def teach(batch: Batch) -> dict[str, Rows]:
        rows = aligned.rows(batch.index, batch.view)
        return {name: part.to(context.device) for name, part in rows.items()}

    return teach


def teach_live(teacher: Teacher) -> Teach:
    """The teacher's rows from the teacher, asked again at every step."""

    def teach(batch: Batch) -> dict[str, Rows]:
        return {name: Dense(values=rows) for name, rows in teacher.logits(batch.inputs).items()}

    return teach


def _students(
    context: Context,
    role: Role,
    seed: int,
    teacher: Teacher,
    terms: Objective,
    teach: Teach | None,
    depends: Sequence[Any],
) -> Pass:
    recipe = context.recipe
    stage = f"{role}-{seed}"
    chosen = {key: one.model_dump(exclude={"start"}) for key, one in recipe.students.items()}
    models, begins = {}, {}
    for key in recipe.students:
        models[key], begins[key] = beginner(context, key, seed, role, teacher)
    name = fingerprint(
        [
            chosen,
            [architecture(model, recipe.students[key].model) for key, model in models.items()],
            recipe.train.model_dump(exclude=AS_MADE),
            context.views_of(recipe.train),
            seed,
            context.data_fingerprint,
            context.labelled_fingerprint,
            *begins_with(context, role, teacher),
            *depends,
        ]
    )
    made = {key: context.out / role / f"seed-{seed}" / f"{key}.safetensors" for key in models}
    record = context.records.find(stage, name)
    if record is not None:
        for key, model in models.items():
            load_weights(model, made[key])
        found = {key: model.to(context.device).eval() for key, model in models.items()}
        return Pass(models=found, record=record)
    learners = [
        Learner(name=key, model=model, objective=terms, outputs=recipe.students[key].outputs)
        for key, model in models.items()
    ]
    who: Literal["labelled", "taught"] = "labelled" if only_from_labels(terms) else "taught"
    role_of = {"control": "control", "distil": "student"}[role]
    for key, told in begins.items():
        if told and seed == 0:
            context.progress.say(f"{role_of} {key} begins with {told}")
    title = f"training {role_of} {' + '.join(models)}, {seed + 1} of {recipe.seeds}"
    fitted = context.fit(stage, name, learners, recipe.train, seed, who, teach=teach, title=title)
    if context.writes:
        for key, model in models.items():
            save_weights(model, made[key])
    record = context.record(
        stage,
        name,
        seconds=fitted.seconds,
        flops=context.training_flops(list(models.values()), fitted),
        files=list(made.values()),
        facts={
            "validation": {
                key: context.validate(model, recipe.students[key].outputs)
                for key, model in models.items()
            },
            "begins": begins,
            "histories": {key: vars(history) for key, history in fitted.histories.items()},
        },
    )
    return Pass(models=models, record=record)
