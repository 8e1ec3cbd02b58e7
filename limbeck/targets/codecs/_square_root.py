"""Probabilities on a uniform grid of their square roots, bit-packed: for few classes.

A distribution moved by d in its square roots moves by about 2 |d|^2 in KL divergence, wherever it
is (Fisher-Rao; Cencov, 1982): a uniform grid of square roots spends the error evenly. A binary
class is a distribution of two, (p, 1 - p), whose square roots lie on a circle: its grid is one of
the angle.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from limbeck._errors import OptionError
from limbeck.signals import Dense, Head
from limbeck.targets.codecs._bits import pack, packed_width, unpack
from limbeck.targets.codecs._codec import Arrays, Column, Seeds, State


@dataclass(frozen=True)
class SquareRoot:
    """Each probability as the nearest of 2^bits levels of its square root.

    Error: about classes / (6 Q^2) nats of KL divergence a row, Q = 2^bits - 1, where all classes
    are probable; less where most are not. A class of level 0 is given the mean of what is rounded
    to it, 1 / (12 Q^2), so that no probability becomes 0; rows are then divided by their sum. A
    binary class errs by at most pi / (4 Q) in its angle arcsin(sqrt(p)).
    """

    bits: int
    """Bits of a level: 2 (three levels and 0) up to 16 (nearly exact). There may be Q^2 classes."""
    biased: bool = field(default=False, init=False)

    def __post_init__(self) -> None:
        if type(self.bits) is not int or not 2 <= self.bits <= 16:
            raise OptionError(f"codec sqrt takes 2 to 16 bits, got {self.bits!r}.")

    @property
    def name(self) -> str:
        """`sqrt` and the bits."""
        return f"sqrt{self.bits}"

    @property
    def options(self) -> dict[str, Any]:
        """None: the name says it."""
        return {}

    @property
    def levels(self) -> int:
        """Q: the largest level."""
        return (1 << self.bits) - 1

    def columns(self, head: Head) -> dict[str, Column]:
        """`levels`, packed."""
        if head.space not in ("categorical", "binary"):
            raise OptionError(
                f"codec {self.name} is for probabilities, got head {head.name}, which is "
                f"{head.space}. Use codec dense16."
            )
        if head.space == "categorical" and head.size > self.levels**2:
            raise OptionError(
                f"codec {self.name} is for at most {self.levels**2} classes, got the {head.size} "
                f"of head {head.name}: most would share the lowest level. Use more bits, or topk."
            )
        return {"levels": Column(np.dtype(np.uint8), packed_width(head.size, self.bits))}

    def fit(self, pieces: Iterable[Tensor], head: Head) -> State:
        """Nothing."""
        return {}

    def encode(self, values: Tensor, head: Head, state: State, seeds: Seeds) -> Arrays:
        """Round each square root, or angle, to the nearest level."""
        if head.space == "binary":
            roots = torch.asin((values.double().sigmoid()).sqrt()) / (math.pi / 2)
        else:
            roots = (values.double().log_softmax(-1) / 2).exp()
        levels = (roots * self.levels).round()
        return {"levels": pack(levels, self.bits).cpu().numpy()}

    def fault(self, arrays: Arrays, head: Head) -> str | None:
        """Rows of which no class is probable, which no distribution rounds to."""
        if head.space == "binary":
            return None
        levels = unpack(torch.from_numpy(arrays["levels"]), self.bits, head.size)
        return None if bool((levels > 0).any(-1).all()) else "a row without a probable class"

    def decode(self, arrays: Arrays, head: Head, state: State, temperature: float) -> Dense:
        """`Dense` rows in float32."""
        levels = unpack(torch.from_numpy(arrays["levels"]), self.bits, head.size).double()
        if head.space == "binary":
            # The ends are certainties, of which the log-odds are infinite: their cells' middles.
            angles = levels.clamp(0.25, self.levels - 0.25) / self.levels * (math.pi / 2)
            values = 2 * (angles.sin().log() - angles.cos().log())
        else:
            weights = torch.where(levels == 0, 1 / 12, levels.square())
            values = weights.log() - weights.sum(-1, keepdim=True).log()
        return Dense(values=values.float(), temperature=temperature)
