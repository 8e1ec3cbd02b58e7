"""A loss proves itself: what a distance to a teacher's logits must do, measured on random rows.

Popular defaults fail here: KL on raw logits, a missing logarithm, arguments that are swapped, a
mean over classes, a dropped T^2. A run that uses them finishes all the same, and teaches little.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from limbeck.signals import Space

Distance = Callable[[Tensor, Tensor], Tensor]
"""From a student's and a teacher's logits, or numbers, `(rows, size)` to `(rows,)`."""

_ROWS = 16
_PADDING = 3
_SMALL = 1e-4
"""Logits this small are at a large temperature, whatever the loss's own one is."""


@dataclass(frozen=True, kw_only=True)
class Property:
    """One thing that must hold of a loss."""

    name: str
    measured: float
    """How far it is from holding."""
    bound: float
    """How far it may be."""
    otherwise: str
    """What is the matter where it does not hold."""

    @property
    def holds(self) -> bool:
        """False for what is not a number, too."""
        return self.measured <= self.bound


def prove(
    loss: Distance,
    *,
    size: int = 10,
    space: Space = "categorical",
    dense: bool = True,
    seed: int = 0,
) -> list[Property]:
    r"""Measure what must hold of a loss towards a teacher.

    It is zero and stationary at equality, never negative, gives the teacher no gradient, and is
    moved neither in value nor in gradient by classes of $-\infty$. Its gradient has the right
    size: at a large temperature that of $T^2 KL$ nears $(s - t) / C$ of the centred logits,
    $(s - t) / 4$ for a binary head; that of a mean squared error is $2 (s - t) / C$.

    Args:
        loss: From a student's and a teacher's logits, or numbers, `(rows, size)` to `(rows,)`. It
            is called in float64, so that rounding cannot hide what is wrong.
        size: $C$: classes, or numbers, in a row.
        space: How rows compare.
        dense: False for a loss that does not see all classes: padding and size are left out.
        seed: Of the random rows.

    Returns:
        Each property with its measured number.
    """
    generator = torch.Generator().manual_seed(seed)
    student, teacher = torch.randn((2, _ROWS, size), dtype=torch.float64, generator=generator).mul(
        3.0
    )  # (rows, size) each
    found = [
        Property(
            name="zero at equality",
            measured=_largest(loss(teacher, teacher)),
            bound=1e-6,
            otherwise="It is no distance: look for a missing softmax or logarithm.",
        ),
        Property(
            name="stationary at equality",
            measured=_largest(_gradient(loss, teacher, teacher)),
            bound=1e-6,
            otherwise="It pulls a perfect student away: look for a missing softmax or logarithm.",
        ),
        Property(
            name="never negative",
            measured=float((-loss(student, teacher)).max().clamp_min(0.0)),
            bound=1e-6,
            otherwise="It is no distance: look for swapped arguments or a missing logarithm.",
        ),
        Property(
            name="no gradient to the teacher",
            measured=_largest(_gradient_to_teacher(loss, student, teacher)),
            bound=0.0,
            otherwise="The teacher's side must be detached.",
        ),
    ]
    if not dense:
        return found
    if space == "categorical":
        found.append(
            Property(
                name="unchanged by classes of -inf",
                measured=_moved_by_padding(loss, student, teacher),
                bound=1e-6,
                otherwise="A masked class must add exactly nothing: look for 0 x inf.",
            )
        )
    expected = _expected_gradient(_SMALL * student, _SMALL * teacher, space)
    gradient = _gradient(loss, _SMALL * student, _SMALL * teacher)
    found.append(
        Property(
            name="gradient of the right size",
            measured=float((gradient - expected).norm() / expected.norm()),
            bound=0.01,
            otherwise="Look for a missing T^2, or a mean over classes instead of their sum.",
        )
    )
    return found


def _expected_gradient(student: Tensor, teacher: Tensor, space: Space) -> Tensor:
    gap = student - teacher  # (rows, size)
    if space == "categorical":
        return (gap - gap.mean(dim=-1, keepdim=True)) / gap.shape[-1]
    return gap / 4 if space == "binary" else 2 * gap / gap.shape[-1]


def _moved_by_padding(loss: Distance, student: Tensor, teacher: Tensor) -> float:
    nothing = torch.full((_ROWS, _PADDING), float("-inf"), dtype=student.dtype)
    padded_student, padded_teacher = (torch.cat([rows, nothing], -1) for rows in (student, teacher))
    value = loss(padded_student, padded_teacher) - loss(student, teacher)
    gradient = _gradient(loss, padded_student, padded_teacher)  # (rows, size + padding)
    unpadded = torch.cat([_gradient(loss, student, teacher), torch.zeros_like(nothing)], -1)
    return max(_largest(value), _largest(gradient - unpadded), key=_nan_is_largest)


def _gradient(loss: Distance, student: Tensor, teacher: Tensor) -> Tensor:
    student = student.clone().requires_grad_()
    return _gradient_into(student, loss(student, teacher))


def _gradient_to_teacher(loss: Distance, student: Tensor, teacher: Tensor) -> Tensor:
    teacher = teacher.clone().requires_grad_()
    return _gradient_into(teacher, loss(student, teacher))


def _gradient_into(rows: Tensor, values: Tensor) -> Tensor:
    if not values.requires_grad:
        return torch.zeros_like(rows)
    (gradient,) = torch.autograd.grad(values.sum(), rows)
    return gradient


def _largest(numbers: Tensor) -> float:
    return float(numbers.detach().abs().max())


def _nan_is_largest(number: float) -> float:
    return float("inf") if number != number else number
