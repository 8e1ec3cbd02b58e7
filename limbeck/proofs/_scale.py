"""Whether a loss has the right size: whatever the classes, the batch and the temperature are."""

import math
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor

from limbeck._errors import LossError
from limbeck.proofs._case import Case, random_case
from limbeck.proofs._probe import Check, Measured, Probe, largest, shown
from limbeck.signals import Space

FINITE_PADDING = -1e4
"""A logit so low that its class has no probability, and which yet is a number."""
WARM = 64.0
"""A temperature at which the losses of small logits have reached their limit."""
_SMALL = 1e-4
"""Logits this small are at a large temperature, whatever the loss's own one is."""
PARALLEL = 1e-3
"""Of a gradient, what may be of another direction."""


def _infinite_classes(probe: Probe, case: Case, *, of_pull: bool = False) -> Measured:
    return _padded(probe, case, -math.inf, of_pull=of_pull)


def _impossible_classes(probe: Probe, case: Case, *, of_pull: bool = False) -> Measured:
    infinite = _padded(probe, case, -math.inf, of_pull=of_pull)
    if infinite.off <= probe.tolerance and class_share(probe, case) == 1:
        return infinite  # it counts the classes that are there, and is no mean over them
    return _padded(probe, case, FINITE_PADDING, of_pull=of_pull)


def _padded(probe: Probe, case: Case, number: float, *, of_pull: bool) -> Measured:
    padded = case.padded(number)
    classes = case.student.shape[-1]
    value, padded_value = probe.value(case), probe.value(padded)
    gradient, padded_gradient = probe.gradient(case), probe.gradient(padded)
    pull, padded_pull = probe.pull(case), probe.pull(case, padding=number)
    if of_pull:
        off = largest(padded_pull - pull) / probe.gradient_size
    else:
        off = max(
            largest(padded_value - value) / probe.value_size,
            largest(padded_gradient[:, :classes] - gradient) / probe.gradient_size,
            largest(padded_gradient[:, classes:]) / probe.gradient_size,
        )
    why = ""
    ratio, apart = compared(padded_pull, pull)
    if off == math.inf:
        why = "Where both sides exclude a class, its value or gradient is not finite: look for "
        why += "log(softmax(...)), which is log_softmax(...), or for 0 times an infinite logarithm."
    elif apart < PARALLEL and 0 < ratio < 1e3 and not near(ratio, 1.0):
        share = classes / (classes + 2)
        means = " It is a mean over classes: take their sum." if near(ratio, share) else ""
        whose = "the teacher's part of its gradient" if probe.judges_a_part else "its gradient"
        why = (
            f"Two classes that are impossible for both sides, beside {classes} others, multiply "
            f"{whose} by {ratio:.4g}.{means}"
        )
    of_value = not of_pull and largest(padded_value - value) > probe.tolerance * probe.value_size
    written = "-torch.inf" if number == -math.inf else "-1e4"
    return Measured(
        off=off,
        got=f"{shown(padded_value)} with padding" if of_value else "another gradient with padding",
        expected=f"{shown(value)}, as without it, and the same gradient",
        why=why,
        steps=(
            f"none = torch.full((len(student), 2), {written}).to(student)",
            "padded = [torch.cat([rows, none], -1) for rows in (student, teacher)]",
            "print(loss(student, teacher), loss(*padded))",
            *(() if of_value else _SLOPES),
        ),
    )


_SLOPES = (
    "padded[0] = padded[0].detach().requires_grad_()",
    "loss(*padded).sum().backward()",
    "print(padded[0].grad)",
)


def class_share(probe: Probe, case: Case) -> float:
    """By what the classes divide the gradient: their number for a mean over them, or 1."""
    classes = case.student.shape[-1]
    ratio, apart = compared(probe.pull(case, padding=FINITE_PADDING), probe.pull(case))
    return classes if apart < PARALLEL and near(ratio, classes / (classes + 2)) else 1.0


