"""How near stored rows are to the live ones."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from limbeck.signals import Dense, Head, Rows, Sparse


@dataclass(frozen=True, kw_only=True)
class Faithfulness:
    """Sums over some rows, so that those of two lots of rows can be added."""

    rows: int = 0
    """All of them, of every head."""
    compared: int = 0
    """Those of categorical and binary heads: `kl` and `agreement` are sums over these."""
    kl: float = 0.0
    """KL(live || stored) at the stored temperature, in nats."""
    agreement: float = 0.0
    """1 for a row whose most probable class is the same; a binary row counts the fraction of
    classes that are on the same side of one half."""
    difference: float = 0.0
    """The largest: between two probabilities, or two numbers relative to the larger of 1 and the
    live one."""

    def __add__(self, other: "Faithfulness") -> "Faithfulness":
        return Faithfulness(
            rows=self.rows + other.rows,
            compared=self.compared + other.compared,
            kl=self.kl + other.kl,
            agreement=self.agreement + other.agreement,
            difference=max(self.difference, other.difference),
        )

    @property
    def mean_kl(self) -> float | None:
        """Nats per row; None where there is nothing to compare by KL divergence."""
        # Rounding can leave a sum a little under its true bound of 0.
        return max(self.kl, 0.0) / self.compared if self.compared else None

    @property
    def mean_agreement(self) -> float | None:
        """0..1; None where no row has classes."""
        return self.agreement / self.compared if self.compared else None


def faithfulness(live: Tensor, stored: Rows, head: Head) -> Faithfulness:
    """Compare rows as the teacher gave them, `(..., size)` compressed, with the stored ones.

    Sparse rows are compared as the coarser distribution they are: the tail is one more class.
    """
    live = live.double().flatten(0, -2)  # (rows, size)
    if isinstance(stored, Sparse):
        kl, agreement, difference = _sparse(live, stored)
    elif head.space == "categorical":
        kl, agreement, difference = _categorical(live, _values(stored))
    elif head.space == "binary":
        kl, agreement, difference = _binary(live, _values(stored))
    else:
        relative = (live - _values(stored)).abs() / live.abs().clamp(min=1.0)
        return Faithfulness(rows=len(live), difference=float(relative.max()))
    return Faithfulness(
        rows=len(live),
        compared=len(live),
        kl=float(kl.sum()),
        agreement=float(agreement.double().sum()),
        difference=float(difference.max()),
    )


def _values(stored: Dense) -> Tensor:
    return stored.values.double().flatten(0, -2)


def _categorical(live: Tensor, stored: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    log_p, log_q = F.log_softmax(live, dim=-1), F.log_softmax(stored, dim=-1)
    p = log_p.exp()
    kl = (p * (log_p - log_q)).sum(dim=-1)  # (rows,)
    return kl, live.argmax(dim=-1) == stored.argmax(dim=-1), (p - log_q.exp()).abs()


def _binary(live: Tensor, stored: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    p, q = live.sigmoid(), stored.sigmoid()
    yes = p * (F.logsigmoid(live) - F.logsigmoid(stored))
    no = (1 - p) * (F.logsigmoid(-live) - F.logsigmoid(-stored))
    same_side = ((live > 0) == (stored > 0)).double().mean(dim=-1)  # (rows,)
    return (yes + no).sum(dim=-1), same_side, (p - q).abs()


def _sparse(live: Tensor, stored: Sparse) -> tuple[Tensor, Tensor, Tensor]:
    ids = stored.ids.long().flatten(0, -2)  # (rows, kept)
    q = stored.probabilities.double().flatten(0, -2)
    p = F.log_softmax(live, dim=-1).exp().gather(-1, ids)
    difference = (p - q).abs()
    p = torch.where(q > 0, p, 0.0)  # a probability that was rounded to 0 is in the tail
    tail_p = (1 - p.sum(dim=-1)).clamp(min=0.0)
    # The tail is a float32 near 1 minus a sum: it cannot be told from 0 below 2^-24.
    tail_q = stored.tail.double().flatten().clamp(min=2**-24)
    kl = (torch.xlogy(p, p) - torch.xlogy(p, q)).sum(dim=-1)  # (rows,)
    kl = kl + torch.xlogy(tail_p, tail_p) - torch.xlogy(tail_p, tail_q)
    top = ids.gather(-1, q.argmax(dim=-1, keepdim=True))[:, 0]  # (rows,)
    return kl, live.argmax(dim=-1) == top, difference
