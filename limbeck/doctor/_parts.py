"""The parts of a recipe: data, teacher, students, objective; each made, called once, and shown."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from limbeck._errors import DataError
from limbeck._outputs import shape_of
from limbeck.data import DataSet, Samples
from limbeck.doctor._findings import Findings
from limbeck.doctor._lessons import (
    Answers,
    Lesson,
    as_control,
    as_peers,
    ask,
    make_lesson,
    make_teacher,
    one_batch,
)
from limbeck.doctor._splits import look_at_splits
from limbeck.doctor._starts import look_at_starts
from limbeck.methods import (
    Objective,
    alone,
    feature_terms,
    find_method,
    objective_of,
    supervised,
    teacher_taps_of,
    unlabelled_warnings,
)
from limbeck.methods.features import features_of
from limbeck.models import Interface, parameter_count
from limbeck.recipe import Recipe
from limbeck.recipe_combinations import check_combinations, without_effect
from limbeck.signals import Batch, Head
from limbeck.targets import Codec, planned_codec
from limbeck.teachers import Teacher
from limbeck.train import check_mixup


@dataclass(frozen=True, kw_only=True)
class Parts:
    """All that is looked at, sound so far."""

    batch: Batch
    """Of the students' training."""
    teacher: Teacher
    answers: Answers
    """What the teacher gave for the batch."""
    codec: Codec
    """As far as it is known before the teacher is asked."""
    terms: Objective
    """What the students learn from."""
    lessons: Sequence[Lesson]
    """Everyone who learns, in the order of the stages."""


def look_at_parts(
    recipe: Recipe, data: DataSet, device: torch.device, found: Findings
) -> Parts | None:
    """Make every part, show it, and note its faults; None if there are any."""
    interface = Interface.of(data)
    batch = one_batch(data.train, recipe.train.batch_size).to(device)
    found.attempt(lambda: check_combinations(recipe))
    codec = found.attempt(lambda: planned_codec(data.heads, **recipe.targets.codec_words))
    terms = found.attempt(lambda: objective_of(recipe, data.heads))
    found.attempt(lambda: _check_labels(data))
    if recipe.distil.mixup:
        found.attempt(lambda: check_mixup(terms or (), batch.inputs))
    teacher = found.attempt(lambda: make_teacher(recipe, interface, batch, device))
    answers = None if teacher is None else found.attempt(lambda: ask(teacher, batch))
    heard = None if answers is None else teacher
    lessons = _lessons(recipe, data.train, terms or (), heard, interface, device, found)
    found.tables.append(_heads_table(data.heads, batch))
    found.tables.append(_models_table(recipe, teacher, answers, lessons))
    if teacher is not None:
        look_at_starts(recipe, teacher, interface, batch, found)
    asked = _asked(heard, lessons)
    look_at_splits(data, asked, recipe.train.batch_size, device, found)
    _add_notes(recipe, terms or (), batch, found)
    if codec is None or terms is None or teacher is None or answers is None or found.faults:
        return None
    return Parts(
        batch=batch, teacher=teacher, answers=answers, codec=codec, terms=terms, lessons=lessons
    )


def _check_labels(data: DataSet) -> None:
    for head in data.heads:
        if head.name not in data.train.labels:
            raise DataError(
                f"the train split has no labels for head {head.name}, and every control learns "
                "from labels. Give some samples theirs."
            )


