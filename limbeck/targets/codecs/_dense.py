"""Every number of a row in floating point."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from limbeck._errors import OptionError
from limbeck.signals import Dense, Head, Space
from limbeck.targets.codecs._codec import Arrays, Column, Seeds, State, Values
from limbeck.targets.codecs._learned import misfit
from limbeck.targets.codecs._pieces import tensor_of


@dataclass(frozen=True)
class DenseCodec:
    """Every entry of a row as a floating-point number.

    Error of each number x: at most `relative` |x|, or `absolute` where that is more.
    """

    name: str
    dtype: np.dtype[Any]
    relative: float
    absolute: float
    biased: bool = False
    spaces: tuple[Space, ...] = ("categorical", "binary", "real")
    """Of the heads that it is for."""
    takes_logits: bool = False

    @property
    def options(self) -> dict[str, Any]:
        """None."""
        return {}

    def columns(self, head: Head) -> dict[str, Column]:
        """`values`, one for each entry."""
        if head.space not in self.spaces:
            raise OptionError(
                f"codec {self.name} is for numbers, got head {head.name}, which is {head.space}. "
                "Use codec dense16."
            )
        return {"values": Column(self.dtype, head.size)}

    def fit(self, pieces: Iterable[Values], head: Head) -> State:
        """Nothing."""
        return {}

    def state_fault(self, state: State, head: Head) -> str | None:
        """Anything: it learns nothing."""
        return misfit(state, {})

    def encode(self, values: Values, head: Head, state: State, seeds: Seeds) -> Arrays:
        """Round to the nearest; numbers that are too large are refused."""
        values = tensor_of(values)
        largest = float(np.finfo(self.dtype).max)
        # A class without mass has a log-probability of -inf: the lowest number means the same.
        exact = values.masked_fill(values == -torch.inf, -largest).cpu().numpy()
        if exact.size and float(np.abs(exact).max()) > largest:
            raise OptionError(
                f"codec {self.name} holds numbers up to {largest:g}, got "
                f"{float(np.abs(exact).max()):g} for head {head.name}. Use codec dense32, or "
                "scale the numbers."
            )
        return {"values": exact.astype(self.dtype)}

    def fault(self, arrays: Arrays, head: Head) -> str | None:
        """Numbers that are not finite."""
        return None if np.isfinite(arrays["values"]).all() else "a number that is not finite"

    def decode(self, arrays: Arrays, head: Head, state: State, temperature: float) -> Dense:
        """`Dense` rows in the stored precision."""
        return Dense(values=torch.from_numpy(arrays["values"]), temperature=temperature)


def dense16() -> DenseCodec:
    """Float16: relative error at most 2^-11, absolute 2^-25 below 2^-14."""
    return DenseCodec("dense16", np.dtype(np.float16), relative=2**-11, absolute=2**-25)


def real16() -> DenseCodec:
    """`dense16` for numbers and embeddings, which have no probabilities to save on."""
    return replace(dense16(), name="real16", spaces=("real",))


def dense32() -> DenseCodec:
    """Float32: no error."""
    return DenseCodec("dense32", np.dtype(np.float32), relative=0.0, absolute=0.0)