def _batch(probe: Probe, case: Case) -> Measured:
    """How each row's gradient in the batch differs from what it is alone."""
    value = probe.value(case)
    parts = {"": probe.gradient}
    if probe.judges_a_part:  # together two parts of different size look like no factor
        parts |= {" of the teacher's part": probe.pull, " of the labels' part": probe.labels_pull}
    found = [
        _beside_the_batch(part, case, whose, by_row=value.dim() > 0, probe=probe)
        for whose, part in parts.items()
    ]
    off = max(off for off, _ in found)
    why = next((why for off, why in found if why and off > probe.tolerance), "")
    return Measured(
        off=off,
        got=shown(value),
        expected="the mean of the rows' own losses" if not value.dim() else "each row's own loss",
        why=why,
        steps=(
            "print(loss(student, teacher))",
            *(["every = labels"] if probe.takes_labels else []),
            "for row in range(len(student)):",
            *(["    labels = every[[row]]"] if probe.takes_labels else []),
            "    print(loss(student[[row]], teacher[[row]]))",
        ),
    )


def _beside_the_batch(
    gradient: Callable[[Case], Tensor], case: Case, whose: str, *, by_row: bool, probe: Probe
) -> tuple[float, str]:
    """How far rows' gradients in a batch are from those alone, and why if it is one factor."""
    together = gradient(case)
    alone = torch.cat([gradient(case.rows([row])) for row in range(len(case))])
    off = largest(together - alone) / probe.gradient_size
    pairs = [compared(*rows) for rows in zip(together, alone, strict=True)]
    ratios = [ratio for ratio, _ in pairs]
    alike = max(ratios) - min(ratios) < PARALLEL * max(map(abs, ratios))
    if not (max(apart for _, apart in pairs) < PARALLEL and alike):
        return off, ""
    if not by_row and near(ratios[0], len(case)):
        return off, (
            f"It is a sum{whose} over the batch: its gradient grows with the batch. Take the mean."
        )
    return off, (
        f"In a batch of {len(case)} every row's gradient{whose} is {ratios[0]:.4g} times what it "
        "is alone, in the same direction: look for a mean that is taken twice, or a mask that "
        "multiplies what is a mean already."
    )


def compares_rows(probe: Probe, case: Case) -> bool:
    """Whether what a row learns depends on which the other rows are, as many as before."""
    others = random_case(*case.student.shape, dtype=case.student.dtype, seed=2)
    even = (torch.arange(len(case)) % 2 == 0)[:, None]
    pull = probe.pull(case)
    for stay in (even, ~even):
        mixed = replace(
            case,
            student=torch.where(stay, case.student, others.student),
            teacher=torch.where(stay, case.teacher, others.teacher),
        )
        gap = (probe.pull(mixed) - pull) * stay
        if not largest(gap) <= 10 * probe.tolerance * probe.gradient_size:
            return True
    return False


def batch_share(probe: Probe, case: Case) -> float:
    """By what the batch multiplies a row's gradient, where it does so alike for all."""
    try:
        alone = torch.cat([probe.gradient(case.rows([row])) for row in range(len(case))])
    except LossError:  # which the property says
        return 1.0
    ratio, apart = compared(probe.gradient(case), alone)
    return ratio if apart < PARALLEL else 1.0


def _temperature(probe: Probe, case: Case) -> Measured:
    """By which power of the temperature the gradient grows, once it is large."""
    sizes = [float(probe.pull(case.at(each)).norm()) for each in (WARM, 2 * WARM)]
    if max(sizes) <= probe.tolerance**2:
        return Measured(off=0.0)  # of nothing there is no more to tell
    if not all(0 < size < math.inf for size in sizes):
        return Measured(off=math.inf, why=f"Its gradient at T = {WARM:g} is {sizes[0]:.4g}.")
    power = math.log2(sizes[1] / sizes[0])
    missing = {-2: "T² is missing", -1: "one factor T of T² is missing"}
    means = missing.get(round(power), "it has another power of T than T² as its factor")
    towards = "loss(rows, teacher, temperature=temperature)"
    if probe.takes_labels:
        towards = f"({towards} - {towards.replace('teacher', 'teacher.roll(1, -1)')})"
    return Measured(
        off=abs(power),
        got=f"{sizes[1] / sizes[0]:.4g} times as large at twice the temperature",
        expected="about as large",
        why=f"At twice the temperature the gradient is {sizes[1] / sizes[0]:.3g} times as large: "
        f"{means}.",
        steps=(
            f"for temperature in ({WARM}, {2 * WARM}):",
            "    rows = student.clone().requires_grad_()",
            f"    {towards}.sum().backward()",
            "    print(float(rows.grad.norm()))",
        ),
    )


