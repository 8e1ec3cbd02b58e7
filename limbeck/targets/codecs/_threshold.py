"""Threshold sampling: the probable classes of a row, and a few others drawn so that it stays right.

Nothing is dropped: each class is p on average, and so is the gradient of a cross-entropy. A row is
read three ways (`Sparse`): as it is, for losses that are linear in the teacher's probabilities;
its `density`, in which what was drawn is a tail of the data set's mean shape; its `top` alone.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from types import ModuleType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary

from limbeck._errors import OptionError
from limbeck._splitmix import uniform
from limbeck.signals import Head, Sparse
from limbeck.targets.codecs._codec import Arrays, Column, Seeds, State, Values
from limbeck.targets.codecs._compiled import compiled
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
from limbeck.targets.codecs._sampling import Named, rounded, select

_MOST_CLASSES = 1 << 24
"""A class must fit beside a row and a level in the 64 bits that they are sorted by."""
_OWN_STEP = 1 / 12
"""Nats between two levels of a drawn class's own probability."""


@dataclass(frozen=True, kw_only=True)
class Threshold:
    """All classes of at least `tau`, and others drawn with probability p / tau at value `tau`.

    Error: none on average, of any class: what is read is p up to chance that the row's seed
    decides. Its variance is at most p (tau - p) for a class below `tau`; above, where the level
    is drawn between the two nearest on a grid of square roots, about p / Q^2.
    """

    tau: float = 0.02
    """From 0, excluded (every class is kept, at its level), up to 1 (all are drawn)."""
    levels: int = 63
    """Q: the largest level; at least 1 / sqrt(tau), that no kept class becomes 0, up to 65535."""
    temperatures: Sequence[float] = ()
    """Other temperatures that rows can be read at, as multiples of the one they are stored at; a
    row then takes 2 bytes for each, and one for each class drawn. Chance grows with the distance:
    what was drawn rarely stands for much there. To learn at one temperature, store at that one."""
    name: str = field(default="threshold", init=False)
    biased: bool = field(default=False, init=False)
    takes_logits: bool = field(default=True, init=False)

    def __post_init__(self) -> None:
        if type(self.tau) not in (float, int) or not 0 < self.tau <= 1:
            raise OptionError(
                f"tau of codec threshold must be above 0 and at most 1, got {self.tau!r}."
            )
        least = math.ceil(1 / math.sqrt(self.tau))
        if type(self.levels) is not int or not least <= self.levels <= 65535:
            raise OptionError(
                f"levels of codec threshold must be a whole number from {least}, at which a class "
                f"of tau {self.tau:g} has one, to 65535, got {self.levels!r}."
            )
        if (
            type(self.temperatures) not in (list, tuple)
            or not all(
                type(each) in (float, int) and 0 < each < math.inf and each != 1
                for each in self.temperatures
            )
            or len(set(self.temperatures)) < len(self.temperatures)
        ):
            raise OptionError(
                "temperatures of codec threshold must be a list of numbers above 0, each once and "
                f"other than 1, which needs no mention, got {self.temperatures!r}."
            )
        object.__setattr__(self, "temperatures", tuple(self.temperatures))

    @property
    def options(self) -> dict[str, Any]:
        """`tau`, `levels` and `temperatures`."""
        return {
            "tau": self.tau,
            "levels": self.levels,
            "temperatures": list(self.temperatures),
        }

    def columns(self, head: Head) -> dict[str, Column]:
        """The classes kept and those drawn, each as the steps between their ranks in `order`."""
        if head.space != "categorical":
            raise OptionError(
                f"codec threshold is for categorical heads, got head {head.name}, which is "
                f"{head.space}. Use codec real16."
            )
        if head.size > _MOST_CLASSES:
            raise OptionError(
                f"codec threshold is for at most {_MOST_CLASSES} classes, got the {head.size} of "
                f"head {head.name}."
            )
        count = Column(np.min_scalar_type(math.ceil(1 / self.tau) + 1))
        columns = {
            "kept": count,
            "drawn": count,
            "kept_levels": Column(np.min_scalar_type(self.levels), counted_by="kept"),
            **plane_columns("kept_steps", head.size, "kept"),
            **plane_columns("drawn_steps", head.size, "drawn"),
        }
        if self.temperatures:
            columns["drawn_levels"] = Column(np.dtype(np.uint8), counted_by="drawn")
            columns["log_normalisers"] = Column(np.dtype(np.uint16), len(self.temperatures))
        return columns

    def fit(self, pieces: Iterable[Values], head: Head) -> State:
        """`order`: classes by how often they are named; `tail`: where the mass below tau lies."""
        tail = MeanTail(head.size)
        for piece in smaller(pieces):
            tail.add_above(piece, self.tau)
        often = tail.named + tail.mass / self.tau
        return {
            "order": often.argsort(descending=True, stable=True).int(),
            "tail": tail.shape(),
        }

    def state_fault(self, state: State, head: Head) -> str | None:
        """An order that is none, or weights that are none."""
        wanted = {"order": (torch.int32, (head.size,)), "tail": (torch.float32, (head.size,))}
        return (
            misfit(state, wanted)
            or disorder(state["order"], "order")
            or not_log_weights(state["tail"])
        )

    def encode(self, values: Values, head: Head, state: State, seeds: Seeds) -> Arrays:
        """Keep, draw, and round each level to either neighbour, by the row's own chance."""
        values = tensor_of(values)
        ranks = _ranks(state["order"])
        kept, drawn = select(values, self.tau, uniform(seeds, 0))
        loops = compiled()
        if loops is not None:
            levels = loops.rounded(kept.p, self.levels, seeds, kept.rows, kept.classes)
        else:
            levels = rounded(kept.p, self.levels, uniform(seeds[kept.rows], kept.classes + 1))
        own = np.zeros(len(drawn.p), dtype=np.int64)
        parts: dict[str, NDArray[Any]] = {}
        if self.temperatures:
            own = (np.log(self.tau / drawn.p) / _OWN_STEP).round().clip(0, 255).astype(np.int64)
            parts["log_normalisers"] = self._normalisers(values.log_softmax(dim=-1))
        columns = self.columns(head)
        part = _part if loops is None else partial(_part_in_a_loop, loops, columns)
        parts |= part("kept", kept, ranks, levels, len(seeds))
        parts |= part("drawn", drawn, ranks, own, len(seeds))
        return joined([parts], columns)

    def _normalisers(self, log_p: Tensor) -> NDArray[np.float64]:
        """The logarithm of the sum of p^(1 / T), as a part in 65535 of the most that it can be."""
        parts = [
            [
                torch.logsumexp(log_p[span] / each, dim=-1).double().cpu().numpy()
                for span in spans(log_p)
            ]
            for each in self.temperatures
        ]
        most = [_largest_normaliser(each, log_p.shape[-1]) for each in self.temperatures]
        whole = np.stack([np.concatenate(each) for each in parts], axis=-1) / most * 65535
        clipped: NDArray[np.float64] = whole.round().clip(0, 65535)
        return clipped

    def fault(self, arrays: Arrays, head: Head) -> str | None:
        """Classes that the head does not have or that a row names twice, and levels beyond Q."""
        columns = self.columns(head)
        if fault := uneven(arrays, columns):
            return fault
        named = []
        for name in ("kept", "drawn"):
            counts = arrays[name][:, 0].astype(np.int64)
            ranks = summed(join(arrays, f"{name}_steps", head.size), counts)
            if len(ranks) and ranks.max() >= head.size:
                return f"the class of rank {ranks.max()} of a head of {head.size} classes"
            named.append(rows_of(counts) << 40 | ranks)
        both = np.sort(np.concatenate(named))
        if (both[1:] == both[:-1]).any():
            return "a class that one row names twice"
        levels = arrays["kept_levels"]
        if len(levels) and not 1 <= levels.min() <= levels.max() <= self.levels:
            return f"levels {levels.min()} to {levels.max()}, not 1 to {self.levels}"
        return None

    def decode(self, arrays: Arrays, head: Head, state: State, temperature: float) -> Sparse:
        """`Sparse` rows whose drawn entries stand for the tail; padded to the longest."""
        order = state["order"].numpy()
        values = ((np.arange(self.levels + 1) / self.levels) ** 2).astype(np.float32)
        loops = compiled()
        place = _place if loops is None else partial(_place_in_a_loop, loops)
        ids, probabilities, is_drawn = place(arrays, order, values, self.tau)
        rows = Sparse(
            ids=torch.from_numpy(ids),
            probabilities=torch.from_numpy(probabilities),
            tail=torch.full((len(ids),), self.tau / 4),  # between nothing and tau
            temperature=temperature,
            tail_shape=state["tail"],
            drawn=torch.from_numpy(is_drawn),
        )
        if not self.temperatures:
            return rows
        own = np.zeros(ids.shape, dtype=np.float32)
        own[is_drawn] = math.log(self.tau) - _OWN_STEP * arrays["drawn_levels"]
        largest = [_largest_normaliser(each, head.size) / 65535 for each in self.temperatures]
        return replace(
            rows,
            own=torch.from_numpy(own),
            temperatures=tuple(each * temperature for each in self.temperatures),
            log_normalisers=torch.from_numpy(
                arrays["log_normalisers"] * np.array(largest, dtype=np.float32)
            ),
        )


