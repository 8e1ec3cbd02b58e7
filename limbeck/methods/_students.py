"""Students as teachers: they teach each other, and a student's own average teaches it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from limbeck.methods._terms import (
    AnyTerm,
    Objective,
    Speaker,
    Term,
    TermLoss,
    said_by,
    term_name,
)
from limbeck.recipe import Ema
from limbeck.signals import Batch, Dense, Head, Rows

LossOf = Callable[[Head], TermLoss]
"""The loss of a head towards one that teaches."""


def mutual(heads: Sequence[Head], loss_of: LossOf, *, weight: float) -> Objective:
    """Every other student of a pass as a teacher: the mean of a loss towards each of them."""
    return tuple(
        _term("mutual", "peers", head, heads, _towards_each(loss_of(head)), weight)
        for head in heads
    )


def averaged(heads: Sequence[Head], loss_of: LossOf, settings: Ema) -> Objective:
    """The moving average of the student's own weights as a teacher."""
    return tuple(
        replace(
            _term("ema", "average", head, heads, loss_of(head), settings.weight),
            ramp_up=settings.ramp_up,
            decay=settings.decay,
        )
        for head in heads
    )


def _term(
    kind: str, speaker: Speaker, head: Head, heads: Sequence[Head], loss: TermLoss, weight: float
) -> Term:
    return Term(
        name=term_name(kind, head, heads),
        head=head.name,
        weight=weight,
        with_labels=False,
        from_teacher=False,
        towards=speaker,
        loss=loss,
    )


def _towards_each(loss: TermLoss) -> TermLoss:
    """The mean of a loss towards each of several, whose rows lie one upon the other."""

    def towards_each(student: Tensor, teacher: Rows | None, batch: Batch) -> Tensor:
        assert isinstance(teacher, Dense), "students say all that they say"
        return loss(student.expand_as(teacher.values), teacher, batch).mean(dim=0)

    return towards_each


def learns_from(speaker: Speaker, term: AnyTerm) -> bool:
    """Whether a term is towards what this one says."""
    return isinstance(term, Term) and term.towards == speaker


def alone(terms: Objective) -> Objective:
    """What of an objective is left to one who learns without other students."""
    return tuple(term for term in terms if not learns_from("peers", term))


def said_by_peers(
    answers: Sequence[Mapping[str, Tensor]], heads: Sequence[Head]
) -> dict[str, Dense]:
    """Other students' rows, one upon the other, `(students, batch, ..., size)`, without gradient.

    Args:
        answers: What each of them says of a batch, by head.
        heads: What they answer.
    """
    stacked = {head.name: torch.stack([one[head.name] for one in answers]) for head in heads}
    return _said("peers", stacked, heads)


def said_by_average(answers: Mapping[str, Tensor], heads: Sequence[Head]) -> dict[str, Dense]:
    """The rows of the moving average of a student's weights, `(batch, ..., size)`, by head."""
    return _said("average", answers, heads)


def _said(speaker: Speaker, rows: Mapping[str, Tensor], heads: Sequence[Head]) -> dict[str, Dense]:
    return {said_by(speaker, head.name): Dense(values=rows[head.name].detach()) for head in heads}
