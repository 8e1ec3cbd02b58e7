"""A student that is sure of one class, and a teacher of another: there it has most to learn."""

import torch

from limbeck.proofs._case import Case
from limbeck.proofs._kind import SENTENCES, Kind
from limbeck.proofs._probe import Check, Measured, Probe, largest

_SURE, _RATHER_SURE = 40.0, 2.0
"""Logits beside zeros. The first leaves e^-40, which is a number in float32 too."""
_VANISHED = 1e-4
"""Of the typical gradient."""
_BOUNDED = ("reverse", "jensen-shannon", "probabilities", "total variation", "universal")
"""Of the known losses, those whose gradient has the student's probabilities as a factor."""
_UNBOUNDED = ("forward", "binary")
"""Those whose gradient is q - p, which is largest there."""


def contradiction(temperature: float, dtype: torch.dtype) -> Case:
    """Two rows that are as sure after they are softened; labels are the teacher's.

    Of two teachers one is less sure: a loss may leave out teachers that are, or that are not.
    """
    sure, rather_sure = _SURE * temperature, _RATHER_SURE * temperature
    student = [[sure, 0.0, 0.0], [sure, 0.0, 0.0]]
    teacher = [[0.0, sure, 0.0], [0.0, rather_sure, 0.0]]
    return Case(
        student=torch.tensor(student, dtype=dtype),
        teacher=torch.tensor(teacher, dtype=dtype),
        labels=torch.tensor([1, 1]),
    )


def excuse(kind: Kind | None) -> str:
    """Why the gradient of a loss of this kind may vanish there; "" where it may not."""
    if kind is not None and kind.name in _UNBOUNDED:
        return ""
    if kind is not None and kind.name in _BOUNDED:
        return (
            f"So it is by nature with {SENTENCES[kind.name]}: its gradient fades with the "
            "probability that the student gives the teacher's class, and who is sure of another is "
            "hardly taught."
        )
    return (
        "Its gradient vanishes where the student is sure of one class and the teacher of another, "
        "as that of every bounded loss does: such a student learns nothing there. If a KL "
        "divergence is meant, look for a clamp."
    )


def _pulls(probe: Probe, case: Case) -> Measured:
    pull = largest(probe.pull(case))
    temperature = "" if case.temperature is None else f", temperature={case.temperature!r}"
    towards = f"loss(rows, teacher{temperature})"
    if probe.takes_labels:
        towards = f"({towards} - {towards.replace('teacher', 'teacher.roll(1, -1)')})"
    return Measured(
        off=1.0 if pull < _VANISHED * probe.gradient_size else 0.0,
        got=f"up to {pull:.4g}",
        expected="a pull towards the teacher's class",
        steps=(
            "rows = student.clone().requires_grad_()",
            f"{towards}.sum().backward()",
            "print(rows.grad)",
        ),
    )


PULLS = Check(
    name="pulls where both contradict each other",
    measure=_pulls,
    otherwise="Where both nearly agree it is the forward KL divergence, and where the student is "
    "sure of one class and the teacher of another its gradient vanishes: look for a clamp of its "
    "value, and for a clamp, or a small number that is added, before a logarithm.",
)
