"""The part of a loss towards labels, told from what other labels change, and what is beside it."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from limbeck.proofs._case import Case
from limbeck.proofs._probe import Check, Measured, Probe, largest, shown
from limbeck.proofs._scale import PARALLEL, compared, near

COOL, WARM = 2.0, 8.0
"""Temperatures at which the labels' weight is compared."""


@dataclass(frozen=True, kw_only=True)
class LabelsPart:
    """A cross-entropy towards labels."""

    weight: float
    """What it is multiplied by; 0 where labels change nothing."""
    smoothing: float = 0.0
    """The weight of what pulls towards all classes alike, as label smoothing does."""

    def gradient(self, case: Case) -> Tensor:
        """Into the student's rows, `(rows, classes)`."""
        found = torch.softmax(case.student, dim=-1)
        smooth = found - 1.0 / found.shape[-1]
        return self.weight * (found - _one_hot(case)) + self.smoothing * smooth

    def written(self, *, by_row: bool) -> str:
        """As Python, of `rows` and `labels`."""
        whole = self.weight + self.smoothing
        how = ["rows", "labels"]
        if by_row:
            how.append("reduction='sum'")
        if self.smoothing:
            how.append(f"label_smoothing={self.smoothing / whole:.6g}")
        return f"{whole:.6g} * torch.nn.functional.cross_entropy({', '.join(how)})"


def labels_part(probe: Probe, case: Case) -> LabelsPart | None:
    """What labels do where the student is the teacher; None if that is no cross-entropy."""
    equal = case.at_equality()
    slope = probe.labels_pull(equal)
    if largest(slope) <= probe.tolerance * probe.gradient_size:
        return LabelsPart(weight=0.0)
    weight, apart = compared(slope, _one_hot(equal.of_other_labels()) - _one_hot(equal))
    return LabelsPart(weight=weight) if apart < PARALLEL else None


def with_smoothing(part: LabelsPart, probe: Probe, case: Case) -> LabelsPart:
    """The same with what pulls towards all classes alike, if nothing else is left beside it."""
    equal = case.at_equality()
    rest = probe.gradient(equal) - part.gradient(equal)
    smooth = LabelsPart(weight=0.0, smoothing=1.0).gradient(equal)
    weight, apart = compared(rest, smooth)
    is_smoothed = part.weight > 0 and weight > 0 and apart < PARALLEL
    return replace(part, smoothing=weight) if is_smoothed else part


def has_a_kink_beside(part: LabelsPart, probe: Probe, case: Case) -> bool:
    """Whether what pulls beside the labels turns round at equality, and is as large near to it."""

    def pull(share: float) -> Tensor:
        gap = 1e-2 * share * (case.student - case.teacher)
        beside = replace(case, student=case.teacher + gap)
        return probe.gradient(beside) - part.gradient(beside)

    far, near_it, opposite = pull(1.0), pull(0.5), pull(-0.5)
    if not float(near_it.norm()) > probe.tolerance:
        return False
    turns_round = float((near_it * opposite).sum()) < 0
    return turns_round and float(far.norm() / near_it.norm()) < 1.5


def stationary_beside(whole: LabelsPart) -> Check:
    """Whether nothing but the labels pulls where the student is the teacher."""

    def measure(probe: Probe, case: Case) -> Measured:
        equal = case.at_equality()
        here = labels_part(probe, case)
        part = whole if here is None else replace(here, smoothing=whole.smoothing)
        rest = probe.gradient(equal) - part.gradient(equal)
        by_row = probe.value(case).dim() > 0
        return Measured(
            off=largest(rest) / probe.gradient_size,
            got=f"up to {largest(rest):.4g} beside what the labels do",
            expected="0",
            steps=(
                "rows = teacher.clone().requires_grad_()",
                f"of_labels = {part.written(by_row=by_row)}",
                "(loss(rows, teacher).sum() - of_labels).backward()",
                "print(rows.grad)",
            ),
        )

    return Check(
        name="stationary at equality",
        measure=measure,
        otherwise="Beside what the labels do it pulls a perfect student away: look for rows that "
        "are off by one, a softmax that is taken twice, a temperature on one side only, and for "
        "one in the part towards the labels.",
    )


