"""Methods: distillation objectives, by name, as sums of weighted loss terms.

A method is chosen by a recipe's `distil.method` and built for the heads at hand; which loss it
uses for a head follows from the head's space alone.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from limbeck._errors import OptionError, did_you_mean
from limbeck.losses import (
    binary_cross_entropy,
    cross_entropy,
    soft_binary_targets,
    soft_targets,
    sparse_soft_targets,
    squared_error,
)
from limbeck.signals import Batch, Head, Rows, Space, Sparse

SUPERVISED: dict[Space, Callable[[Tensor, Tensor], Tensor]] = {
    "categorical": cross_entropy,
    "binary": binary_cross_entropy,
    "real": squared_error,
}
"""The loss towards labels, by space."""


class TermLoss(Protocol):
    """One value per row from a student's rows, a teacher's and a batch."""

    def __call__(self, student: Tensor, teacher: Rows | None, batch: Batch) -> Tensor:
        """`(batch,)` or `(batch, rows)`."""


@dataclass(frozen=True, kw_only=True)
class Term:
    """One weighted loss of an objective."""

    name: str
    """`hard` or `soft`, followed by the head's name where there are several."""
    head: str
    """The head it is about."""
    weight: float
    """What its mean is multiplied by."""
    with_labels: bool
    """Whether it needs labels, and so counts labelled samples only."""
    loss: TermLoss
    """Its values."""


Objective = tuple[Term, ...]


def supervised(heads: Sequence[Head], *, weight: float = 1.0) -> Objective:
    """Labels alone: what the teacher and every control learn from."""
    return tuple(
        Term(
            name=_term_name("hard", head, heads),
            head=head.name,
            weight=weight,
            with_labels=True,
            loss=_towards_labels(head),
        )
        for head in heads
    )


def soft_target_method(
    heads: Sequence[Head], *, temperature: float, hard_weight: float, soft_weight: float
) -> Objective:
    """Soft targets, and labels where there are any (Hinton et al., 2015)."""
    soft = tuple(
        Term(
            name=_term_name("soft", head, heads),
            head=head.name,
            weight=soft_weight,
            with_labels=False,
            loss=_towards_teacher(head, temperature),
        )
        for head in heads
    )
    return soft + (supervised(heads, weight=hard_weight) if hard_weight > 0 else ())


METHODS: dict[str, Callable[..., Objective]] = {"soft_targets": soft_target_method}
"""Methods by name."""


def objective(
    method: str,
    heads: Sequence[Head],
    *,
    temperature: float,
    hard_weight: float,
    soft_weight: float,
) -> Objective:
    """The named method's terms for these heads.

    Raises:
        OptionError: There is no such method.
    """
    if method not in METHODS:
        raise OptionError(
            f"no method is called {method!r}.{did_you_mean(method, METHODS)} "
            f"There are {', '.join(sorted(METHODS))}."
        )
    return METHODS[method](
        heads, temperature=temperature, hard_weight=hard_weight, soft_weight=soft_weight
    )


def _term_name(kind: str, head: Head, heads: Sequence[Head]) -> str:
    return kind if len(heads) == 1 else f"{kind} {head.name}"


def _towards_labels(head: Head) -> TermLoss:
    loss = SUPERVISED[head.space]

    def towards_labels(student: Tensor, teacher: Rows | None, batch: Batch) -> Tensor:
        return loss(student, batch.labels[head.name])

    return towards_labels


def _towards_teacher(head: Head, temperature: float) -> TermLoss:
    def towards_teacher(student: Tensor, teacher: Rows | None, batch: Batch) -> Tensor:
        assert teacher is not None, "a soft term is only asked with a teacher's rows"
        if isinstance(teacher, Sparse):
            return sparse_soft_targets(student, teacher.moved(temperature))
        if head.space == "real":
            return squared_error(student, teacher.values)
        loss = soft_targets if head.space == "categorical" else soft_binary_targets
        return loss(student, teacher.logits, temperature=temperature)

    return towards_teacher


def mean_terms(
    terms: Objective,
    student: Mapping[str, Tensor],
    teacher: Mapping[str, Rows] | None,
    batch: Batch,
) -> dict[str, Tensor]:
    """Each term's mean over the rows that count, unweighted, by name.

    Args:
        terms: The objective.
        student: The student's rows by head.
        teacher: The teacher's by head; None where no term needs them.
        batch: The batch both answered.

    A term without rows that count is 0.
    """
    means = {}
    for term in terms:
        values = term.loss(
            student[term.head], None if teacher is None else teacher[term.head], batch
        )
        mask = batch.rows_that_count(with_labels=term.with_labels)
        if mask is not None:
            if mask.dim() < values.dim():
                mask = mask[:, None].expand_as(values)
            # Not a product: a row that does not count may be infinite, and 0 x inf is NaN.
            values = values.masked_fill(~mask, 0.0)
            means[term.name] = values.sum() / mask.sum().clamp_min(1)
        else:
            # A process may get no sample of a small last batch, and the mean of none is NaN.
            means[term.name] = values.mean() if len(values) else values.sum()
    return means
