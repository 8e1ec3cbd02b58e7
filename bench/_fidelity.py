"""How near decoded rows come to the teacher's, in float64, over any number of rows."""

import math

import numpy as np
import torch
from torch import Tensor

from limbeck.signals import Dense, Rows


class Fidelity:
    """Means over all rows it was given, a chunk at a time.

    With p the teacher's row and t the decoded one: KL(p || t), ||t - p||^2, ||t - p||_1, and how
    often both have their largest entry at one class. Where t is not above 0 and p is, the row's KL
    is infinite, and so is the mean; such rows are counted, and left out of `finite_kl`.
    """

    def __init__(self) -> None:
        self.rows = 0
        self._finite = 0
        self._sums: dict[str, float] = {}

    def add(self, probabilities: np.ndarray, decoded: Rows) -> None:
        """Take in rows `(rows, classes)` and what became of them."""
        wanted = torch.from_numpy(probabilities).double()
        wanted = wanted / wanted.sum(dim=-1, keepdim=True)
        got = densify(decoded, wanted.shape[-1])
        self.rows += len(wanted)
        gap = got - wanted
        kl = _kl(wanted, got)
        finite = torch.isfinite(kl)
        self._finite += int(finite.sum())
        self._count("kl", kl)
        self._count("finite_kl", kl[finite])
        self._count("squared_error", gap.square().sum(dim=-1))
        self._count("l1", gap.abs().sum(dim=-1))
        self._count("agreement", (got.argmax(dim=-1) == wanted.argmax(dim=-1)).double())

    def _count(self, name: str, values: Tensor) -> None:
        self._sums[name] = self._sums.get(name, 0.0) + float(values.sum())

    @property
    def means(self) -> dict[str, float]:
        """By name: kl and finite_kl (nats), squared_error, l1, agreement, and infinite_kl: the part
        of the rows whose KL is infinite. Without a row of finite KL, finite_kl is infinite."""
        found = {name: total / self.rows for name, total in self._sums.items()}
        found["finite_kl"] = self._sums["finite_kl"] / self._finite if self._finite else math.inf
        found["infinite_kl"] = 1 - self._finite / self.rows
        return found


def densify(rows: Rows, classes: int) -> Tensor:
    """`(rows, classes)` float64 of all that rows say.

    A tail goes to the classes that are not named, by its shape, evenly where it has none.
    """
    if isinstance(rows, Dense):
        return torch.softmax(rows.logits.double(), dim=-1)
    values = rows.probabilities.double()
    ids = rows.ids.long()
    dense = torch.zeros((len(ids), classes), dtype=torch.float64).scatter_add_(-1, ids, values)
    if bool((rows.tail == 0).all()):
        return dense
    shape = torch.zeros(classes) if rows.tail_shape is None else rows.tail_shape
    weights = torch.softmax(shape.double(), dim=-1).expand_as(dense)
    named = torch.zeros_like(dense).scatter_add_(-1, ids, (values != 0).double()) > 0
    weights = weights.masked_fill(named, 0.0)
    left = weights.sum(dim=-1, keepdim=True).clamp_min(torch.finfo(torch.float64).tiny)
    return dense + rows.tail.double()[:, None] * weights / left


def _kl(wanted: Tensor, got: Tensor) -> Tensor:
    """`(rows,)`; infinite where `got` is not above 0 and `wanted` is."""
    shown = torch.where(got > 0, got, 0.0)
    terms = torch.xlogy(wanted, wanted) - torch.where(
        wanted > 0, wanted * torch.log(shown), torch.zeros_like(wanted)
    )
    return terms.sum(dim=-1)