def _towards_class(probe: Probe, case: Case) -> Measured:
    """In which share of the rows a label does not pull its own class up."""
    equal = case.at_equality()
    slope = probe.labels_pull(equal)
    own = slope.gather(1, equal.labels[:, None])[:, 0]  # (rows,)
    least = probe.tolerance * probe.gradient_size
    wrong = own > -least if largest(slope) > least else torch.zeros_like(own)
    return Measured(
        off=float(wrong.double().mean()),
        got=shown(own),
        expected="numbers below 0: less of the loss the more of the label's class",
        steps=(
            "sides = []",
            "right = labels",
            f"for labels in (right, (right + 1) % {case.student.shape[-1]}):",
            "    rows = teacher.clone().requires_grad_()",
            "    loss(rows, teacher).sum().backward()",
            "    sides.append(rows.grad.gather(1, right[:, None]))",
            "print((sides[0] - sides[1]).flatten())",
        ),
    )


def _towards_teacher(probe: Probe, case: Case) -> Measured:
    """Whether another teacher moves the gradient away from what it says more of."""
    other = case.of_another_teacher()
    along = float((probe.pull(case) * (other.teacher - case.teacher)).sum())
    return Measured(
        off=1.0 if along < 0 else 0.0,
        got=f"{along:.4g}",
        expected="a number above 0",
        steps=(
            "rows = student.clone().requires_grad_()",
            "other = teacher.roll(1, -1)",
            "(loss(rows, teacher).sum() - loss(rows, other).sum()).backward()",
            "print(float((rows.grad * (other - teacher)).sum()))",
        ),
    )


def _labels_keep_weight(probe: Probe, case: Case) -> Measured:
    parts = [labels_part(probe, case.at(temperature)) for temperature in (COOL, WARM)]
    if any(part is None or part.weight == 0 for part in parts):
        return Measured(off=0.0)  # no cross-entropy, or none
    cool, warm = (part.weight for part in parts if part is not None)
    ratio, grows = warm / cool, WARM / COOL
    means = "the temperature changes what labels weigh"
    if near(ratio, grows**2):
        means = "T² multiplies the part towards the labels, too"
    elif near(ratio, 1 / grows):
        means = "the temperature is inside of the part towards the labels, which is for T = 1"
    elif near(ratio, grows):
        means = "the temperature is inside of the part towards the labels, and T² multiplies it"
    return Measured(
        off=abs(ratio - 1.0),
        got=f"{ratio:.4g} times the weight at T = {WARM:g}",
        expected="the same at every temperature",
        why=f"At T = {WARM:g} labels weigh {ratio:.4g} times what they do at T = {COOL:g}: "
        f"{means}.",
        steps=(
            f"for temperature in ({COOL}, {WARM}):",
            "    sides = []",
            "    for labels in (torch.zeros_like(labels), torch.ones_like(labels)):",
            "        rows = teacher.clone().requires_grad_()",
            "        loss(rows, teacher, temperature=temperature).sum().backward()",
            "        sides.append(rows.grad)",
            "    print(float((sides[0] - sides[1]).norm()))",
        ),
    )


def _one_hot(case: Case) -> Tensor:
    return one_hot(case.labels, case.student.shape[-1]).to(case.student)


TOWARDS_CLASS = Check(
    name="labels pull towards their class",
    measure=_towards_class,
    otherwise="Where the student is the teacher a label does not raise its own class: look for "
    "labels that are off by one, a wrong sign, or a student that is detached there.",
    bound=0.0,
)
TOWARDS_TEACHER = Check(
    name="pulls towards the teacher",
    measure=_towards_teacher,
    otherwise="The student is pushed away from what the teacher says: look for a wrong sign, "
    "which labels hide.",
    bound=0.0,
)
LABELS_KEEP_WEIGHT = Check(
    name="T² spares the labels",
    measure=_labels_keep_weight,
    otherwise="The temperature changes what labels weigh.",
    bound=0.01,
)
