"""Rows that a loss is asked about: round numbers of few classes first, a random batch last."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

SHAPES = ((1, 2), (1, 3), (2, 2), (2, 3), (3, 4))
"""Rows and classes of the round cases, the smallest first."""

IGNORED = -100
"""The label of a row that does not count, as torch's cross-entropy has it."""

Marks = Literal["mask", "labels"]
"""What tells a loss which rows count."""

_DRAWN, _KEPT = 24, 4


@dataclass(frozen=True, kw_only=True)
class Case:
    """A batch of a student's and a teacher's rows."""

    student: Tensor
    """`(rows, classes)`."""
    teacher: Tensor
    """`(rows, classes)`."""
    labels: Tensor
    """`(rows,)`, int64."""
    temperature: float | None = None
    """Another one than the loss has by itself, where it can be set."""
    mask: Tensor | None = None
    """`(rows,)`, bool: which rows count; None for all."""

    def __len__(self) -> int:
        return len(self.student)

    def at_equality(self) -> "Case":
        """With the teacher's rows on both sides."""
        return replace(self, student=self.teacher)

    def at(self, temperature: float) -> "Case":
        """At another temperature."""
        return replace(self, temperature=temperature)

    def of_another_teacher(self) -> "Case":
        """With a teacher that says of each class what it said of the one before."""
        return replace(self, teacher=another(self.teacher))

    def of_other_labels(self) -> "Case":
        """With the next class as each row's label."""
        return replace(self, labels=(self.labels + 1) % self.student.shape[-1])

    def rows(self, index: Sequence[int]) -> "Case":
        """Some of the rows, or all in another order."""
        return replace(
            self,
            student=self.student[index],
            teacher=self.teacher[index],
            labels=self.labels[index],
            mask=None if self.mask is None else self.mask[index],
        )

    def marked(self, by: Collection[Marks]) -> "Case":
        """With a third of the rows, drawn at random, marked as padding; of two rows one."""
        generator = torch.Generator().manual_seed(len(self))
        count = max(1, 2 * len(self) // 3)
        kept = torch.randperm(len(self), generator=generator) < count
        return replace(
            self,
            mask=kept if "mask" in by else None,
            labels=self.labels.masked_fill(~kept, IGNORED) if "labels" in by else self.labels,
        )

    @property
    def counted(self) -> Tensor:
        """What a mask says that is True where a row counts, `(rows,)`."""
        return torch.ones(len(self), dtype=torch.bool) if self.mask is None else self.mask.clone()

    @property
    def kept(self) -> Tensor:
        """Which rows count, `(rows,)`."""
        return self.labels != IGNORED if self.mask is None else self.mask

    def padded(self, number: float, count: int = 2) -> "Case":
        """With more classes, to which both sides give `number`."""
        more = torch.full((len(self), count), number, dtype=self.student.dtype)
        return replace(
            self,
            student=torch.cat([self.student, more], dim=-1),
            teacher=torch.cat([self.teacher, more], dim=-1),
        )

    def to(self, dtype: torch.dtype) -> "Case":
        """In another precision."""
        return replace(self, student=self.student.to(dtype), teacher=self.teacher.to(dtype))


def another(teacher: Tensor) -> Tensor:
    """Rows that differ from the teacher's, as long as these are not constant."""
    return teacher.roll(1, dims=-1) if teacher.shape[-1] > 1 else teacher + 1


def round_cases(*, dtype: torch.dtype = torch.float64) -> list[Case]:
    """Whole numbers from -2 to 2, the smallest and roundest first."""
    generator = torch.Generator().manual_seed(0)
    found = [make_case(torch.tensor([[0, 1]]), torch.tensor([[1, 0]]))]
    for rows, classes in SHAPES:
        drawn = torch.randint(-2, 3, (_DRAWN, 2, rows, classes), generator=generator)
        pairs = [(student, teacher) for student, teacher in drawn if _speaks(student, teacher)]
        pairs.sort(key=lambda pair: sum(int(side.abs().sum()) for side in pair))
        found += [make_case(*pair) for pair in pairs[:_KEPT]]
    return [case.to(dtype) for case in found]


def fractions(*, dtype: torch.dtype = torch.float64) -> Case:
    """Numbers between 0 and 1, which raw logits and probabilities alike can be."""
    return make_case(torch.tensor([[0.75, 0.625]]), torch.tensor([[0.25, 0.5]])).to(dtype)


def random_case(
    rows: int = 16, classes: int = 10, *, dtype: torch.dtype = torch.float64, seed: int = 0
) -> Case:
    """Normal numbers of standard deviation 3."""
    generator = torch.Generator().manual_seed(seed)
    student, teacher = 3.0 * torch.randn(
        (2, rows, classes), dtype=torch.float64, generator=generator
    )
    return make_case(student, teacher).to(dtype)


def large_cases() -> list[Case]:
    """Logits of a thousand, in float32, and everything in reach of them."""
    big, rows = 1000.0, random_case(4, 5, dtype=torch.float32)
    some = rows.student.clone()
    some[0, 0], some[1, 1], some[2] = big, -big, big
    pairs = [
        ([[big, 0.0]], [[0.0, big]]),
        ([[big, 0.0]], [[big, 0.0]]),
        ([[-big, 0.0]], [[0.0, 0.0]]),
        ([[0.0, 0.0]], [[-big, 0.0]]),
        ([[big, 0.0, 0.0], [0.0, 0.0, big]], [[0.0, big, -big], [0.0, 0.0, big]]),
    ]
    cases = [make_case(torch.tensor(student), torch.tensor(teacher)) for student, teacher in pairs]
    return [*cases, replace(rows, student=some), replace(rows, teacher=some)]


def make_case(student: Tensor, teacher: Tensor) -> Case:
    """A case with the labels 0, 1, ... in turn."""
    labels = torch.arange(len(student)) % student.shape[-1]
    return Case(student=student, teacher=teacher, labels=labels)


def _speaks(student: Tensor, teacher: Tensor) -> bool:
    """Whether no row has a number twice, nor a teacher's as good as the student's, or another's.

    Of two classes that are alike a loss may choose one, by a rule that says nothing of it.
    """
    gap = student - teacher
    differs = bool((gap.amax(dim=-1) > gap.amin(dim=-1)).all())
    has_no_ties = all(
        bool((side.sort(dim=-1).values.diff(dim=-1) > 0).all()) for side in (student, teacher)
    )
    return has_no_ties and differs and len(torch.unique(teacher, dim=0)) == len(teacher)
