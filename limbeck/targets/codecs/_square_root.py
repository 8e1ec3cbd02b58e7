"""Probabilities on a uniform grid of their square roots: for few classes.

A distribution moved by d in its square roots moves by about 2 |d|^2 in KL divergence, wherever it
is (Fisher-Rao; Cencov, 1982): a uniform grid of square roots spends the error evenly. A binary
class is a distribution of two, (p, 1 - p), whose square roots lie on a circle: its grid is one of
the angle.

Each level takes a whole byte, however few there are: the blocks of a transfer set are compressed,
and levels that lie across bytes compress worse.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from limbeck._errors import OptionError
from limbeck.signals import Dense, Head
from limbeck.targets.codecs._codec import Arrays, Column, Seeds, State, Values
from limbeck.targets.codecs._learned import misfit
from limbeck.targets.codecs._pieces import tensor_of


@dataclass(frozen=True)
class SquareRoot:
    """Each probability as the nearest of Q + 1 levels of its square root.

    Error: about classes / (6 Q^2) nats of KL divergence a row where all classes are probable; less
    where most are not. A class of level 0 is given the mean of what is rounded to it, 1 / (12 Q^2),
    so that no probability becomes 0; rows are then divided by their sum. One that is 0 in the row
    itself, of a class that cannot be, stays so. A binary class errs by at most pi / (4 Q) in its
    angle arcsin(sqrt(p)).
    """

    levels: int = 31
    """Q: the largest level, 3 up to 65534 (nearly exact). There may be Q^2 classes."""
    name: str = field(default="sqrt", kw_only=True)
    biased: bool = field(default=False, init=False)
    takes_logits: bool = field(default=True, init=False)

    def __post_init__(self) -> None:
        if type(self.levels) is not int or not 3 <= self.levels <= 65534:
            raise OptionError(
                f"levels of codec sqrt must be a whole number from 3 to 65534, got {self.levels!r}."
            )

    @property
    def options(self) -> dict[str, Any]:
        """`levels`; none where the name says them."""
        return {"levels": self.levels} if self.name == "sqrt" else {}

    def columns(self, head: Head) -> dict[str, Column]:
        """`levels`, one for each class."""
        if head.space not in ("categorical", "binary"):
            raise OptionError(
                f"codec {self.name} is for probabilities, got head {head.name}, which is "
                f"{head.space}. Use codec real16."
            )
        if head.space == "categorical" and head.size > self.levels**2:
            raise OptionError(
                f"codec {self.name} is for at most {self.levels**2} classes, got the {head.size} "
                f"of head {head.name}: most would share the lowest level. Use more levels, or "
                "selected or threshold."
            )
        return {"levels": Column(self._dtype, head.size)}

    @property
    def _impossible(self) -> int:
        """What stands for a probability of 0."""
        return self.levels + 1

    @property
    def _dtype(self) -> np.dtype[Any]:
        return np.min_scalar_type(self._impossible)

    def fit(self, pieces: Iterable[Values], head: Head) -> State:
        """Nothing."""
        return {}

    def state_fault(self, state: State, head: Head) -> str | None:
        """Anything: it learns nothing."""
        return misfit(state, {})

    def encode(self, values: Values, head: Head, state: State, seeds: Seeds) -> Arrays:
        """Round each square root, or angle, to the nearest level."""
        values = tensor_of(values)
        if head.space == "binary":
            roots = torch.asin((values.double().sigmoid()).sqrt()) / (math.pi / 2)
        else:
            roots = values.softmax(-1, dtype=torch.float64).sqrt_()
        levels = roots.mul_(self.levels).round_()
        if head.space == "categorical":
            levels.masked_fill_(values == -torch.inf, self._impossible)
        return {"levels": levels.cpu().numpy().astype(self._dtype)}

    def fault(self, arrays: Arrays, head: Head) -> str | None:
        """Levels beyond Q, and rows of which no class is probable."""
        levels = arrays["levels"]
        largest = self._impossible if head.space == "categorical" else self.levels
        if levels.max(initial=0) > largest:
            return f"level {levels.max()}, of {self.levels}"
        probable = (levels > 0) & (levels <= self.levels)
        if head.space == "categorical" and not probable.any(axis=-1).all():
            return "a row without a probable class"
        return None

    def decode(self, arrays: Arrays, head: Head, state: State, temperature: float) -> Dense:
        """`Dense` rows in float32."""
        of_level = self._log_odds if head.space == "binary" else self._weights
        # `fault` finds levels beyond the last; here they only must not be read past the end.
        values = torch.from_numpy(of_level.take(arrays["levels"], mode="clip"))
        if head.space == "categorical":
            values = values.log().sub_(values.sum(dim=-1, keepdim=True).log_())
        return Dense(values=values, temperature=temperature)

    @cached_property
    def _weights(self) -> NDArray[np.float32]:
        """What a class's probability is in proportion to, of every level.

        Rows of them have a sum near 1, whose logarithm then loses no places.
        """
        weights = torch.arange(self.levels + 2).float().mul_(1 / self.levels).square_()
        weights.clamp_min_(1 / (12 * self.levels**2))
        weights[self._impossible] = 0.0
        found: NDArray[np.float32] = weights.numpy()
        return found

    @cached_property
    def _log_odds(self) -> NDArray[np.float32]:
        """Of every level."""
        # The ends are certainties, of which the log-odds are infinite: their cells' middles.
        levels = torch.arange(self.levels + 1).double().clamp(0.25, self.levels - 0.25)
        angles = levels / self.levels * (math.pi / 2)
        found: NDArray[np.float32] = (2 * (angles.sin().log() - angles.cos().log())).float().numpy()
        return found


def sqrt_of(bits: int) -> SquareRoot:
    """As many levels as these bits count, by a name of its own: Q = 31 for `sqrt5`.

    All whole bytes count one less, Q = 254 for `sqrt8`: one number stands for a probability of 0.
    """
    return SquareRoot((1 << bits) - (2 if bits % 8 == 0 else 1), name=f"sqrt{bits}")
