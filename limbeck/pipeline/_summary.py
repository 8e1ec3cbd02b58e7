"""From trained models to the result files: the one place where test data are read."""

import math
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import nn

from limbeck import results
from limbeck.evaluation import (
    Answers,
    Cost,
    Nearness,
    answer_all,
    as_answerer,
    calibration_error,
    cost,
    nearness,
)
from limbeck.pipeline._details import details_of
from limbeck.pipeline._records import Record
from limbeck.pipeline._tree import tree_of
from limbeck.recipe import Recipe
from limbeck.signals import Head
from limbeck.targets import TransferSet
from limbeck.tasks import Task
from limbeck.teachers import Teacher
from limbeck.verdict import judge


@dataclass(frozen=True, kw_only=True)
class Trained:
    """One named student and its controls, one of each per seed."""

    controls: Sequence[nn.Module]
    students: Sequence[nn.Module]


@dataclass(frozen=True, kw_only=True)
class _Examined:
    """What a named student and its controls said of the test data."""

    controls: list[Answers]
    students: list[Answers]
    cost: Cost


def summarise(
    recipe: Recipe,
    task: Task,
    teacher: Teacher,
    trained: Mapping[str, Trained],
    *,
    members: Mapping[str, Teacher],
    assistants: Mapping[str, Teacher],
    sets: Sequence[TransferSet],
    stages: Mapping[str, Sequence[Record]],
    warnings: Sequence[str],
    begun: float,
) -> tuple[results.Report, results.Details]:
    """Ask every model for the test data, once, and sum up.

    Args:
        recipe: What was run.
        task: Its data and metric.
        teacher: The teacher, or all of them together.
        trained: By student's name.
        members: Each of several teachers.
        assistants: Who stood between, in order.
        sets: What the students learned from: none with a live teacher, several of several.
        stages: The records of each stage done, in order.
        warnings: What was noticed on the way.
        begun: `time.monotonic()` when the evaluation began.
    """
    head, test = task.data.head, task.data.test
    said = answer_all(teacher.logits, test, head)
    teacher_cost = cost(teacher.model, test)
    examined = {
        name: _examine(models, task, recipe.students[name].outputs)
        for name, models in trained.items()
    }
    teacher_score = task.metric.score(said.rows, said.labels)
    students = {
        name: _student_result(answers, said, teacher_score, task, _begins(stages, name))
        for name, answers in examined.items()
    }
    first = next(iter(students))
    seconds = time.monotonic() - begun
    report = results.Report(
        limbeck=results.versions().get("limbeck", ""),
        recipe=recipe.model_dump(mode="json", exclude_none=True),
        machine=results.machine(),
        versions=results.versions(),
        metric=results.Metric(name=task.metric.name, higher_is_better=task.metric.higher_is_better),
        data=_sizes(task),
        models={
            "teacher": _measured([teacher_score], teacher_cost),
            "control": students[first].control,
            "student": students[first].student,
        },
        fidelity=students[first].fidelity,
        verdict=students[first].verdict,
        targets=_targets(sets, recipe, stages) if sets else None,
        ledger=_ledger(stages, seconds, recipe, teacher_cost, examined[first].cost),
        students=students,
        teachers={name: _score_of(each, task) for name, each in members.items()},
        assistants={name: _score_of(each, task) for name, each in assistants.items()},
        teacher_validation=stages["teacher"][0].facts["validation"],
        warnings=list(warnings),
    )
    answers = examined[first]
    details = details_of(
        task, said, answers.controls, answers.students, stages=stages, student=first
    )
    tree = tree_of(trained[first].students[0], task.data)
    return report, details.model_copy(update={"tree": tree})


def _score_of(teacher: Teacher, task: Task) -> results.Measured:
    """What one of several teachers, or an assistant, says of the test data, and what it costs."""
    answers = answer_all(teacher.logits, task.data.test, task.data.head)
    score = task.metric.score(answers.rows, answers.labels)
    return _measured([score], cost(teacher.model, task.data.test))


def _examine(models: Trained, task: Task, outputs: str) -> _Examined:
    def ask(model: nn.Module) -> Answers:
        answerer = as_answerer(model, task.data.heads, outputs=outputs)
        return answer_all(answerer, task.data.test, task.data.head)

    return _Examined(
        controls=[ask(model) for model in models.controls],
        students=[ask(model) for model in models.students],
        cost=cost(models.students[0], task.data.test),
    )


def _student_result(
    answers: _Examined,
    teacher: Answers,
    teacher_score: float,
    task: Task,
    begins: Mapping[str, str],
) -> results.StudentResult:
    def scores(several: list[Answers]) -> list[float]:
        return [task.metric.score(each.rows, each.labels) for each in several]

    control, student = scores(answers.controls), scores(answers.students)
    return results.StudentResult(
        control=_measured(control, answers.cost),
        student=_measured(student, answers.cost),
        fidelity=_fidelity(answers, teacher, task.data.head),
        verdict=judge(
            student,
            control,
            teacher_score,
            results.Metric(name=task.metric.name, higher_is_better=task.metric.higher_is_better),
        ),
        begins=begins["distil"],
        control_begins=begins["control"],
    )


