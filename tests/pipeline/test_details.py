"""What the page draws is what the models said."""

import base64
import io

import numpy as np
import pytest
import torch
from PIL import Image

from limbeck.data import ArraySamples, DataSet, load
from limbeck.evaluation import Answers
from limbeck.metrics import METRICS
from limbeck.pipeline._details import details_of
from limbeck.pipeline._records import Record
from limbeck.signals import Head
from limbeck.tasks import Task

CLASSES = ("ant", "bee", "cow")


def _record(**facts):
    return Record(fingerprint="", seconds=0.0, flops=None, facts=facts)


def _history(*losses):
    return {"loss": list(losses), "terms": {}, "validation": [0.5] * len(losses)}


STAGES = {
    "teacher": [_record(history=_history(3.0, 2.0))],
    "control": [_record(histories={"small": _history(1.0), "wide": _history(9.0)})],
    "distil": [_record(histories={"small": _history(0.5), "wide": _history(8.0)})],
}


def _task(inputs, labels, *, classes=CLASSES, vocabulary=()):
    split = ArraySamples(inputs, {"label": labels})
    head = Head(space="categorical", size=3, classes=classes)
    data = DataSet(
        train=split, validation=split, test=split, heads=(head,), vocabulary=tuple(vocabulary)
    )
    return Task(data=data, metric=METRICS["accuracy"])


LABELS = torch.tensor([0, 0, 1, 1])


def _sure(*classes, by=2.0):
    """Answers that choose these classes, each surer than the one before."""
    rows = torch.zeros(len(classes), 3)
    for place, chosen in enumerate(classes):
        rows[place, chosen] = by + place
    return Answers(rows=rows, labels=LABELS)


def _details(task, student, *, teacher=None, stages=STAGES):
    teacher = teacher or _sure(0, 0, 1, 1)
    return details_of(task, teacher, [student], [student], stages=stages, student="small")


NUMBERS = _task(torch.rand(4, 2), LABELS)


def test_curves_are_those_of_the_teacher_and_of_the_named_student():
    curves = _details(NUMBERS, _sure(0, 0, 1, 1)).curves
    assert [(curve.role, curve.student, curve.loss, curve.epochs) for curve in curves] == [
        ("teacher", "", [3.0, 2.0], [1, 2]),
        ("control", "small", [1.0], [1]),
        ("student", "small", [0.5], [1]),
    ]


def test_a_loaded_teacher_has_no_curve():
    stages = {**STAGES, "teacher": [_record(history={})]}
    curves = _details(NUMBERS, _sure(0, 0, 1, 1), stages=stages).curves
    assert [curve.role for curve in curves] == ["control", "student"]


def test_the_share_right_of_each_class_pools_the_seeds():
    first, second = _sure(0, 1, 1, 1), _sure(1, 1, 1, 0)
    details = details_of(
        NUMBERS, _sure(0, 0, 1, 1), [first], [first, second], stages=STAGES, student="small"
    )
    found = details.per_class
    assert found is not None
    assert found.classes == list(CLASSES)
    assert found.rows == [2, 2, 0]
    assert found.teacher == [1.0, 1.0, None]
    assert found.control == [0.5, 1.0, None]
    assert found.student == [0.25, 0.75, None]


def test_every_row_is_in_one_bin_of_the_reliability_diagram():
    details = _details(NUMBERS, _sure(0, 0, 1, 2))
    assert set(details.reliability) == {"teacher", "control", "student"}
    assert sum(details.reliability["student"].count) == 4


def test_disagreements_come_from_the_surest_student_down():
    details = _details(NUMBERS, _sure(1, 0, 2, 2))
    assert [one.index for one in details.disagreements] == [3, 2, 0]
    surest = details.disagreements[0]
    assert (surest.label, surest.teacher, surest.student) == ("bee", "bee", "cow")
    expected = float(np.exp(5.0) / (np.exp(5.0) + 2))
    assert surest.student_confidence == pytest.approx(expected)
    assert surest.teacher_confidence == pytest.approx(expected)


def test_classes_without_names_are_called_by_their_number():
    task = _task(torch.rand(4, 2), LABELS, classes=())
    [only] = _details(task, _sure(2, 0, 1, 1)).disagreements
    assert (only.label, only.student) == ("0", "2")


def test_plain_numbers_are_neither_image_nor_text():
    [only] = _details(NUMBERS, _sure(2, 0, 1, 1)).disagreements
    assert (only.image_png, only.text) == (None, None)


@pytest.mark.parametrize("shape", [(5, 6), (1, 5, 6), (3, 5, 6)])
def test_an_image_is_shown_as_a_png_of_its_pixels(shape):
    images = torch.randint(0, 256, (4, *shape), dtype=torch.uint8)
    [only] = _details(_task(images, LABELS), _sure(0, 0, 1, 2)).disagreements
    pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(only.image_png))))
    expected = images[3].numpy()
    expected = expected.squeeze(0) if shape[0] == 1 else expected
    expected = np.moveaxis(expected, 0, -1) if expected.ndim == 3 else expected
    assert np.array_equal(pixels, expected)


def test_a_text_is_shown_as_its_words():
    ids = torch.tensor([[1, 2, 0]] * 3 + [[2, 1, 0]])
    task = _task({"input_ids": ids}, LABELS, vocabulary=["<pad>", "hello", "world"])
    [only] = _details(task, _sure(0, 0, 1, 2)).disagreements
    assert only.text == "world hello"
    assert only.image_png is None


def test_a_sample_of_many_rows_is_not_shown():
    ids = torch.tensor([[1, 2]] * 2)
    labels = torch.tensor([[0, 0], [1, 1]])
    task = _task({"input_ids": ids}, labels, vocabulary=["<pad>", "hello", "world"])
    assert _details(task, _sure(0, 0, 1, 2)).disagreements == []


def test_a_head_of_very_many_classes_is_not_listed_class_by_class():
    head = Head(space="categorical", size=101)
    split = ArraySamples(torch.rand(4, 2), {"label": LABELS})
    data = DataSet(train=split, validation=split, test=split, heads=(head,))
    answers = Answers(rows=torch.eye(101)[:4], labels=LABELS)
    task = Task(data=data, metric=METRICS["accuracy"])
    details = _details(task, answers, teacher=answers)
    assert details.per_class is None
    assert details.reliability["student"].count


def test_the_digits_of_a_real_run_are_shown_upright():
    data = load("digits")
    task = Task(data=data, metric=METRICS["accuracy"])
    labels = data.test.labels["label"]
    right = torch.nn.functional.one_hot(labels, 10).float() * 9
    wrong = right.clone()
    wrong[5] = right[5].roll(1)
    student, teacher = Answers(rows=wrong, labels=labels), Answers(rows=right, labels=labels)
    details = _details(task, student, teacher=teacher)
    [only] = details.disagreements
    pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(only.image_png))))
    inputs = data.test.fetch(torch.tensor([5])).inputs
    assert only.index == 5
    assert np.abs(pixels / 255 - inputs[0].numpy()).max() <= 0.5 / 255 + 1e-6