def _part(name: str, named: Named, ranks: Ints, levels: Ints, rows: int) -> dict[str, NDArray[Any]]:
    """The classes of each row in order of rank, with their levels."""
    key = named.rows << 24
    key |= ranks.take(named.classes)
    key <<= 16
    key |= levels
    key.sort()
    counts = np.bincount(named.rows, minlength=rows)
    return {
        name: counts[:, None],
        f"{name}_levels": key & 0xFFFF,
        **split(steps(key >> 16 & 0xFFFFFF, counts), f"{name}_steps", len(ranks)),
    }


def _part_in_a_loop(
    loops: ModuleType,
    columns: dict[str, Column],
    name: str,
    named: Named,
    ranks: Ints,
    levels: Ints,
    rows: int,
) -> dict[str, NDArray[Any]]:
    counts = np.zeros((rows, 1), dtype=columns[name].dtype)
    of_levels = columns.get(f"{name}_levels")
    ordered = np.empty(len(levels), dtype=of_levels.dtype if of_levels else np.uint8)
    gaps = np.empty(len(levels), dtype=np.int32)
    loops.put_in_order(named.rows, named.classes, levels, ranks, counts, ordered, gaps)
    return {
        name: counts,
        f"{name}_levels": ordered,
        **split(gaps, f"{name}_steps", len(ranks)),
    }


