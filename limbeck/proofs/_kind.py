"""Which of the known distances a loss is, at which temperature: told from its gradient alone."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from limbeck import losses
from limbeck.proofs._case import Case, random_case
from limbeck.proofs._probe import Check, Measured, Probe, shown
from limbeck.proofs._scale import compared
from limbeck.signals import Space

Known = Callable[[Tensor, Tensor, float], Tensor]
"""Student's rows, teacher's rows and a temperature to one value per row."""

_FITS = 1e-3
"""Share of the gradient that may be of another direction."""
_GRID = [0.25 * 2 ** (step / 4) for step in range(33)]  # 0.25 to 64
_GOLDEN = (math.sqrt(5) - 1) / 2


@dataclass(frozen=True, kw_only=True)
class Kind:
    """What a loss was found to be."""

    name: str
    """A key of `KNOWN`."""
    temperature: float | None
    """At which both sides are softened; None where the kind has none."""
    weight: float
    """By how much its gradient is larger than that of the known loss, T² and all."""

    @property
    def squared(self) -> bool:
        """Whether it is a squared error of the numbers themselves."""
        return self.name == "squared"


def _squared_probabilities(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    gap = torch.softmax(student / temperature, -1) - torch.softmax(teacher / temperature, -1)
    return temperature**2 * gap.square().sum(dim=-1)


KNOWN: dict[str, Known] = {
    "squared": lambda s, t, _: losses.logit_regression(s, t),
    "forward": lambda s, t, temperature: losses.soft_targets(s, t, temperature=temperature),
    "reverse": lambda s, t, temperature: losses.reverse_kl(s, t, temperature=temperature),
    "jensen-shannon": lambda s, t, temperature: losses.jensen_shannon(
        s, t, temperature=temperature
    ),
    "binary": lambda s, t, temperature: losses.soft_binary_targets(s, t, temperature=temperature),
    "probabilities": _squared_probabilities,
    "total variation": lambda s, t, temperature: losses.total_variation(
        s, t, temperature=temperature
    ),
    "universal": lambda s, t, temperature: losses.universal_logit_distance(
        s, t, temperature=temperature
    ),
}
"""What a gradient is compared with."""

SENTENCES = {
    "squared": "a squared error of the logits, or numbers, themselves",
    "forward": "the forward KL divergence, KL(teacher || student): Hinton's soft targets",
    "reverse": "the reverse KL divergence, KL(student || teacher)",
    "jensen-shannon": "the Jensen-Shannon divergence, between the forward and the reverse KL",
    "binary": "a KL divergence of yes or no for each class",
    "probabilities": "a squared error of the probabilities",
    "total variation": "the total variation distance of the probabilities",
    "universal": "the universal logit distance, of probabilities that are sorted",
}
CROSS_ENTROPY = {
    "forward": "the cross-entropy of the student under the teacher, which has the gradient of the "
    "forward KL divergence, KL(teacher || student)",
    "binary": "a cross-entropy of yes or no for each class",
}
"""The same where its lowest value is not 0."""


def find_kind(probe: Probe, space: Space) -> Kind | None:
    """The known loss whose gradient a loss has, up to a factor; None where there is none."""
    return _found(probe, space, telling_rows(probe.dtype), _FITS)


def telling_rows(dtype: torch.dtype) -> Case:
    """What a kind is told from."""
    return _rows_of([0.3, 1.0, 3.0]).to(dtype)


def kind_where_both_nearly_agree(probe: Probe, space: Space) -> Kind | None:
    """The same of small logits, which no clamp reaches; there all are alike, so it fits well."""
    return _found(probe, space, _rows_of([0.03, 0.06, 0.1]).to(probe.dtype), 0.1 * _FITS)


def _found(probe: Probe, space: Space, case: Case, fits: float) -> Kind | None:
    found = probe.pull(case)
    if not bool(torch.isfinite(found).all()) or not float(found.norm()) > 0:
        return None
    names = {"real": ("squared",), "binary": ("squared", "binary")}.get(space, tuple(KNOWN))
    for name in names:
        kind = _fitted(name, case, found, probe.takes_labels, fits)
        if kind is not None:
            return kind
    return None


def temperature_of(kind: Kind) -> Check:
    """Whether a loss whose temperature cannot be set has the factor T² of the known one."""

    def measure(probe: Probe, case: Case) -> Measured:
        assert kind.temperature is not None
        temperature, weight = kind.temperature, kind.weight
        exact = f"{temperature:.3g}"
        why = (
            f"It softens both sides by T = {exact}, and its gradient is {weight:.3g} times that of "
            f"T² KL: T² is missing"
        )
        if math.isclose(weight * temperature, 1.0, rel_tol=0.01):
            why = f"It softens by T = {exact} and multiplies by T once, where T² is meant"
        elif weight > 1 and lacks_square(kind):
            power = "T³" if math.isclose(weight, temperature, rel_tol=0.01) else "T⁴"
            why = f"It softens by T = {exact} and multiplies by {power}, where T² is meant"
        elif not math.isclose(weight * temperature**2, 1.0, rel_tol=0.01):
            why += f", beside a weight of {weight * temperature**2:.3g}"
        wanted = _gradient(kind.name, case, temperature)
        found = probe.pull(case)
        return Measured(
            off=1.0 if lacks_square(kind) else 0.0,
            got=shown(found),
            expected=f"{shown(wanted)}, or a multiple that is meant",
            why=f"{why}.",
            steps=(
                "rows = student.clone().requires_grad_()",
                "loss(rows, teacher).sum().backward()",
                "print(rows.grad)",
            ),
        )

    return Check(
        name="T² is right",
        measure=measure,
        otherwise="T² is missing.",
    )


def lacks_square(kind: Kind) -> bool:
    """Whether the gradient is as small as without T², or smaller; or as with another power of T."""
    if kind.temperature is None or abs(math.log(kind.temperature)) < 0.05:
        return False
    temperature, weight = kind.temperature, abs(kind.weight)
    if temperature < 1:
        return math.isclose(weight * temperature**2, 1.0, rel_tol=0.01)
    powers = (temperature**power for power in (-1, 1, 2))
    is_power = any(math.isclose(weight, power, rel_tol=0.01) for power in powers)
    return is_power or weight * temperature**2 < 1.01


def _rows_of(sizes: list[float]) -> Case:
    """Rows of three sizes, of which some tell the losses apart at any temperature."""
    rows = random_case(12, 6, seed=1)
    size = torch.tensor(sizes).repeat(4)[:, None]
    return replace(rows, student=size * rows.student, teacher=size * rows.teacher)


def _fitted(name: str, case: Case, found: Tensor, labels: bool, fits: float) -> Kind | None:
    def apart(log_temperature: float) -> float:
        return _fit(name, case, found, math.exp(log_temperature), labels)[1]

    if name == "squared":
        weight, off = _fit(name, case, found, 1.0, labels)
        return Kind(name=name, temperature=None, weight=weight) if off < fits else None
    best = min(_GRID, key=lambda temperature: apart(math.log(temperature)))
    if apart(math.log(best)) > 0.5:
        return None
    exact = _lowest(apart, math.log(best) - 0.18, math.log(best) + 0.18)
    temperature = math.exp(exact)
    nearest = float(f"{temperature:.3g}")
    if _fit(name, case, found, nearest, labels)[1] < 0.1 * fits:
        temperature = nearest
    weight, off = _fit(name, case, found, temperature, labels)
    if off >= fits:
        return None
    return Kind(name=name, temperature=temperature, weight=weight)


def _fit(
    name: str, case: Case, found: Tensor, temperature: float, labels: bool
) -> tuple[float, float]:
    known = _gradient(name, case, temperature)
    if labels:
        known = known - _gradient(name, case.of_another_teacher(), temperature)
    return compared(found, known)


def _gradient(name: str, case: Case, temperature: float) -> Tensor:
    probe = Probe(ask=lambda asked: KNOWN[name](asked.student, asked.teacher, temperature))
    return probe.gradient(case)


def _lowest(function: Callable[[float], float], low: float, high: float) -> float:
    """Where a function of one valley is lowest: golden-section search."""
    left, right = high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)
    at_left, at_right = function(left), function(right)
    for _ in range(25):
        if at_left < at_right:
            high, right, at_right = right, left, at_left
            left = high - _GOLDEN * (high - low)
            at_left = function(left)
        else:
            low, left, at_left = left, right, at_right
            right = low + _GOLDEN * (high - low)
            at_right = function(right)
    return (low + high) / 2
