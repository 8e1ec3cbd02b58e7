"""Transform coding: rows as steps along the few directions in which they differ most.

For features and numbers, and for categorical heads whose rows are broad, where no few classes hold
the mass: a teacher that ends in a linear layer says nothing outside as many directions as that
layer has inputs. Log-probabilities are compared in the metric of their mean Fisher matrix F, in
which KL(p || t) is about |e|^2 / 2 for a small error e; of many classes in that of the mean
probabilities alone, which is F but for what the classes of one row have in common. All coefficients
take one step: that is reverse water-filling (Cover and Thomas, 2006, theorem 10.3.3), for those
that vary by less than it are 0, and take no bits once compressed.
"""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary

from limbeck._errors import ModelError, OptionError
from limbeck.signals import Dense, Head
from limbeck.targets.codecs._codec import Arrays, Column, Seeds, State, Values
from limbeck.targets.codecs._learned import Wanted, misfit, not_finite
from limbeck.targets.codecs._pieces import joined, smaller, spans, tensor_of
from limbeck.targets.codecs._principal_basis import Moments, Sample, basis
from limbeck.targets.codecs._principal_search import cheapest_steps

_MOST_NUMBERS = 1 << 16
"""A row is read dense, and each direction is as long."""
_MANY = 2048
"""Beyond, directions are found among as many rows, not numbers: that takes the cube of them, once.
"""
_LEAST = -20.0
"""A log-probability below is taken as this one: what is impossible would outweigh all else."""
_TOGETHER = 8
"""Coefficients of one part: alike enough for one code, and few enough parts."""
_DOUBLED = 1 << 18
"""Numbers of all directions that are made float64 at a time: few enough for a cache."""