Placed = tuple[NDArray[np.int32], NDArray[np.float32], NDArray[np.bool_]]
"""Ids, probabilities and whether each was drawn, `(rows, width)`: padded to the longest."""


def _place(
    arrays: Arrays, order: NDArray[np.int32], values: NDArray[np.float32], tau: float
) -> Placed:
    """The entries of each row, those kept before those drawn."""
    kept, drawn = (arrays[name][:, 0].astype(np.int64) for name in ("kept", "drawn"))
    both = kept + drawn
    width = int(both.max(initial=1))
    is_kept = below(kept, width)
    is_drawn = below(both, width) ^ is_kept
    kept_at, drawn_at = np.flatnonzero(is_kept), np.flatnonzero(is_drawn)
    ids = np.zeros(is_kept.shape, dtype=np.int32)
    for name, counts, at in (("kept", kept, kept_at), ("drawn", drawn, drawn_at)):
        ids.ravel()[at] = order.take(summed(join(arrays, f"{name}_steps", len(order)), counts))
    probabilities = np.multiply(is_drawn, tau, dtype=np.float32)
    probabilities.ravel()[kept_at] = values.take(arrays["kept_levels"])
    return ids, probabilities, is_drawn


def _place_in_a_loop(
    loops: ModuleType,
    arrays: Arrays,
    order: NDArray[np.int32],
    values: NDArray[np.float32],
    tau: float,
) -> Placed:
    kept, drawn = arrays["kept"], arrays["drawn"]
    shape = len(kept), int(np.add(kept, drawn, dtype=np.int64).max(initial=1))
    ids, probabilities = np.zeros(shape, dtype=np.int32), np.zeros(shape, dtype=np.float32)
    is_drawn = np.zeros(shape, dtype=np.bool_)
    kept_steps, drawn_steps = (
        join(arrays, f"{name}_steps", len(order)) for name in ("kept", "drawn")
    )
    loops.place(
        (kept, kept_steps, arrays["kept_levels"]),
        (drawn, drawn_steps),
        order,
        values,
        tau,
        ids,
        probabilities,
        is_drawn,
    )
    return ids, probabilities, is_drawn


_RANKS = WeakTensorKeyDictionary()


def _ranks(order: Tensor) -> Ints:
    """The place of each class in an order; kept, for every batch is encoded by the same one."""
    if order not in _RANKS:
        ranks = np.empty(len(order), dtype=np.int64)
        ranks[order.numpy()] = np.arange(len(order))
        _RANKS[order] = ranks
    found: Ints = _RANKS[order]
    return found


def _largest_normaliser(temperature: float, size: int) -> float:
    """What the logarithm of the sum of p^(1 / T) lies between, and 0: reached by even rows."""
    return (1 - 1 / temperature) * math.log(max(size, 2))
