"""The strict half: what a term of an objective must do, whose weight stands beside it.

Here nothing is a matter of kind, and the gradient's size is compared with the known limit itself.
"""

from collections.abc import Callable

from torch import Tensor

from limbeck.proofs._case import random_case
from limbeck.proofs._distance import NEVER_NEGATIVE, STATIONARY, TEACHER_LEFT_ALONE, ZERO
from limbeck.proofs._probe import Probe, Property, look
from limbeck.proofs._scale import INFINITE_CLASSES, right_size
from limbeck.signals import Space

Distance = Callable[[Tensor, Tensor], Tensor]
"""From a student's and a teacher's logits, or numbers, `(rows, size)` to `(rows,)`."""


def prove_rows(
    loss: Distance,
    *,
    size: int = 10,
    space: Space = "categorical",
    dense: bool = True,
    seed: int = 0,
) -> list[Property]:
    r"""Measure what must hold of a term towards a teacher.

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
    probe = Probe(ask=lambda case: loss(case.student, case.teacher))
    checks = [ZERO, STATIONARY, NEVER_NEGATIVE, TEACHER_LEFT_ALONE]
    if dense and space == "categorical":
        checks.append(INFINITE_CLASSES)
    if dense:
        checks.append(right_size(space))
    case = random_case(16, size, seed=seed)
    return [look(probe, check, [case])[0] for check in checks]