@dataclass(frozen=True, kw_only=True)
class Principal:
    """Coefficients along the principal directions, rounded to one step.

    Error, categorical: about step^2 / 24 nats of KL divergence for each coefficient that is not
    always 0, and half the variance of each that is; classes below e^-20 are read as about that.
    Classes of no probability in any row, such as those a vocabulary is padded with, have none.
    Real: step / sqrt(12) of the root mean square deviation of a number, in each direction, and
    what lies in the directions left out. Coefficients are clipped at 32767 steps.
    """

    components: int = 128
    """Directions that are kept: 1 up to the size of the head (all)."""
    step: float = 0.07
    """Above 0 (exact); categorical in root nats, real in root mean square deviations."""
    cost: float = 0.0
    """Nats of KL divergence that a bit must save. 0 rounds each coefficient to the nearest step;
    above, categorical rows are searched for steps that cost less together: about half the
    divergence at the same bytes (1.5e-4 at the default step), for milliseconds a row."""
    name: str = field(default="principal", init=False)
    biased: bool = field(default=True, init=False)
    takes_logits: bool = field(default=False, init=False)

    def __post_init__(self) -> None:
        if type(self.components) is not int or self.components < 1:
            raise OptionError(
                f"components of codec principal must be a whole number from 1, got "
                f"{self.components!r}."
            )
        if type(self.step) not in (float, int) or not 0 < self.step < math.inf:
            raise OptionError(f"step of codec principal must be above 0, got {self.step!r}.")
        if type(self.cost) not in (float, int) or not 0 <= self.cost < math.inf:
            raise OptionError(f"cost of codec principal must be 0 or more, got {self.cost!r}.")

    @property
    def options(self) -> dict[str, Any]:
        """`components`, `step` and `cost`."""
        return {"components": self.components, "step": self.step, "cost": self.cost}

    def columns(self, head: Head) -> dict[str, Column]:
        """Low bytes of a few coefficients each, and the high bytes, mostly 0, of all."""
        if head.space == "binary":
            raise OptionError(
                f"codec principal is for categorical heads and numbers, got head {head.name}, "
                "which is binary. Use codec sqrt8."
            )
        if head.size > _MOST_NUMBERS:
            raise OptionError(
                f"codec principal is for at most {_MOST_NUMBERS} numbers, got the {head.size} of "
                f"head {head.name}. Use codec {_INSTEAD[head.space]}."
            )
        count = self._count(head)
        byte = np.dtype(np.uint8)
        low = {name: Column(byte, span.stop - span.start) for name, span in _groups(count)}
        return {**low, "high": Column(byte, count)}

    def _count(self, head: Head) -> int:
        return min(self.components, head.size)

    def fit(self, pieces: Iterable[Values], head: Head) -> State:
        """`mean`, `basis` (the directions), `analysis` (what finds them), `spread` along each.

        Of many numbers `directions` and `scale` instead of the two in the middle. The mean of a
        class of no probability in any row is -inf.
        """
        if head.size > _MANY:
            return self._fit_many(pieces, head)
        moments, none = Moments(head.size), torch.zeros(head.size, dtype=torch.bool)
        for rows, none in _learned_from(pieces, head):
            p = rows.exp().masked_fill(none, 0.0) if head.space == "categorical" else None
            moments.add(rows, p)
        analysis, synthesis, spread = basis(moments, self._count(head))
        none = none.cpu()
        return {
            "mean": moments.mean.float().masked_fill(none, -torch.inf),
            "basis": synthesis.float().masked_fill(none, 0.0),  # which but for rounding it is
            "analysis": analysis.float().masked_fill(none[:, None], 0.0),
            "spread": spread.float(),
        }

    def _fit_many(self, pieces: Iterable[Values], head: Head) -> State:
        """`mean`, `directions` and `scale` by which they are found, `spread` along each."""
        sample, none = Sample(head.size, _MANY), torch.zeros(head.size, dtype=torch.bool)
        for rows, without in _learned_from(pieces, head):
            sample.add(rows)
            none = without
        mean, directions, scale, spread = sample.basis(
            self._count(head), probabilities=head.space == "categorical"
        )
        return {
            "mean": mean.masked_fill(none.cpu(), -torch.inf),
            "directions": directions.half(),  # of length 1: half as many bytes lose nothing
            "scale": scale,
            "spread": spread,
        }

    def state_fault(self, state: State, head: Head) -> str | None:
        """Directions that are none."""
        size, count = head.size, self._count(head)
        exact, half = torch.float32, torch.float16
        wanted: dict[str, Wanted] = {"mean": (exact, (size,)), "spread": (exact, (count,))}
        if size > _MANY:
            wanted |= {"directions": (half, (count, size)), "scale": (exact, (size,))}
        else:
            wanted |= {"basis": (exact, (count, size)), "analysis": (exact, (size, count))}
        if fault := misfit(state, wanted):
            return fault
        none = _impossible(state["mean"], head)
        if bool(none.all()):
            return "mean leaves no class"
        fault = not_finite({**state, "mean": state["mean"].masked_fill(none, 0.0)})
        if fault is None and size > _MANY and not bool((state["scale"] > 0).all()):
            return "scale holds a number that is not above 0"
        return fault

    def encode(self, values: Values, head: Head, state: State, seeds: Seeds) -> Arrays:
        """Round each coefficient to the nearest step."""
        values = tensor_of(values)
        learned = {name: part.to(values.device) for name, part in state.items()}
        if "directions" in learned and values.device.type == "cpu":
            learned["directions"] = _wide(state["directions"])
        none = _impossible(learned["mean"], head)
        learned["mean"] = _clear(learned["mean"], head, none)
        parts = []
        for span in spans(values):
            steps = self._steps(_clear(values[span], head, none), head, learned)
            whole = steps.clamp(-32767, 32767).cpu().numpy().astype(np.int32)
            folded = np.where(whole < 0, -2 * whole - 1, 2 * whole)  # 0, -1, 1, -2, 2, ...
            low = {name: folded[:, group] & 0xFF for name, group in _groups(folded.shape[1])}
            parts.append({**low, "high": folded >> 8})
        return joined(parts, self.columns(head))

    def _steps(self, rows: Tensor, head: Head, learned: State) -> Tensor:
        exact = _coefficients(rows, learned)
        if self.cost == 0 or head.space != "categorical":
            return (exact / self.step).round()
        return cheapest_steps(
            exact,
            rows.double().exp(),
            _basis(learned),
            learned["spread"].double(),
            step=self.step,
            cost=self.cost,
        )

    def fault(self, arrays: Arrays, head: Head) -> str | None:
        """None: all bytes are coefficients."""
        return None

    def decode(self, arrays: Arrays, head: Head, state: State, temperature: float) -> Dense:
        """`Dense` rows in float32."""
        groups = _groups(arrays["high"].shape[1])
        folded = np.concatenate([arrays[name] for name, _ in groups], axis=1).astype(np.int32)
        folded |= arrays["high"].astype(np.int32) << 8
        whole = (folded >> 1) ^ -(folded & 1)
        steps = torch.from_numpy(whole.astype(np.float32)) * self.step
        if "directions" in state:
            values = (steps @ _wide(state["directions"])).div_(state["scale"]).add_(state["mean"])
        else:
            values = torch.addmm(state["mean"], steps, state["basis"])
        if head.space == "categorical":
            values = values.log_softmax(dim=-1)
        return Dense(values=values, temperature=temperature)