def _heeds_temperature(probe: Probe, case: Case) -> Measured:
    cool, warm = case.at(1.0), case.at(8.0)
    same = bool(torch.equal(probe.value(cool), probe.value(warm)))
    return Measured(
        off=1.0 if same else 0.0,
        got="the same at both",
        expected="two values",
        steps=tuple(f"print(loss(student, teacher, temperature={each}))" for each in (1.0, 8.0)),
    )


def right_size(space: Space) -> Check:
    """Whether the gradient of small logits is that of the known limit."""

    def measure(probe: Probe, case: Case) -> Measured:
        student, teacher = _SMALL * case.student, _SMALL * case.teacher
        expected = _limit(student, teacher, space)
        small = Case(student=student, teacher=teacher, labels=case.labels)
        gap = probe.gradient(small) - expected
        return Measured(off=float(gap.norm() / expected.norm()))

    return Check(
        name="gradient of the right size",
        measure=measure,
        otherwise="Look for a missing T^2, or a mean over classes instead of their sum.",
        bound=0.01,
    )


def _limit(student: Tensor, teacher: Tensor, space: Space) -> Tensor:
    r"""The gradient of $T^2 KL$ at a large temperature, of a squared error at any."""
    gap = student - teacher  # (rows, size)
    if space == "categorical":
        return (gap - gap.mean(dim=-1, keepdim=True)) / gap.shape[-1]
    return gap / 4 if space == "binary" else 2 * gap / gap.shape[-1]


def compared(one: Tensor, other: Tensor) -> tuple[float, float]:
    """How many times `other` it is, and what share of it is of another direction."""
    length = float(one.norm())
    if not 0 < length < math.inf or not float(other.norm()) > 0:
        return (1.0, 0.0) if length == float(other.norm()) else (math.nan, math.inf)
    ratio = float((one * other).sum() / other.square().sum())
    return ratio, float((one - ratio * other).norm()) / length


def near(number: float, other: float) -> bool:
    """Whether two ratios are one."""
    return math.isclose(number, other, rel_tol=1e-3)


CLASSES = Check(
    name="not scaled by the classes",
    measure=_impossible_classes,
    otherwise="Classes that both sides exclude change it: look for a mean over classes, and for "
    "a softmax that is taken twice.",
)
INFINITE_CLASSES = Check(
    name="unchanged by classes of -inf",
    measure=_infinite_classes,
    otherwise="A masked class must add exactly nothing: look for 0 x inf.",
)
CLASSES_OF_PULL = replace(CLASSES, measure=partial(_impossible_classes, of_pull=True))
INFINITE_CLASSES_OF_PULL = replace(
    INFINITE_CLASSES, measure=partial(_infinite_classes, of_pull=True)
)
"""The same of the teacher's part alone: labels that are smoothed are so over every class."""
BATCH = Check(
    name="not scaled by the batch",
    measure=_batch,
    otherwise="A row's loss depends on the other rows of the batch.",
)
TEMPERATURE = Check(
    name="T² is right",
    measure=_temperature,
    otherwise="The gradient changes its size with the temperature: look for a missing T².",
    bound=0.1,
)
HEEDS_TEMPERATURE = Check(
    name="the temperature counts",
    measure=_heeds_temperature,
    otherwise="It is the same at T = 1 and at T = 8: the temperature is not used.",
)
