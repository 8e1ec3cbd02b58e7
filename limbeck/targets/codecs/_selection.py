"""Which entries of a row to store, so that KL divergence and bits together cost least."""

from typing import NamedTuple

import torch
from torch import Tensor

_LEVEL_BITS = 5.0
"""What a level takes, compressed, and the place of its class beside."""
_ROUNDS = 3
"""The tail that an entry is compared with depends on what else is stored; it settles fast."""


class Selection(NamedTuple):
    """The classes of some rows that are stored beside the most probable one, in order of row."""

    context: Tensor
    """The most probable class of each row, `(rows,)`."""
    row: Tensor
    """`(stored,)`, as the next two."""
    rank: Tensor
    """In the order that the row's context puts classes in."""
    level: Tensor
    """Of its square root, 1 to Q."""
    tail: Tensor
    """The level of the mass of all other classes, `(rows,)`, 0 to Q."""


def least_mass(levels: int) -> float:
    """What a mass of level 0 is read as: the mean of what is rounded to it."""
    return 1 / (12 * levels**2)


def least_costly(
    p: Tensor, ranks: Tensor, tail_shape: Tensor, *, levels: int, cost: float
) -> Selection:
    """The classes that are worth their bits; squares of a row's levels sum to at most Q^2.

    Leaving class i to a tail that gives it t_i loses p_i log(p_i / t_i) - p_i + t_i nats of KL
    divergence. It is stored where that is more than `cost` times its bits.

    Args:
        p: Probabilities, `(rows, classes)`.
        ranks: Of each class given each context, `(classes, classes)`, or given any, `(1, classes)`;
            of any type of whole numbers.
        tail_shape: Weights by which the tail spreads, `(classes,)`, float64.
        levels: The largest level, Q.
        cost: Nats that a bit must save.
    """
    context = p.argmax(dim=-1)
    likely = 4 * levels**2 * p >= 1  # not rounded to level 0
    likely.scatter_(1, context[:, None], False)
    row, column = likely.nonzero(as_tuple=True)  # (likely,), as all here but sums by row
    each = p[row, column].double()
    weight = tail_shape[column]
    rank = ranks[context[row] % len(ranks), column].long()
    price = cost * (_LEVEL_BITS + (rank + 2).double().log2())
    most = p.gather(1, context[:, None])[:, 0].double()
    mass = p.sum(dim=-1, dtype=torch.float64) - most  # (rows,)
    room = tail_shape.sum() - tail_shape[context]

    def by_row(numbers: Tensor) -> Tensor:
        return torch.zeros_like(mass).index_add_(0, row, numbers.double())

    stored = torch.zeros_like(row, dtype=torch.bool)
    for _ in range(_ROUNDS):
        share = (mass - by_row(each * stored)) / (room - by_row(weight * stored)).clamp_min(1e-30)
        left = (share[row] * weight).clamp_min(1e-30)
        gain = each * (each / left).log() - each + left
        stored = (gain > price) | (weight == 0)
    roots = each.sqrt() * levels
    level = roots.round() * stored
    tail = _root(mass - by_row(each * stored)) * levels
    # Rounding up may leave little for the context: such rows are rounded down.
    rest = levels**2 - by_row(level.square()) - tail.round().square()
    short = rest < levels**2 * most / 2
    level = torch.where(short[row], roots.floor() * stored, level)
    down = (_root(mass - by_row(each * (level > 0))) * levels).floor()
    tail = torch.where(short, down, tail.round())
    kept = level > 0
    return Selection(context, row[kept], rank[kept], level[kept].long(), tail.long())


def _root(mass: Tensor) -> Tensor:
    """Of what a difference of sums left, which may be a little below 0."""
    return mass.clamp_min(0.0).sqrt()
