"""What the page draws: curves, reliability, classes, and where student and teacher differ."""

import base64
import io
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from limbeck import results
from limbeck.data import DataSet
from limbeck.evaluation import Answers
from limbeck.metrics import reliability
from limbeck.pipeline._records import Record
from limbeck.signals import Head
from limbeck.tasks import Task

SHOWN = 12
"""Disagreements on the page."""
MOST_CLASSES = 100
"""Classes, at most, that are looked at one by one."""


def details_of(
    task: Task,
    teacher: Answers,
    controls: Sequence[Answers],
    students: Sequence[Answers],
    *,
    stages: Mapping[str, Sequence[Record]],
    student: str,
) -> results.Details:
    """What the page draws for one named student."""
    curves = _curves(stages, student)
    head = task.data.head
    if head.space != "categorical":
        return results.Details(curves=curves)
    pooled: dict[results.Role, Answers] = {
        "teacher": teacher,
        "control": _pool(controls),
        "student": _pool(students),
    }
    return results.Details(
        curves=curves,
        reliability={role: _reliability(answers) for role, answers in pooled.items()},
        per_class=_per_class(pooled, teacher, head),
        disagreements=_disagreements(task.data, teacher, students[0], head),
    )


def _pool(several: Sequence[Answers]) -> Answers:
    return Answers(
        rows=torch.cat([each.rows for each in several]),
        labels=torch.cat([each.labels for each in several]),
    )


def _curves(stages: Mapping[str, Sequence[Record]], student: str) -> list[results.Curve]:
    curves = []
    taught = stages["teacher"][0].facts["history"]
    if taught:
        curves.append(_curve("teacher", "", 0, taught))
    for seed, record in enumerate(stages["control"]):
        curves.append(_curve("control", student, seed, record.facts["histories"][student]))
    for seed, record in enumerate(stages["distil"]):
        curves.append(_curve("student", student, seed, record.facts["histories"][student]))
    return curves


def _curve(
    role: results.Role, student: str, seed: int, history: Mapping[str, list[float]]
) -> results.Curve:
    return results.Curve(
        role=role,
        student=student,
        seed=seed,
        epochs=list(range(1, len(history["loss"]) + 1)),
        loss=history["loss"],
        validation=list(history["validation"]),
    )


def _reliability(answers: Answers) -> results.Reliability:
    bins = reliability(answers.rows, answers.labels)
    return results.Reliability(
        confidence=bins.confidence.tolist(),
        accuracy=bins.accuracy.tolist(),
        count=bins.count.tolist(),
    )


def _per_class(
    pooled: Mapping[results.Role, Answers], teacher: Answers, head: Head
) -> results.PerClass | None:
    if head.size > MOST_CLASSES:
        return None
    rows = torch.bincount(teacher.labels, minlength=head.size)

    def share_right(answers: Answers) -> list[float | None]:
        right = answers.rows.argmax(-1) == answers.labels
        count = torch.bincount(answers.labels, minlength=head.size)
        hits = torch.bincount(answers.labels, weights=right.double(), minlength=head.size)
        return [
            hit / total if total else None
            for hit, total in zip(hits.tolist(), count.tolist(), strict=True)
        ]

    return results.PerClass(
        classes=list(head.classes) or [str(number) for number in range(head.size)],
        rows=rows.tolist(),
        teacher=share_right(pooled["teacher"]),
        control=share_right(pooled["control"]),
        student=share_right(pooled["student"]),
    )


def _disagreements(
    data: DataSet, teacher: Answers, student: Answers, head: Head
) -> list[results.Disagreement]:
    """The samples with one row that the student is surest of against the teacher."""
    if len(student.rows) != len(data.test):
        return []
    said, taught = torch.softmax(student.rows, -1), torch.softmax(teacher.rows, -1)
    confidence, chosen = said.max(-1)
    teacher_confidence, teacher_chosen = taught.max(-1)
    order = (confidence * (chosen != teacher_chosen)).argsort(descending=True)
    names = head.classes or tuple(str(number) for number in range(head.size))
    found = []
    for place in order[:SHOWN].tolist():
        if chosen[place] == teacher_chosen[place]:
            break
        image, text = shown(data, place)
        found.append(
            results.Disagreement(
                index=place,
                label=names[int(student.labels[place])],
                teacher=names[int(teacher_chosen[place])],
                student=names[int(chosen[place])],
                teacher_confidence=float(teacher_confidence[place]),
                student_confidence=float(confidence[place]),
                image_png=image,
                text=text,
            )
        )
    return found


def shown(data: DataSet, place: int) -> tuple[str | None, str | None]:
    """A test sample as the base64 of a PNG, or as text; neither for plain numbers."""
    inputs = data.test.fetch(torch.tensor([place])).inputs
    if isinstance(inputs, dict):
        ids = inputs.get("input_ids")
        if ids is None or not data.vocabulary:
            return None, None
        return None, " ".join(data.vocabulary[int(i)] for i in ids[0] if int(i) > 0)
    sample = inputs[0]
    if sample.dim() not in (2, 3) or (sample.dim() == 3 and sample.shape[0] not in (1, 3)):
        return None, None
    return _png(sample), None


def _png(image: Tensor) -> str:
    """Base64 of a PNG of `(height, width)` or `(channels, height, width)`, in 0..1."""
    from PIL import Image

    pixels = (image.clamp(0, 1) * 255).round().to(torch.uint8).numpy()
    pixels = np.moveaxis(pixels, 0, -1).squeeze() if pixels.ndim == 3 else pixels
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format="PNG")
    return base64.b64encode(file.getvalue()).decode()
