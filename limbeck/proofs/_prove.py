"""`prove`: from what a user wrote to what holds of it."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any, get_args

import torch
from torch import Tensor

from limbeck._errors import LossError
from limbeck._lookup import check_choice, import_function
from limbeck.proofs._bind import Bound, bind
from limbeck.proofs._case import Marks, random_case
from limbeck.proofs._examine import DIRECTIONS, Examination
from limbeck.proofs._findings import Proof
from limbeck.proofs._probe import Probe, largest
from limbeck.signals import Space


def prove(
    loss: Any,
    *,
    name: str | None = None,
    options: Mapping[str, Any] | None = None,
    space: Space = "categorical",
    teacher_first: bool | None = None,
    expect: str | None = None,
) -> Proof:
    """Measure what must hold of a distillation loss, and find out what it is.

    Args:
        loss: A function of a student's and a teacher's logits `(rows, classes)` that returns one
            value for each row, or one for all; a module, or a class or function that makes one;
            or where that is, "module:function". Labels, a mask and a temperature are told by their
            names.
        name: What to call it; "module:function" makes counterexamples that run as they are.
        options: By keyword, for the loss or for what makes it.
        space: How rows compare: categorical, binary (yes or no for each class) or real.
        teacher_first: Whether the teacher's rows come first; None to tell it from the names.
        expect: forward or reverse, if it shall be that KL divergence.

    Returns:
        Every property, with the smallest counterexample of what breaks. Nothing is trained, and
        torch's random state is as it was.

    Raises:
        OptionError: An option does not exist, or one is missing.
        LossError: The loss raises, or does not return numbers.
    """
    check_choice("space", space, ("categorical", "binary", "real"))
    if expect is not None:
        check_choice("expect", expect, DIRECTIONS)
    if isinstance(loss, str):
        name, loss = name or loss, import_function("loss", loss, LossError)
    name = name or getattr(loss, "__name__", None) or type(loss).__name__
    with torch.random.fork_rng(devices=[]), torch.enable_grad():
        bound_to = partial(bind, loss, name=name, options=options or {}, space=space)
        bound = bound_to(teacher_first=teacher_first)
        notes = []
        if bound.doubtful:
            swapped = _teaches_the_second(bound)
            if swapped:
                teacher_first = True
                bound = bound_to(teacher_first=True)
            side = "teacher" if swapped else "student"
            how = (
                "only its second argument gets a gradient" if swapped else "nothing says otherwise"
            )
            notes.append(
                f"Its first argument was taken for the {side}'s, for {how}: --teacher-first or "
                "--student-first says so."
            )
        if bound.of_sequences:
            notes.append("It takes sequences: each row is given as one of a single token.")
        marked = _with_marks(bound, partial(bound_to, teacher_first=teacher_first))
        if marked is not None and marked.padding_mask:
            notes.append(
                f"Its mask was taken for one whose True means padding, for {marked.padding_mask}."
            )
        return Examination(_without_idle_labels(bound), marked, name, space, expect).proof(notes)


def _with_marks(bound: Bound, bound_to: Callable[..., Bound]) -> Bound | None:
    """The loss as it is told which rows count: by a mask, also one that may be left out, or labels.

    None for a loss that takes neither.
    """
    if "mask" in bound.marks:
        return bound
    case = random_case(dtype=bound.dtype)
    for role in get_args(Marks):
        try:
            marked: Bound = bound_to(optional=(role,))
        except LossError:  # another mask than one of rows, or other labels
            continue
        if role not in marked.marks:
            continue
        if role == "labels" or _same(marked.ask(case), bound.ask(case)):
            return marked
    return None


def _same(value: Tensor, other: Tensor) -> bool:
    return value.shape == other.shape and torch.allclose(value, other, rtol=1e-4)


def _without_idle_labels(bound: Bound) -> Bound:
    """Labels that say which rows count, and not which class is right, are none."""
    if not (bound.takes_labels and bound.takes_teacher):
        return bound
    probe, case = Probe(ask=bound.ask), random_case(dtype=bound.dtype)
    others = replace(case, labels=case.labels.roll(1))
    same = torch.equal(probe.gradient(case), probe.gradient(others))
    return replace(bound, takes_labels=not same)


def _teaches_the_second(bound: Bound) -> bool:
    probe, case = Probe(ask=bound.ask), random_case(dtype=bound.dtype)
    return largest(probe.gradient(case)) == 0 and largest(probe.teacher_gradient(case)) > 0