_INSTEAD = {"categorical": "threshold", "real": "real8"}


def _coefficients(rows: Tensor, learned: State) -> Tensor:
    """Of rows, `(rows, count)`, in float64, in which each has the same ones in any company."""
    mean, count = learned["mean"], len(learned["spread"])
    exact = rows.new_zeros(len(rows), count, dtype=torch.float64)
    together = max(1, _DOUBLED // count)
    for start in range(0, rows.shape[-1], together):
        part = slice(start, start + together)
        centred = rows[:, part].double() - mean[part]
        if "directions" in learned:
            centred *= learned["scale"][part]
            exact.addmm_(centred, learned["directions"][:, part].double().T)
        else:
            exact.addmm_(centred, learned["analysis"][part].double())
    return exact


def _basis(learned: State) -> Tensor:
    """What a coefficient of 1 adds to each number, `(count, size)`, float64."""
    if "directions" in learned:
        return learned["directions"].double().div_(learned["scale"])
    return learned["basis"].double()


_WIDE = WeakTensorKeyDictionary()


def _wide(directions: Tensor) -> Tensor:
    """Directions in float32; kept, for every batch is encoded and decoded by the same ones."""
    if directions not in _WIDE:
        _WIDE[directions] = directions.float()
    found: Tensor = _WIDE[directions]
    return found


def _groups(count: int) -> list[tuple[str, slice]]:
    """Which coefficients each part holds the low bytes of."""
    starts = range(0, count, _TOGETHER)
    return [(f"low_{start}", slice(start, min(start + _TOGETHER, count))) for start in starts]


def _learned_from(pieces: Iterable[Values], head: Head) -> Iterator[tuple[Tensor, Tensor]]:
    """Rows a few at a time, and which of their classes have no probability in any."""
    none: Tensor | None = None
    for piece in smaller(pieces):
        if len(piece):
            none = _impossible(piece[0], head) if none is None else none
            yield _clear(piece, head, none), none


def _impossible(values: Tensor, head: Head) -> Tensor:
    """Which classes have no probability; of numbers none."""
    return (values == -torch.inf) & (head.space == "categorical")


def _clear(values: Tensor, head: Head, none: Tensor) -> Tensor:
    """Numbers `(..., size)` that can be multiplied: of classes `none` they never differ."""
    if head.space != "categorical":
        return values.float()
    odd = _impossible(values, head) != none
    if bool(odd.any()):
        which = int(odd.nonzero()[0, -1])
        raise ModelError(
            f"codec principal has steps of log-probabilities, and the teacher gives class {which} "
            f"of head {head.name} the probability 0 in some rows and not in others. Use codec "
            "sqrt8, selected or threshold."
        )
    return values.clamp_min(_LEAST)
