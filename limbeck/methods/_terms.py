"""An objective: the sum of weighted losses that a learner minimises; its terms, and their means."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import torch
from torch import Tensor, nn

from limbeck.losses import binary_cross_entropy, cross_entropy, squared_error
from limbeck.signals import Batch, Dense, Head, Rows, Space
from limbeck.taps import tap_name

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


Speaker = Literal["teacher", "peers", "average"]
"""Whose rows a loss is towards: the teacher's, those of the other students of a pass, or those of
the moving average of the student's own weights."""


class TermLoss(Protocol):
    """One value per row from a student's rows, a teacher's and a batch."""

    def __call__(self, student: Tensor, teacher: Rows | None, batch: Batch) -> Tensor:
        """`(batch,)` or `(batch, rows)`."""


@dataclass(frozen=True, kw_only=True)
class Term:
    """One weighted loss of an objective."""

    name: str
    """`hard`, `soft`, `mutual` or `ema`, followed by the head's name where there are several."""
    head: str
    """The head it is about."""
    weight: float
    """What its mean is multiplied by; where that changes, at the first step."""
    last_weight: float | None = None
    """At the last step, where it changes: evenly from step to step."""
    ramp_up: float = 0.0
    """Part of training over which it rises to `weight` along exp(-5 (1 - x)^2), x from 0 to 1."""
    with_labels: bool
    """Whether it needs labels, and so counts labelled samples only."""
    from_teacher: bool
    """Whether it needs the teacher's rows."""
    towards: Speaker = "teacher"
    """Whose rows its loss is given."""
    decay: float | None = None
    """Of the moving average of the student's weights, where its loss is towards that."""
    promises: frozenset[str] = TRUE_TO_SIZE
    """What `limbeck doctor` measures of its loss, where that is towards a teacher."""
    loss: TermLoss
    """Its values; a torch module where it learns something itself."""

    @property
    def student_taps(self) -> tuple[str, ...]:
        """It looks at nothing inside the student."""
        return ()

    @property
    def module(self) -> nn.Module | None:
        """What its loss learns beside the student."""
        return self.loss if isinstance(self.loss, nn.Module) else None

    def weight_at(self, done: float) -> float:
        """Its weight when so much of training is done, 0..1."""
        if done < self.ramp_up:
            return self.weight * math.exp(-5 * (1 - done / self.ramp_up) ** 2)
        if self.last_weight is None:
            return self.weight
        return (1 - done) * self.weight + done * self.last_weight

    def values(
        self, student: Mapping[str, Tensor], teacher: Mapping[str, Rows] | None, batch: Batch
    ) -> Tensor:
        """`(batch,)` or `(batch, rows)`, of what each side says by name."""
        said = None if teacher is None else teacher.get(said_by(self.towards, self.head))
        return self.loss(student[self.head], said, batch)


@dataclass(frozen=True, kw_only=True, eq=False)
class FeatureTerm:
    """One weighted loss of what modules inside the two models give, for one student."""

    weight: float
    """What its mean is multiplied by."""
    student_taps: tuple[str, ...]
    """The student's modules, by path."""
    teacher_taps: tuple[str, ...]
    """The teacher's, one for each of the student's."""
    module: nn.Module
    """The loss, with what it learns and remembers beside the student: projections, memories. Called
    with the student's features, the teacher's and the batch; one value per sample."""
    name: str = "features"
    """What it is called."""
    with_labels: bool = False
    """It needs no labels."""
    from_teacher: bool = True
    """It needs the teacher's features, which come with its rows, by `tap_name`."""

    def weight_at(self, done: float) -> float:
        """Its weight, whenever."""
        return self.weight

    def values(
        self, student: Mapping[str, Tensor], teacher: Mapping[str, Rows] | None, batch: Batch
    ) -> Tensor:
        """`(batch,)`, of what each side says by name."""
        assert teacher is not None, "a term from the teacher is only asked with what it says"
        ours = [exact(student[tap_name(path)]) for path in self.student_taps]
        if not len(batch):  # nothing to normalise over, but the student's gradient is waited for
            return torch.stack([part.flatten(1).sum(dim=1) for part in ours]).sum(dim=0)
        theirs = []
        for path in self.teacher_taps:
            said = teacher[tap_name(path)]
            assert isinstance(said, Dense), "features are numbers, all of them"
            theirs.append(exact(said.values))
        found: Tensor = self.module(ours, theirs, batch)
        return found


