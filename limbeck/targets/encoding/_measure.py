"""How near stored rows are to the live ones."""

from types import ModuleType

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from limbeck.signals import Dense, Head, Rows, Sparse
from limbeck.targets.codecs import Values
from limbeck.targets.codecs._compiled import compiled
from limbeck.targets.codecs._pieces import tensor_of
from limbeck.targets.format._faithfulness import Faithfulness


def faithfulness(live: Values, stored: Rows, head: Head) -> Faithfulness:
    """Compare rows as the teacher gave them, `(..., size)` compressed, with the stored ones.

    Of classes, `live` may be off by a constant a row.

    Sparse rows without a shape for the tail are compared as the coarser distribution they are: the
    tail is one more class.
    """
    live = tensor_of(live).cpu().flatten(0, -2)  # (rows, size)
    loops = compiled()
    if loops is not None and isinstance(stored, Sparse) and stored.tail_shape is not None:
        return _in_a_loop(loops, live, stored)
    live = live.double()
    if isinstance(stored, Sparse):
        kl, agreement, gap = _sparse(live, stored)
    elif head.space == "categorical":
        kl, agreement, gap = _categorical(live, _values(stored))
    elif head.space == "binary":
        kl, agreement, gap = _binary(live, _values(stored))
    else:
        relative = (live - _values(stored)).abs() / live.abs().clamp(min=1.0)
        return Faithfulness(rows=len(live), difference=float(relative.max()))
    squared = gap.square().sum()
    if isinstance(stored, Sparse) and stored.drawn is not None:
        squared = (_scattered(stored, live) - live.softmax(-1)).square().sum()
    return Faithfulness(
        rows=len(live),
        compared=len(live),
        kl=float(kl.sum()),
        agreement=float(agreement.double().sum()),
        squared=float(squared),
        difference=float(gap.abs().max()),
    )


def _in_a_loop(loops: ModuleType, live: Tensor, stored: Sparse) -> Faithfulness:
    rows = stored.density.flat
    assert rows.tail_shape is not None, "who calls looks for one"
    shape = rows.tail_shape.double().log_softmax(-1)
    kl, agreement, squared, squared_as_drawn, difference = np.empty((5, len(live)))
    loops.distances(
        live.float().contiguous().numpy(),
        shape.numpy(),
        shape.exp().numpy(),
        rows.ids.numpy(),
        rows.probabilities.double().numpy(),
        rows.tail.double().numpy(),
        stored.flat.probabilities.double().numpy(),
        kl,
        agreement,
        squared,
        squared_as_drawn,
        difference,
    )
    if stored.drawn is not None:
        squared = squared_as_drawn
    return Faithfulness(
        rows=len(live),
        compared=len(live),
        kl=float(kl.sum()),
        agreement=float(agreement.sum()),
        squared=float(squared.sum()),
        difference=float(difference.max(initial=0.0)),
    )


def _values(stored: Dense) -> Tensor:
    return stored.values.double().flatten(0, -2)


def _categorical(live: Tensor, stored: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    log_p, log_q = F.log_softmax(live, dim=-1), F.log_softmax(stored, dim=-1)
    p = log_p.exp()
    kl = (p * (log_p - log_q).masked_fill(p == 0, 0.0)).sum(dim=-1)  # (rows,)
    return kl, live.argmax(dim=-1) == stored.argmax(dim=-1), p - log_q.exp()


def _binary(live: Tensor, stored: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    p, q = live.sigmoid(), stored.sigmoid()
    yes = p * (F.logsigmoid(live) - F.logsigmoid(stored))
    no = (1 - p) * (F.logsigmoid(-live) - F.logsigmoid(-stored))
    same_side = ((live > 0) == (stored > 0)).double().mean(dim=-1)  # (rows,)
    return (yes + no).sum(dim=-1), same_side, p - q


def _sparse(live: Tensor, stored: Sparse) -> tuple[Tensor, Tensor, Tensor]:
    rows = stored.density
    if rows.tail_shape is not None:
        return _categorical(live, dense_log_probabilities(rows).flatten(0, -2))
    ids = rows.ids.long().flatten(0, -2)  # (rows, kept)
    q = rows.probabilities.double().flatten(0, -2)
    p = F.log_softmax(live, dim=-1).exp().gather(-1, ids)
    gap = p - q
    p = torch.where(q > 0, p, 0.0)  # a probability that was rounded to 0 is in the tail
    tail_p = (1 - p.sum(dim=-1)).clamp(min=0.0)
    # The tail is a float32 near 1 minus a sum: it cannot be told from 0 below 2^-24.
    tail_q = rows.tail.double().flatten().clamp(min=2**-24)
    kl = (torch.xlogy(p, p) - torch.xlogy(p, q)).sum(dim=-1)  # (rows,)
    kl = kl + torch.xlogy(tail_p, tail_p) - torch.xlogy(tail_p, tail_q)
    top = ids.gather(-1, q.argmax(dim=-1, keepdim=True))[:, 0]  # (rows,)
    return kl, live.argmax(dim=-1) == top, gap


def dense_log_probabilities(rows: Sparse) -> Tensor:
    """The distribution over all classes that rows with a `tail_shape` are, `(..., classes)`.

    In float64; a class of which nothing is left is given the smallest probability there is.
    """
    assert rows.tail_shape is not None, "who calls looks for one"
    named = rows.probabilities.double()  # (..., kept)
    weights = rows.tail_shape.double().softmax(-1).expand(*named.shape[:-1], -1).clone()
    ids = rows.ids.long()
    is_named = named > 0
    # Padding may share an id with a named entry: it must not bring that class back.
    weights = weights.scatter_add(-1, ids, -weights.gather(-1, ids) * is_named).clamp_min(0.0)
    total = weights.sum(-1, keepdim=True).clamp_min(torch.finfo(torch.float64).tiny)
    spread = weights / total * rows.tail.double()[..., None]
    return spread.scatter_add(-1, ids, named).clamp_min(torch.finfo(torch.float32).tiny).log()


def _scattered(rows: Sparse, live: Tensor) -> Tensor:
    """The entries of each row in their places, `(rows, size)`, and 0 elsewhere."""
    ids = rows.ids.long().flatten(0, -2)
    return torch.zeros_like(live).scatter_add_(-1, ids, rows.probabilities.double().flatten(0, -2))
