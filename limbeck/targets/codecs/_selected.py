"""Rate-distortion selected entries: a class is stored where that saves more than its bits cost.

For tens to some thousand classes, of which a row holds few probable. All others share the exact
mass that is left, spread as the data set's mean tail. The most probable class of a row is its
context: its own probability is what the rest leaves of 1, and takes no bits; the other classes are
ranks in the order that the context puts them in, for what is confused with it is much the same
from row to row.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary

from limbeck._errors import OptionError
from limbeck.signals import Head, Sparse
from limbeck.targets.codecs._codec import Arrays, Column, Seeds, State, Values
from limbeck.targets.codecs._flat import (
    Ints,
    below,
    join,
    plane_columns,
    rows_of,
    split,
    steps,
    summed,
    uneven,
)
from limbeck.targets.codecs._learned import disorder, misfit, not_log_weights
from limbeck.targets.codecs._mean_tail import MeanTail
from limbeck.targets.codecs._pieces import joined, smaller, spans, tensor_of
from limbeck.targets.codecs._selection import least_costly, least_mass

_MOST_CONTEXTS = 4096
"""Classes up to which each has an order of its own: 64 MiB of them at the most."""


@dataclass(frozen=True, kw_only=True)
class Selected:
    """The classes worth their bits, at square-root levels, and the exact mass of the others.

    Error: of each stored class about 1 / (6 Q^2) nats of KL divergence; of each other one at most
    `cost` times the bits it would take, some ten. What is between the others is only known on
    average, so it is biased.
    """

    levels: int = 127
    """Q: the largest level, 1 (nearly the label) up to 65535 (nearly exact)."""
    cost: float = 1e-3
    """Nats of KL divergence that a bit must save, 0 (every class) and above (fewer)."""
    name: str = field(default="selected", init=False)
    biased: bool = field(default=True, init=False)
    takes_logits: bool = field(default=False, init=False)

    def __post_init__(self) -> None:
        if type(self.levels) is not int or not 1 <= self.levels <= 65535:
            raise OptionError(
                "levels of codec selected must be a whole number from 1 to 65535, got "
                f"{self.levels!r}."
            )
        if type(self.cost) not in (float, int) or not 0 <= self.cost < math.inf:
            raise OptionError(f"cost of codec selected must be 0 or more, got {self.cost!r}.")

    @property
    def options(self) -> dict[str, Any]:
        """`levels` and `cost`."""
        return {"levels": self.levels, "cost": self.cost}

    def columns(self, head: Head) -> dict[str, Column]:
        """The context as a rank, the mass of the tail, then the others in the context's order."""
        if head.space != "categorical":
            raise OptionError(
                f"codec selected is for categorical heads, got head {head.name}, which is "
                f"{head.space}. Use codec real16."
            )
        if head.size > self.levels**2:
            raise OptionError(
                f"codec selected with levels {self.levels} is for at most {self.levels**2} "
                f"classes, got the {head.size} of head {head.name}. Use more levels, or codec "
                "threshold."
            )
        level = np.min_scalar_type(self.levels)
        return {
            **plane_columns("context", head.size, None),
            "tail": Column(level),
            "others": Column(np.min_scalar_type(head.size)),
            "levels": Column(level, counted_by="others"),
            **plane_columns("steps", head.size, "others"),
        }

    def fit(self, pieces: Iterable[Values], head: Head) -> State:
        """`common`: classes by mean probability; `order`: the same for each context; `tail`.

        A context's order is that of mean p_context p_class, so that every row tells of all of
        them, however seldom a class is the most probable.
        """
        tail = MeanTail(head.size)
        contexts = head.size if head.size <= _MOST_CONTEXTS else 1
        together = torch.zeros(contexts, head.size)
        total = torch.zeros(head.size)
        for piece in smaller(pieces):
            p = piece.exp()
            total += p.sum(dim=0).cpu()
            if contexts > 1:
                together += (p.T @ p).cpu()
            # An entry of 5 times the cost of a bit is worth about the bits it takes; one that is
            # rounded to level 0 cannot be stored.
            tail.add(p, p >= max(5 * self.cost, 1 / (4 * self.levels**2)))
        if contexts == 1:
            together = total[None]
        else:
            together.fill_diagonal_(-1.0)  # a context is never among its others
        return {
            "common": total.argsort(descending=True, stable=True).int(),
            "order": together.argsort(dim=-1, descending=True, stable=True).int(),
            "tail": tail.shape(),
        }

    def state_fault(self, state: State, head: Head) -> str | None:
        """An order that is none, or weights that are none."""
        contexts = head.size if head.size <= _MOST_CONTEXTS else 1
        wanted = {
            "common": (torch.int32, (head.size,)),
            "order": (torch.int32, (contexts, head.size)),
            "tail": (torch.float32, (head.size,)),
        }
        return (
            misfit(state, wanted)
            or disorder(state["common"], "common")
            or disorder(state["order"], "order")
            or not_log_weights(state["tail"])
        )

    def encode(self, values: Values, head: Head, state: State, seeds: Seeds) -> Arrays:
        """Select, and round each root to the nearest level."""
        values = tensor_of(values)
        ranks = _ranks(state["order"]).to(values.device)
        common = _ranks(state["common"]).numpy()
        shape = state["tail"].to(values.device).double().exp()
        parts = []
        for span in spans(values):
            found = least_costly(
                values[span].exp(), ranks, shape, levels=self.levels, cost=self.cost
            )
            context, row, rank, level, tail = (part.cpu().numpy() for part in found)
            key = np.sort(row << 40 | rank << 16 | level)
            counts = np.bincount(row, minlength=len(context))
            parts.append(
                {
                    **split(common[context][:, None], "context", head.size),
                    "tail": tail[:, None],
                    "others": counts[:, None],
                    "levels": key & 0xFFFF,
                    **split(steps(key >> 16 & 0xFFFFFF, counts), "steps", head.size),
                }
            )
        return joined(parts, self.columns(head))

    def fault(self, arrays: Arrays, head: Head) -> str | None:
        """Classes that the head does not have, levels beyond Q, probabilities that exceed 1."""
        if fault := uneven(arrays, self.columns(head)):
            return fault
        counts = arrays["others"][:, 0].astype(np.int64)
        ranks = summed(join(arrays, "steps", head.size), counts)
        context = join(arrays, "context", head.size)
        largest = max(int(ranks.max(initial=0)), int(context.max(initial=0)))
        if largest >= head.size:
            return f"the class of rank {largest} of a head of {head.size} classes"
        levels, tail = arrays["levels"], arrays["tail"]
        if levels.max(initial=0) > self.levels or tail.max(initial=0) > self.levels:
            return f"a level beyond {self.levels}"
        if levels.min(initial=1) < 1:
            return "a class at level 0"
        roots = levels.astype(np.float64)
        squares = np.bincount(rows_of(counts), roots**2, len(counts)) + np.square(
            tail[:, 0], dtype=np.float64
        )
        return "probabilities that exceed 1" if squares.max(initial=0) > self.levels**2 else None

    def decode(self, arrays: Arrays, head: Head, state: State, temperature: float) -> Sparse:
        """`Sparse` rows, the context first; padded to the longest."""
        counts = arrays["others"][:, 0].astype(np.int64)
        shape = len(counts), 1 + int(counts.max(initial=0))
        others = below(counts, shape[1] - 1)
        values = (np.arange(self.levels + 1) / self.levels) ** 2
        context = state["common"].numpy().take(join(arrays, "context", head.size)[:, 0])
        ids = np.zeros(shape, dtype=np.int32)
        ids[:, 0] = context
        ids[:, 1:][others] = self._classes(arrays, head, state, context, counts)
        probabilities = np.zeros(shape)
        probabilities[:, 1:][others] = values.take(arrays["levels"])
        values[0] = least_mass(self.levels)
        possible = int(state["tail"].isfinite().sum())
        tail = np.where(counts + 1 < possible, values.take(arrays["tail"][:, 0]), 0.0)
        rest = 1 - tail - probabilities.sum(axis=1)
        probabilities[:, 0] = np.maximum(rest, 0.0)  # rounding leaves it more than that
        return Sparse(
            ids=torch.from_numpy(ids),
            probabilities=torch.from_numpy(probabilities.astype(np.float32)),
            tail=torch.from_numpy(tail.astype(np.float32)),
            temperature=temperature,
            tail_shape=state["tail"],
        )

    def _classes(
        self, arrays: Arrays, head: Head, state: State, context: Ints, counts: Ints
    ) -> NDArray[np.int32]:
        ranks = summed(join(arrays, "steps", head.size), counts)
        order = state["order"].numpy()
        if len(order) > 1:
            ranks += np.repeat(context.astype(np.int64) * head.size, counts)
        classes: NDArray[np.int32] = order.ravel().take(ranks)
        return classes


_RANKS = WeakTensorKeyDictionary()


def _ranks(order: Tensor) -> Tensor:
    """The place of each class in orders `(..., classes)`; kept, for every batch needs the same."""
    if order not in _RANKS:
        size = order.shape[-1]
        small = torch.int16 if size <= _MOST_CONTEXTS else torch.int32
        places = torch.arange(size, dtype=small).expand_as(order)
        _RANKS[order] = torch.empty_like(places).scatter_(-1, order.long(), places)
    found: Tensor = _RANKS[order]
    return found