@dataclass(frozen=True, kw_only=True, eq=False)
class BranchTerm:
    """One weighted loss of what the branches of one student say, summed over them."""

    name: str
    """`branches hard` or `branches soft`, followed by the head's name where there are several; or
    `branches feature`."""
    weight: float
    """What its mean is multiplied by."""
    student_taps: tuple[str, ...]
    """What it looks at inside the student, by path."""
    module: nn.Module
    """The branches, the same for all terms of a student. Called with all that the student says and
    the batch; what they say, by name."""
    said: tuple[str, ...]
    """What each branch calls that which the loss is of."""
    loss: Callable[[Tensor, Mapping[str, Tensor], Batch], Tensor]
    """From what one branch says, and all that the student does: `(batch,)` or `(batch, rows)`."""
    with_labels: bool
    """Whether it needs labels, and so counts labelled samples only."""
    from_teacher: bool = False
    """The student is its own."""

    @property
    def weighed_by(self) -> str:
        """The key of a recipe that its weight is set by."""
        return f"distil.branches.{self.name.split()[1]}_weight"

    def weight_at(self, done: float) -> float:
        """Its weight, whenever."""
        return self.weight

    def values(
        self, student: Mapping[str, Tensor], teacher: Mapping[str, Rows] | None, batch: Batch
    ) -> Tensor:
        """`(batch,)` or `(batch, rows)`, of what the student and its branches say by name."""
        values = [self.loss(student[name], student, batch) for name in self.said]
        return torch.stack(values).sum(dim=0)


AnyTerm = Term | FeatureTerm | BranchTerm
Objective = tuple[AnyTerm, ...]


def supervised(
    heads: Sequence[Head], *, weight: float = 1.0, last_weight: float | None = None
) -> Objective:
    """Labels alone: what the teacher and every control learn from."""
    return tuple(
        Term(
            name=term_name("hard", head, heads),
            head=head.name,
            weight=weight,
            last_weight=last_weight,
            with_labels=True,
            from_teacher=False,
            loss=_towards_labels(head),
        )
        for head in heads
    )


def said_by(speaker: Speaker, head: str) -> str:
    """What the rows of a head are called among all that a student is taught."""
    return head if speaker == "teacher" else f"{speaker}:{head}"


def only_from_labels(terms: Objective) -> bool:
    """Whether samples without a label teach nothing at all, so that none need be seen."""
    return all(term.with_labels for term in terms)


def unlabelled_warnings(method: str, terms: Objective, labelled: Tensor | None) -> list[str]:
    """A warning where samples without a label are there, and a method has no use for them.

    Args:
        method: Its name.
        terms: What students learn from by it.
        labelled: `(samples,)` bool, who shows a label; None when all do.
    """
    if labelled is None or bool(labelled.all()):
        return []
    if not any(term.with_labels and term.name.startswith("soft") for term in terms):
        return []
    return [
        f"Samples without a label teach nothing by method {method}, which needs labels, whatever "
        "the teacher says of them. Take another of `limbeck methods`, or label more."
    ]


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
        student: The student's rows by head, and its features by `tap_name`.
        teacher: The teacher's in the same way, and the other students' and the average's by
            `said_by`; None where no term needs any.
        batch: The batch both answered.

    A term without rows that count is 0.
    """
    student = {**student, **_said_by_branches(terms, student, batch)}
    means = {}
    for term in terms:
        values = term.values(student, teacher, batch)
        mask = batch.rows_that_count(with_labels=term.with_labels)
        if mask is not None:
            if mask.dim() < values.dim():
                mask = mask[:, None].expand_as(values)
            elif mask.dim() > values.dim():  # one value of a sample, as often as it has rows
                values = values[:, None].expand_as(mask)
            # Not a product: a row that does not count may be infinite, and 0 x inf is NaN.
            values = values.masked_fill(~mask, 0.0)
            means[term.name] = values.sum() / mask.sum().clamp_min(1)
        else:
            # A process may get no sample of a small last batch, and the mean of none is NaN.
            means[term.name] = values.mean() if len(values) else values.sum()
    return means


def _said_by_branches(
    terms: Objective, student: Mapping[str, Tensor], batch: Batch
) -> dict[str, Tensor]:
    """What the branches of a student say, asked once for all of their terms."""
    said: dict[str, Tensor] = {}
    for branches in dict.fromkeys(term.module for term in terms if isinstance(term, BranchTerm)):
        said |= branches(student, batch)
    return said


def exact(features: Tensor) -> Tensor:
    """In float32 or better: what is learned beside the student is."""
    return features.to(torch.promote_types(features.dtype, torch.float32))
