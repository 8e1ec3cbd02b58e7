"""An objective: the sum of weighted losses that a learner minimises; its terms, and their means."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from limbeck.losses import binary_cross_entropy, cross_entropy, squared_error
from limbeck.signals import Batch, Head, Rows, Space

SUPERVISED: dict[Space, Callable[[Tensor, Tensor], Tensor]] = {
    "categorical": cross_entropy,
    "binary": binary_cross_entropy,
    "real": squared_error,
}
"""The loss towards labels, by space."""

BOUNDED = frozenset(
    {"never negative", "no gradient to the teacher", "unchanged by classes of -inf"}
)
"""What every loss towards a teacher promises."""
DISTANCE = BOUNDED | {"zero at equality", "stationary at equality"}
"""What one promises that a student cannot do better at than to be its teacher."""
TRUE_TO_SIZE = DISTANCE | {"gradient of the right size"}
"""What one promises that is, near equality, as large as soft targets are."""


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
    from_teacher: bool
    """Whether it needs the teacher's rows."""
    promises: frozenset[str] = TRUE_TO_SIZE
    """What `limbeck doctor` measures of its loss, where that is towards a teacher."""
    loss: TermLoss
    """Its values."""


Objective = tuple[Term, ...]


def supervised(heads: Sequence[Head], *, weight: float = 1.0) -> Objective:
    """Labels alone: what the teacher and every control learn from."""
    return tuple(
        Term(
            name=term_name("hard", head, heads),
            head=head.name,
            weight=weight,
            with_labels=True,
            from_teacher=False,
            loss=_towards_labels(head),
        )
        for head in heads
    )


def only_from_labels(terms: Objective) -> bool:
    """Whether samples without a label teach nothing at all, so that none need be seen."""
    return all(term.with_labels for term in terms)


def term_name(kind: str, head: Head, heads: Sequence[Head]) -> str:
    """The name of a head's term among those of all heads."""
    return kind if len(heads) == 1 else f"{kind} {head.name}"


def _towards_labels(head: Head) -> TermLoss:
    loss = SUPERVISED[head.space]

    def towards_labels(student: Tensor, teacher: Rows | None, batch: Batch) -> Tensor:
        return loss(student, batch.labels[head.name])

    return towards_labels


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