def _lessons(
    recipe: Recipe,
    samples: Samples,
    terms: Objective,
    teacher: Teacher | None,
    interface: Interface,
    device: torch.device,
    found: Findings,
) -> list[Lesson]:
    from_labels = supervised(interface.heads)

    def of_features(model: nn.Module, who: str) -> Objective:
        if not terms or teacher is None:
            return ()
        batch = one_batch(samples, recipe.train.batch_size)
        taught = features_of(teacher, batch.inputs, teacher_taps_of(recipe))
        return feature_terms(
            recipe,
            interface.heads,
            model,
            batch,
            taught,
            teacher=teacher,
            num_samples=len(samples),
            seed=0,
            who=who,
        )

    everyone = samples.with_labels_of(torch.ones(len(samples), dtype=torch.bool))
    teachers = [
        found.attempt(
            lambda who=who, part=part: make_lesson(  # type: ignore[misc]
                who,
                who.replace(" ", "s."),
                part,
                objective=from_labels,
                settings=part.train,
                samples=everyone if part.labels == "all" else samples,
                interface=interface,
                device=device,
            )
        )
        for who, part in recipe.all_teachers.items()
        # The one teacher has its fault already; of several, only here is it said whose it is.
        if part.weights is None and (teacher is not None or recipe.teacher is None)
    ]
    assistants = [
        found.attempt(
            lambda name=name, assistant=assistant: make_lesson(  # type: ignore[misc]
                f"assistant {name}",
                f"assistants.{name}",
                assistant,
                objective=alone(terms),
                settings=assistant.train or recipe.train,
                samples=samples,
                interface=interface,
                device=device,
                batch_size=recipe.train.batch_size,  # which the teacher was asked about
            )
        )
        for name, assistant in recipe.chain.items()
    ]
    students = [
        found.attempt(
            lambda name=name, student=student: make_lesson(  # type: ignore[misc]
                "distil",
                f"students.{name}",
                student,
                objective=terms,
                settings=recipe.train,
                samples=samples,
                interface=interface,
                device=device,
                seed=recipe.first_seed(name, 0),
                of_features=of_features,
            )
        )
        for name, student in recipe.students.items()
    ]
    able = [student for student in students if student is not None]
    controls = [as_control(student, from_labels) for student in able]
    if recipe.distil.mutual_weight > 0:
        able = as_peers(able)
    before = [one for one in (*teachers, *assistants) if one is not None]
    return before + controls + able


def _asked(teacher: Teacher | None, lessons: Sequence[Lesson]) -> dict[str, nn.Module]:
    """Who is asked about other splits, of those who can answer; a control is its student."""
    asked = {} if teacher is None else {"the teacher": teacher.model}
    asked |= {
        one.name: one.learner.model
        for one in lessons
        if one.stage.startswith(("assistant", "distil"))
    }
    return {name: model for name, model in asked.items() if isinstance(model, nn.Module)}


def _heads_table(heads: Sequence[Head], batch: Batch) -> tuple[str, list[str], list[list[str]]]:
    columns = ["head", "space", "size", "inputs", "labels"]
    rows = [
        [
            head.name,
            head.space,
            str(head.size),
            shape_of(batch.inputs),
            shape_of(batch.labels[head.name]) if head.name in batch.labels else "none",
        ]
        for head in heads
    ]
    return "Heads and one batch", columns, rows


def _models_table(
    recipe: Recipe, teacher: Teacher | None, answers: Answers | None, lessons: Sequence[Lesson]
) -> tuple[str, list[str], list[list[str]]]:
    rows = []
    if teacher is not None and answers is not None:
        parameters = (
            f"{parameter_count(teacher.model):,}" if isinstance(teacher.model, nn.Module) else "-"
        )
        what = " + ".join(each.model for each in recipe.all_teachers.values())
        rows.append(["teacher", what, parameters, _shapes(answers)])
    models = {f"assistant {name}": each.model for name, each in recipe.chain.items()}
    models |= {f"student {name}": each.model for name, each in recipe.students.items()}
    for lesson in lessons:
        if lesson.name in models:
            with torch.no_grad():
                said = lesson.said()
            parameters = f"{parameter_count(lesson.learner.model):,}"
            rows.append([lesson.name, models[lesson.name], parameters, _shapes(said)])
    return "Models", ["model", "what", "parameters", "answers"], rows


def _shapes(answers: Mapping[str, Tensor]) -> str:
    return ", ".join(f"{name} {shape_of(rows)}" for name, rows in answers.items())


def _add_notes(recipe: Recipe, terms: Objective, batch: Batch, found: Findings) -> None:
    name = recipe.distil.method
    if batch.labelled is not None:
        found.notes.append(
            f"Of the {len(batch)} samples in the batch, {int(batch.labelled.sum())} show their "
            "label."
        )
    found.warnings.extend(unlabelled_warnings(name, terms, batch.labelled))
    if terms and find_method(name).whole_batch and recipe.train.accumulate > 1:
        found.warnings.append(
            f"method {name} compares the rows of a batch with each other, and train.accumulate = "
            f"{recipe.train.accumulate} leaves it the rows of a part of it. With accumulate = 1 "
            "it is the method of the paper."
        )
    for who, teacher in recipe.all_teachers.items():
        if teacher.weights is None:
            found.notes.append(
                f"The {who} is untrained: the recipe trains it. What it says here is noise: the "
                "soft losses will be larger in the run, and stored rows more often agree with its "
                "own."
            )
    if ":" in name:
        found.notes.append(
            f"method {name} is your own: what holds of its loss is not measured here. `limbeck "
            f"prove {name}` says it."
        )
    found.notes.extend(without_effect(recipe))
