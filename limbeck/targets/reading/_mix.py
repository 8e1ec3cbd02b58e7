"""Rows of several teachers as one: the weighted mean of the probabilities that they stand for.

A sparse row stands for a distribution: named classes as they are said, its tail spread over the
others by its `tail_shape`, evenly where it has none. So a class that one teacher names and another
does not gets its part of the other's tail, and what remains of the tails is that of the mix.

Rows with drawn entries are right on average as they are, without their tail, and so is a mix of
such rows alone. Of a class that one teacher keeps and another draws, the sum is a probability of
its own, right on average: only what nobody keeps is drawn. Beside rows that have a tail they are
read as their density.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from limbeck._mixture import mixture
from limbeck.signals import Dense, Head, Rows, Sparse


def mix(rows: Sequence[Rows], weights: Tensor, head: Head, tail_shape: Tensor | None) -> Rows:
    r"""$\sum_k w_k p_k$ of each row, in float32.

    Args:
        rows: What each teacher said of the same samples, `(samples, ...)`, at one temperature.
        weights: $w_k$, `(samples, teachers)`, 0 or more, 1 in sum.
        head: What was asked.
        tail_shape: `(classes,)`: that of the mix, see `mixed_tail_shape`.

    Returns:
        Sparse rows if all are, else dense ones: log-probabilities of the mean (categorical), the
        log-odds of the mean (binary), or the mean itself (real).
    """
    alone = [row.to(torch.device("cpu")) for row in rows]
    if not all(isinstance(row, Sparse) and row.drawn is not None for row in alone):
        alone = [row.density if isinstance(row, Sparse) else row for row in alone]
    if all(isinstance(row, Sparse) for row in alone):
        sparse = [row for row in alone if isinstance(row, Sparse)]
        return _mix_sparse(sparse, weights, head.size, tail_shape)
    values = torch.stack(
        [row.values if isinstance(row, Dense) else log_density(row, head.size) for row in alone]
    )  # (teachers, samples, ..., size)
    mixed = mixture(values, weights, head.space)
    return Dense(values=mixed, temperature=rows[0].temperature)


def mixed_tail_shape(shapes: Sequence[Tensor | None], weights: Tensor) -> Tensor | None:
    """The shape of the tail of a mix: exact where all are alike, else the mean of theirs.

    Args:
        shapes: `(classes,)` of each teacher's rows, None for an even spread.
        weights: `(teachers,)`: the mean weight of each.
    """
    known = [shape for shape in shapes if shape is not None]
    if not known:
        return None
    even = torch.zeros_like(known[0])
    logs = torch.stack([F.log_softmax(even if shape is None else shape, 0) for shape in shapes])
    return torch.logsumexp(logs.double() + weights.double().log()[:, None], dim=0).float()


def _mix_sparse(
    rows: Sequence[Sparse], weights: Tensor, classes: int, tail_shape: Tensor | None
) -> Sparse:
    leading = rows[0].tail.shape
    spread = weights.reshape(len(weights), *[1] * (len(leading) - 1), len(rows))
    weight = spread.expand(*leading, -1).reshape(-1, len(rows)).double()  # (rows, teachers)
    # A teacher of weight 0 names nothing.
    said = [
        row.probabilities.flatten(0, -2) * (weight[:, k, None] > 0) for k, row in enumerate(rows)
    ]
    named_by = [
        row.ids.flatten(0, -2).masked_fill(said[k] == 0, classes) for k, row in enumerate(rows)
    ]
    ids, slots = _each_once(torch.cat(named_by, dim=-1), classes)
    slot = torch.split(slots, [part.shape[-1] for part in said], dim=-1)
    probabilities = torch.zeros(ids.shape, dtype=torch.float64)
    tail = torch.zeros(len(ids), dtype=torch.float64)
    kept_by_one = torch.zeros(ids.shape)
    for k, row in enumerate(rows):
        left = weight[:, k] * row.tail.flatten()  # (rows,)
        probabilities.scatter_add_(-1, slot[k], weight[:, k, None] * said[k])
        if row.drawn is not None:
            is_kept = ~row.drawn.flatten(0, -2) & (said[k] > 0)
            kept_by_one.scatter_add_(-1, slot[k], is_kept.float())
            tail += left  # of which nothing is on any class
            continue
        own = torch.zeros(ids.shape).scatter_add_(-1, slot[k], (said[k] > 0).float()) > 0
        shares = left[:, None] * _shares(row.tail_shape, ids, own, classes)  # (rows, kept)
        probabilities += shares
        tail += (left - shares.sum(dim=-1)).clamp_min(0.0)
    kept = int((ids < classes).any(dim=0).sum())
    named = ids[:, :kept] < classes
    return Sparse(
        ids=ids[:, :kept].masked_fill(~named, 0).reshape(*leading, kept),
        probabilities=(probabilities[:, :kept] * named).float().reshape(*leading, kept),
        tail=tail.float().reshape(leading),
        temperature=rows[0].temperature,
        tail_shape=tail_shape,
        drawn=(named & (kept_by_one[:, :kept] == 0)).reshape(*leading, kept)
        if any(row.drawn is not None for row in rows)
        else None,
    )


def _each_once(given: Tensor, classes: int) -> tuple[Tensor, Tensor]:
    """The ids of each row, `(rows, entries)`, each once, in rising order; and where each went.

    What is left of a row's places has the id `classes`, which is none.
    """
    ordered, order = given.sort(dim=-1)
    if given.shape[-1] == 0:
        return given, order
    new = ordered[:, 1:] != ordered[:, :-1]
    place = F.pad(new.long().cumsum(dim=-1), (1, 0))  # (rows, entries)
    ids = torch.full_like(ordered, classes).scatter_(-1, place, ordered)
    return ids, torch.empty_like(place).scatter_(-1, order, place)


def _shares(shape: Tensor | None, ids: Tensor, own: Tensor, classes: int) -> Tensor:
    """How much of a teacher's tail is on each of these classes, `(rows, kept)`; none on its own."""
    at = _tail_weights(shape, classes, at=ids)
    inside = (at * own).sum(dim=-1, keepdim=True)
    at = at.masked_fill(own, 0.0)
    # All others hold at least what is here: the difference rounds, and must not give more than all.
    others = torch.maximum(1 - inside, at.sum(dim=-1, keepdim=True))
    return at / others.clamp_min(torch.finfo(at.dtype).tiny)


def _tail_weights(shape: Tensor | None, classes: int, *, at: Tensor) -> Tensor:
    """The weight of classes in a tail, 1 in sum over all; 0 of the id `classes`, which is none."""
    if shape is None:
        return (at < classes).double() / classes
    return F.pad(torch.softmax(shape.double(), dim=0), (0, 1))[at]


def log_density(row: Sparse, classes: int) -> Tensor:
    """`(..., classes)`: the logarithm of the distribution that a sparse row stands for."""
    named = torch.zeros(*row.tail.shape, classes).scatter_add_(-1, row.ids, row.probabilities)
    own = named > 0
    weights = _tail_weights(row.tail_shape, classes, at=torch.arange(classes))
    others = weights.masked_fill(own, 0.0)  # (..., classes)
    others = others / others.sum(dim=-1, keepdim=True).clamp_min(torch.finfo(others.dtype).tiny)
    return (named + row.tail[..., None] * others).log().float()