def _begins(stages: Mapping[str, Sequence[Record]], student: str) -> dict[str, str]:
    """How a student and its control began."""
    roles = ("distil", "control")
    return {role: stages[role][0].facts.get("begins", {}).get(student, "") for role in roles}


def _measured(scores: list[float], spent: Cost) -> results.Measured:
    return results.Measured(
        score=results.Score(
            mean=statistics.fmean(scores),
            std=statistics.stdev(scores) if len(scores) > 1 else None,
            values=scores,
        ),
        parameters=spent.parameters,
        bytes=spent.bytes,
        flops_per_example=spent.flops_per_example,
        latency_ms=spent.latency_ms,
    )


def _fidelity(answers: _Examined, teacher: Answers, head: Head) -> results.Fidelity:
    def mean(values: list[float | None]) -> float | None:
        known = [value for value in values if value is not None]
        return statistics.fmean(known) if known else None

    near: list[Nearness] = [nearness(each, teacher, head) for each in answers.students]
    control_near = [nearness(each, teacher, head) for each in answers.controls]
    errors = [
        mean([calibration_error(each, head) for each in several])
        for several in ([teacher], answers.controls, answers.students)
    ]
    calibration = None
    if errors[0] is not None and errors[1] is not None and errors[2] is not None:
        calibration = results.Calibration(teacher=errors[0], control=errors[1], student=errors[2])
    return results.Fidelity(
        agreement=mean([each.agreement for each in near]),
        agreement_when_teacher_wrong=mean([each.agreement_when_teacher_wrong for each in near]),
        kl=mean([each.kl for each in near]),
        ece=calibration,
        control_agreement=mean([each.agreement for each in control_near]),
    )


def _sizes(task: Task) -> dict[str, int]:
    data = task.data
    labelled = data.train.labelled
    return {
        "train": len(data.train),
        "labelled": len(data.train) if labelled is None else int(labelled.sum()),
        "validation": len(data.validation),
        "test": len(data.test),
    }


def _targets(
    sets: Sequence[TransferSet], recipe: Recipe, stages: Mapping[str, Sequence[Record]]
) -> results.Targets:
    """Of one transfer set; of several all together, and the least faithful."""
    cards = [one.card for one in sets]
    far = [card.kl_to_teacher for card in cards if card.kl_to_teacher is not None]
    numbers = all(head.space == "real" for head in sets[0].heads)
    near = [each for card in cards if (each := card.agreement_with_teacher) is not None]
    return results.Targets(
        codec=", ".join(sorted({one.manifest.settings.codec for one in sets})),
        rows=sum(card.rows for card in cards),
        bytes=sum(card.bytes for card in cards),
        bytes_per_row=statistics.fmean(card.bytes_per_row for card in cards),
        dense_bytes_per_row=statistics.fmean(card.dense_bytes_per_row for card in cards),
        kl_to_teacher=max(far, default=None),
        agreement_with_teacher=min(near, default=None),
        temperature=recipe.targets.temperature,
        compress="" if numbers else recipe.targets.compress,
        biased=any(card.biased for card in cards),
        views=recipe.targets.views,
        feature_bytes=sum(
            record.facts.get("feature_bytes", 0)
            for records in stages.values()
            for record in records
        ),
    )


def _ledger(
    stages: Mapping[str, Sequence[Record]],
    evaluation_seconds: float,
    recipe: Recipe,
    teacher: Cost,
    student: Cost,
) -> results.Ledger:
    spent = [
        results.Stage(
            name=name,
            seconds=sum(record.seconds for record in records),
            flops=_sum([record.flops for record in records]),
        )
        for name, records in stages.items()
        if records
    ]
    spent.append(results.Stage(name="evaluate", seconds=evaluation_seconds, flops=None))
    return results.Ledger(
        stages=spent, break_even_predictions=_break_even(stages, recipe, teacher, student)
    )


def _sum(values: Sequence[int | None]) -> int | None:
    known = [value for value in values if value is not None]
    return sum(known) if len(known) == len(values) else None


def _break_even(
    stages: Mapping[str, Sequence[Record]], recipe: Recipe, teacher: Cost, student: Cost
) -> int | None:
    """What one student cost, in seconds, by what one of its answers saves.

    Its price is that of the targets, of assistants and theirs, and of distilling it once; the
    teacher is taken as given, and controls and further seeds are the price of knowing, not of
    having.
    """
    if teacher.latency_ms is None or student.latency_ms is None:
        return None
    saved = (teacher.latency_ms.batch_1 - student.latency_ms.batch_1) / 1e3
    distil = sum(record.seconds for record in stages["distil"])
    price = sum(
        record.seconds
        for name, records in stages.items()
        if name.startswith(("targets", "assistant-"))
        for record in records
    )
    price += distil / (recipe.seeds * len(recipe.students))
    return math.ceil(price / saved) if saved > 0 else None
