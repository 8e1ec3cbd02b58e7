"""The stages that train or ask a model: teacher, targets, control, distil.

Each finds its record, if it was done already on what it depends on, and what it made then; or does
its work, and leaves a record.
"""

import time
from collections.abc import Callable, Sequence
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
    feature_terms,
    method_code,
    objective_of,
    only_from_labels,
    supervised,
    teacher_taps_of,
)
from limbeck.methods.features import (
    features_of,
    inside,
    rows_and_features_of,
    stored_features,
)
from limbeck.models import architecture, build, load_weights, save_weights
from limbeck.pipeline._begin import Role, beginner, begins_with
from limbeck.pipeline._context import Context
from limbeck.pipeline._preflight import a_few
from limbeck.pipeline._records import Record
from limbeck.signals import Batch, Rows
from limbeck.targets import Targets, TransferSet, capture
from limbeck.teachers import Teacher
from limbeck.train import Fitted, Learner, Teach, generator_seed

FEATURES_CODEC = "real8"
"""How features are stored: a byte a number."""
AS_MADE = {"log", "workers", "channels_last", "cuda_graphs"}
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
        computed = context.training_flops([learner], fitted)
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
    said = settings.model_dump(exclude={"folder", "features"})
    name = fingerprint([said, teacher.fingerprint, context.asked_fingerprint])
    elsewhere = settings.folder if stage == "targets" else None
    folder = elsewhere or context.out / stage
    if elsewhere is None:
        context.put_in_place(stage, name)
    record = context.records.find(stage, name)
    if record is None or elsewhere is not None:  # what lies elsewhere may be gone
        begun = time.monotonic()
        capture(
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
            facts={},
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
    train = context.task.data.train
    heads, distil = context.task.data.heads, context.recipe.distil
    terms = objective_of(context.recipe, heads)
    said = distil_words(context.recipe)
    if distil.mutual_weight:
        said |= {"mutual_weight": distil.mutual_weight}

    def of_features(name: str, model: nn.Module) -> Objective:
        if not distil.taps and distil.branches is None:
            return ()
        batch = a_few(train)
        return feature_terms(
            context.recipe,
            heads,
            model,
            batch,
            teach(batch) if distil.taps else {},
            teacher=teacher,
            num_samples=len(train),
            seed=generator_seed(seed, "beside"),
            who=f"student {name}",
        )

    return _students(context, "distil", seed, teacher, terms, teach, [said, *depends], of_features)


def distil_words(recipe: recipes.Recipe) -> dict[str, Any]:
    """Those words of `[distil]` that move how one model learns from another's rows."""
    # What is not asked for is not there, so that what was made before it was thought of stays.
    distil = recipe.distil
    new = set() if distil.mixup else {"mixup"}
    new |= set() if distil.taps else {"taps", "feature_weight"}
    new |= set() if distil.progressive else {"progressive"}
    late = ("anneal", "balance", "branches", "ema")
    new |= {word for word in late if getattr(distil, word) is None}
    said = distil.model_dump(exclude={"generations", "mutual_weight", *new})
    code = method_code(distil.method)
    return {**said, "code": code} if code else said


def features_stage(context: Context, teacher: Teacher) -> tuple[TransferSet, Record]:
    """Ask the teacher once what its modules give, and keep that in a transfer set of its own."""
    settings, train = context.recipe.targets, context.task.data.train
    paths = teacher_taps_of(context.recipe)
    name = fingerprint([paths, settings.views, teacher.fingerprint, context.asked_fingerprint])
    folder = context.out / "features"
    context.put_in_place("features", name)
    record = context.records.find("features", name)
    if record is not None:
        return TransferSet(folder), record
    begun = time.monotonic()
    stored = capture(
        inside(teacher, a_few(train).inputs, paths),
        train,
        folder,
        codec=FEATURES_CODEC,
        views=settings.views,
        processes=context.processes,
        progress=context.progress,
    )
    record = context.record(
        "features",
        name,
        seconds=time.monotonic() - begun,
        flops=context.flops(teacher.model, len(train) * settings.views),
        files=[folder / "manifest.json"],
        facts={"feature_bytes": stored.card.bytes},
    )
    return stored, record


def teach_from(
    context: Context,
    targets: Targets,
    teacher: Teacher,
    *,
    stored: str,
    features: TransferSet | None = None,
) -> Teach:
    """The teacher's rows from the transfer set, if the method can learn from such rows.

    What a method wants to know from inside the teacher is read from `features`, or asked of the
    live one.

    Args:
        context: The run.
        targets: What the teacher said, or several.
        teacher: Who said it.
        stored: By which codec, for the message.
        features: What its modules gave, where that is stored, too.

    Raises:
        TargetsError: It cannot. Only now is known what codec "auto" chose.
    """
    check_rows(context.recipe.distil.method, targets.like, stored=f"codec {stored}")
    aligned = targets.aligned(context.task.data.train)
    within = None if features is None else features.aligned(context.task.data.train)
    paths = teacher_taps_of(context.recipe)

    def teach(batch: Batch) -> dict[str, Rows]:
        rows = aligned.rows(batch.index, batch.view)
        said = {name: part.to(context.device) for name, part in rows.items()}
        if not paths:
            return said
        if within is None:
            return {**features_of(teacher, batch.inputs, paths), **said}
        read = stored_features(within.rows(batch.index, batch.view), paths)
        return {**said, **{name: part.to(context.device) for name, part in read.items()}}

    return teach


def flops_of_asking(context: Context, teacher: Teacher, fitted: Fitted) -> int:
    """Of a teacher's own passes while others learn; 0 where all that it said is stored."""
    recipe = context.recipe
    if not recipe.distil.live and (recipe.targets.features or not recipe.distil.taps):
        return 0
    return context.flops(teacher.model, fitted.samples_seen) or 0


def teach_live(context: Context, teacher: Teacher) -> Teach:
    """The teacher's rows, and features, from the teacher, asked again at every step."""
    paths = teacher_taps_of(context.recipe)

    def teach(batch: Batch) -> dict[str, Rows]:
        return rows_and_features_of(teacher, batch.inputs, paths)

    return teach


def _students(
    context: Context,
    role: Role,
    seed: int,
    teacher: Teacher,
    terms: Objective,
    teach: Teach | None,
    depends: Sequence[Any],
    of_features: Callable[[str, nn.Module], Objective] = lambda name, model: (),
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
        Learner(
            name=key,
            model=model,
            objective=terms + of_features(key, model),
            outputs=recipe.students[key].outputs,
            balance=recipe.distil.balance if role == "distil" else None,
        )
        for key, model in models.items()
    ]
    objective = learners[0].objective  # of the same terms for all
    who: Literal["labelled", "taught"] = "labelled" if only_from_labels(objective) else "taught"
    asked = teach if any(term.from_teacher for term in objective) else None
    role_of = {"control": "control", "distil": "student"}[role]
    for key, told in begins.items():
        if told and seed == 0:
            context.progress.say(f"{role_of} {key} begins with {told}")
    title = f"training {role_of} {' + '.join(models)}, {seed + 1} of {recipe.seeds}"
    fitted = context.fit(stage, name, learners, recipe.train, seed, who, teach=asked, title=title)
    if context.writes:
        for key, model in models.items():
            save_weights(model, made[key])
    record = context.record(
        stage,
        name,
        seconds=fitted.seconds,
        flops=context.training_flops(learners, fitted)
        + (0 if asked is None else flops_of_asking(context, teacher, fitted)),
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
