"""From a recipe and two models to the term of a feature method, and what a live teacher says."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from limbeck._errors import ModelError, OptionError
from limbeck._outputs import put_through
from limbeck.methods._method import Options
from limbeck.methods._terms import FeatureTerm
from limbeck.methods.features._classifiers import Classifier, classifiers_of
from limbeck.methods.features._method import EachTap, FeatureMethod, Pair
from limbeck.signals import Batch, Dense, Inputs, Rows
from limbeck.taps import tap_name, tapped
from limbeck.teachers import Teacher

Taps = Sequence[tuple[str, str]]
"""Paths of the student's module and of the teacher's, by pairs."""


def feature_term(
    method: FeatureMethod,
    options: Options,
    taps: Taps,
    student: nn.Module,
    batch: Batch,
    taught: Mapping[str, Rows],
    *,
    teacher: Teacher | None,
    weight: float | None,
    progressive: float = 0.0,
    num_samples: int,
    seed: int,
    who: str = "the student",
) -> FeatureTerm:
    """The term of a method for one student, its parts made from the shapes of a batch.

    The student is not changed, nor are torch's random numbers.

    Args:
        method: Whose.
        options: Its options.
        taps: Which modules are compared.
        student: Who learns.
        batch: Some samples, on any device.
        taught: What the teacher says of them; its features by `tap_name`.
        teacher: Who said it, for methods that need its classifier; None if that is not at hand.
        weight: Of the term; the method's own if None.
        progressive: The share of training over which taps join, one after another, 0 to below 1.
        num_samples: Training samples in all.
        seed: Of the first weights of what is learned beside the student.
        who: The student, for the message.

    Raises:
        OptionError: `progressive` is not for this method.
        ModelError: There is no such module, or it gets no gradient; or the method needs a
            classifier, and there is none.
        ShapeError: What they give is not what the method is for.
    """
    student_taps, teacher_taps = (tuple(side) for side in zip(*taps, strict=True))
    ours, _ = heard_inside(student, student_taps, batch.inputs, who=who)
    answering: dict[str, dict[str, Classifier]] = {"student": {}, "teacher": {}}
    if "student" in method.classifiers:
        answering["student"] = classifiers_of(student, student_taps, batch.inputs, who=who)
    if "teacher" in method.classifiers:
        whole = _torch_module(teacher)
        answering["teacher"] = classifiers_of(whole, teacher_taps, batch.inputs, who="the teacher")
    pairs = [
        Pair(
            student=tuple(ours[mine].shape[1:]),
            teacher=_shape(taught[tap_name(other)]),
            num_samples=num_samples,
            student_classifier=answering["student"].get(mine),
            teacher_classifier=answering["teacher"].get(other),
        )
        for mine, other in taps
    ]
    method.check(pairs, taps)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)  # of the CPU alone, as what is kept of it
        module = method.make(pairs, **options.model_dump())
    if progressive:
        if not isinstance(module, EachTap):
            raise OptionError(
                "progressive lets taps join one after another, and this method compares all of "
                "its taps together. Set it to 0."
            )
        module.progressive = progressive
    return FeatureTerm(
        weight=method.weight if weight is None else weight,
        student_taps=student_taps,
        teacher_taps=teacher_taps,
        module=module.to(torch.promote_types(ours[student_taps[0]].dtype, torch.float32)),
    )


def _torch_module(teacher: Teacher | None) -> nn.Module:
    if teacher is None:
        raise ModelError(
            "this method needs the layer by which the teacher answers from its features, and "
            "stored features do not hold it. Give the teacher itself."
        )
    assert isinstance(teacher.model, nn.Module), "something inside it was tapped"
    return teacher.model


def _shape(features: Rows) -> tuple[int, ...]:
    assert isinstance(features, Dense), "features are numbers, all of them"
    return tuple(features.values.shape[1:])


def features_of(teacher: Teacher, inputs: Inputs, paths: Sequence[str]) -> dict[str, Dense]:
    """What modules inside a teacher give for a batch, by `tap_name`; none if none are named.

    Raises:
        ModelError: The teacher is no torch module, or has no such module.
    """
    return _asked(teacher, inputs, paths)[1] if paths else {}


def rows_and_features_of(teacher: Teacher, inputs: Inputs, paths: Sequence[str]) -> dict[str, Rows]:
    """What a live teacher says of a batch: logits by head, and features by `tap_name`.

    Raises:
        ModelError: As `features_of`.
    """
    said, features = _asked(teacher, inputs, paths)
    rows = {name: Dense(values=values) for name, values in said.items()}
    return {**rows, **features}


def _asked(
    teacher: Teacher, inputs: Inputs, paths: Sequence[str]
) -> tuple[dict[str, Tensor], dict[str, Dense]]:
    if not paths:
        return teacher.logits(inputs), {}
    if not isinstance(teacher.model, nn.Module):
        raise ModelError(
            "the teacher is no torch module: nothing inside it can be tapped. Take a method that "
            "learns from rows; `limbeck methods` lists them."
        )
    with tapped(teacher.model, paths, who="the teacher") as seen:
        said = teacher.logits(inputs)
    return said, {tap_name(path): Dense(values=part.detach()) for path, part in seen.items()}


def heard_inside(
    model: nn.Module, paths: Sequence[str], inputs: Inputs, *, who: str
) -> tuple[dict[str, Tensor], Any]:
    """What modules inside a student give, by path, and what it returns; its mode is as it was.

    Raises:
        ModelError: A module's tensor has no gradient: nothing would be learned from it.
    """
    with torch.enable_grad(), tapped(model, paths, who=who) as seen:
        output = put_through(model, inputs, who=who)
    for path, tensor in seen.items():
        if not tensor.requires_grad:
            raise ModelError(
                f"what the module {path!r} of {who} gives has no gradient: nothing would be "
                "learned from it. Tap one that comes after weights that learn; a part under "
                "activation checkpointing needs use_reentrant = False."
            )
    return seen, output
