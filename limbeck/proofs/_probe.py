"""A loss as it is measured: asked with a case, for its values and its gradients."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from limbeck._errors import LimbeckError
from limbeck.proofs._case import Case
from limbeck.proofs._make import guarded

Ask = Callable[[Case], Tensor]
"""From a case to one value for each row, `(rows,)`, or one for all, `()`."""


@dataclass(frozen=True, kw_only=True)
class Probe:
    """A loss, and what has to be known of it to measure it."""

    ask: Ask
    tolerance: float = 1e-6
    """Of its typical size: what is below is rounding."""
    value_size: float = 1.0
    """Its typical value."""
    gradient_size: float = 1.0
    """The typical size of its gradient's largest entry."""
    takes_teacher: bool = True
    """False for a loss towards labels alone."""
    takes_labels: bool = False
    """Whether labels pull as well: the teacher's part is measured as a difference then."""
    dtype: torch.dtype = torch.float64
    """What it is asked in."""

    @property
    def judges_a_part(self) -> bool:
        """Whether labels pull beside the teacher, so that of the two the teacher's is judged."""
        return self.takes_teacher and self.takes_labels

    def value(self, case: Case) -> Tensor:
        """`(rows,)` or `()`, without a gradient."""
        return self.ask(_copied(case, case.student, case.teacher)).detach()

    def gradient(self, case: Case) -> Tensor:
        """Into the student's rows, `(rows, classes)`, of the sum of the rows' values.

        A value for all rows is taken for their mean.
        """
        student = case.student.clone().requires_grad_()
        return _into(student, self.ask(_copied(case, student, case.teacher)), len(case))

    def teacher_gradient(self, case: Case) -> Tensor:
        """The same, into the teacher's rows."""
        teacher = case.teacher.clone().requires_grad_()
        return _into(teacher, self.ask(_copied(case, case.student, teacher)), len(case))

    def pull(self, case: Case, *, padding: float | None = None) -> Tensor:
        """What of the student's gradient is the teacher's doing, `(rows, classes)`.

        Where there are labels it is the difference to the gradient under another teacher, of which
        everything is gone that labels add. With `padding`, classes of that logit are added before
        and left out after.
        """
        if not self.judges_a_part:
            return self._beside(case, padding)
        return self._beside(case, padding) - self._beside(case.of_another_teacher(), padding)

    def labels_pull(self, case: Case) -> Tensor:
        """What of the student's gradient other labels would change, `(rows, classes)`."""
        return self.gradient(case) - self.gradient(case.of_other_labels())

    def _beside(self, case: Case, padding: float | None) -> Tensor:
        if padding is None:
            return self.gradient(case)
        return self.gradient(case.padded(padding))[:, : case.student.shape[-1]]


@dataclass(frozen=True, kw_only=True)
class Measured:
    """How far a property is from holding in one case."""

    off: float
    """0 where it holds exactly; relative to what is typical."""
    got: str = ""
    expected: str = ""
    steps: tuple[str, ...] = ()
    """Lines of Python that show it, of `loss`, `student`, `teacher` and `labels`."""
    why: str = ""
    """What is the matter; "" for what usually is."""


@dataclass(frozen=True, kw_only=True)
class Property:
    """One thing that must hold of a loss, and whether it does."""

    name: str
    measured: float
    """How far it is from holding."""
    bound: float
    """How far it may be."""
    otherwise: str
    """What is the matter where it does not hold."""
    of_its_kind: bool = False
    """Whether a loss of this kind need not have it: what is said then is no fault."""
    counterexample: str = ""
    """Code below the proof's definition that shows it, in the smallest case where it does not."""

    @property
    def holds(self) -> bool:
        """False for what is not a number, too."""
        return self.measured <= self.bound

    @property
    def breaks(self) -> bool:
        """Whether something is wrong."""
        return not self.holds and not self.of_its_kind


@dataclass(frozen=True, kw_only=True)
class Check:
    """A property before it is measured."""

    name: str
    measure: Callable[[Probe, Case], Measured]
    otherwise: str
    """What is usually the matter where it does not hold."""
    bound: float | None = None
    """What may be measured; None for the probe's tolerance."""


def look(probe: Probe, check: Check, cases: list[Case]) -> tuple[Property, Measured, Case]:
    """A property over several cases: the first in which it does not hold, or the worst.

    An error of the loss in a later case than the first is what is the matter in that case.
    """
    bound = probe.tolerance if check.bound is None else check.bound
    worst: tuple[Measured, Case] | None = None
    for case in cases:
        try:
            measured = check.measure(probe, case)
        except LimbeckError as error:
            measured = Measured(off=float("inf"), why=str(error), steps=_ASKED, got="an error")
        if worst is None or not measured.off <= worst[0].off:
            worst = measured, case
        if not measured.off <= bound:
            break
    assert worst is not None, "a property needs a case"
    measured, case = worst
    found = Property(
        name=check.name,
        measured=measured.off,
        bound=bound,
        otherwise=measured.why or check.otherwise,
    )
    return found, measured, case


_ASKED = ("print(loss(student, teacher))",)


def largest(numbers: Tensor) -> float:
    """The largest absolute value, and infinity for what is not a number."""
    if not numbers.numel():
        return 0.0
    found = float(numbers.detach().abs().max())
    return math.inf if math.isnan(found) else found


def shown(value: Tensor) -> str:
    """The numbers of a tensor, or its first eight."""
    numbers = value.reshape(-1).tolist()
    more = ", ..." if len(numbers) > 8 else ""
    return ", ".join(f"{number:.4g}" for number in numbers[:8]) + more


def _copied(case: Case, student: Tensor, teacher: Tensor) -> Case:
    """A case that a loss may write into."""
    return replace(
        case, student=student.clone(), teacher=teacher.clone(), labels=case.labels.clone()
    )


def _into(rows: Tensor, output: Tensor, count: int) -> Tensor:
    total = output.sum() if output.dim() else output * count
    if not total.requires_grad:
        return torch.zeros_like(rows)
    with guarded("the loss's backward pass", f"rows {tuple(rows.shape)}"):
        arrived: tuple[Tensor | None, ...] = torch.autograd.grad(total, rows, allow_unused=True)
    return torch.zeros_like(rows) if arrived[0] is None else arrived[0]
