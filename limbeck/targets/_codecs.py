"""Codecs: rows to arrays that are stored, and back, each with a stated error."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from limbeck._errors import OptionError
from limbeck.signals import Dense, Head, Rows, Sparse

Arrays = Mapping[str, NDArray[Any]]
"""The parts of some rows by name, each `(..., width)`."""


@dataclass(frozen=True)
class Column:
    """One stored part of a row."""

    dtype: np.dtype[Any]
    """Type of its numbers."""
    width: int
    """How many of them one row has."""


class Codec(Protocol):
    """Turns rows into arrays and back; each row by itself, whatever its neighbours."""

    @property
    def name(self) -> str:
        """Its key in `CODECS`."""

    @property
    def options(self) -> dict[str, Any]:
        """What it was made with."""

    @property
    def biased(self) -> bool:
        """True if what it drops moves the expected gradient."""

    def columns(self, head: Head) -> dict[str, Column]:
        """The parts that a row of this head is stored in; `OptionError` if it cannot be."""

    def encode(self, values: Tensor, head: Head) -> dict[str, NDArray[Any]]:
        """The parts, each `(..., width)`, of rows `(..., size)` in float32."""

    def fault(self, arrays: Arrays, head: Head) -> str | None:
        """What these parts, read from a file, hold that `encode` never gives; None if nothing."""

    def decode(self, arrays: Arrays, temperature: float) -> Rows:
        """The rows of these parts, `(..., width)`, in the same memory where that can be."""


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

    @property
    def options(self) -> dict[str, Any]:
        """None."""
        return {}

    def columns(self, head: Head) -> dict[str, Column]:
        """`values`, one for each entry."""
        return {"values": Column(self.dtype, head.size)}

    def encode(self, values: Tensor, head: Head) -> dict[str, NDArray[Any]]:
        """Round to the nearest; numbers that are too large are refused."""
        exact = values.cpu().numpy()
        largest = float(np.finfo(self.dtype).max)
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

    def decode(self, arrays: Arrays, temperature: float) -> Dense:
        """`Dense` rows in the stored precision."""
        return Dense(values=torch.from_numpy(arrays["values"]), temperature=temperature)


@dataclass(frozen=True, kw_only=True)
class TopK:
    """The k most probable classes of a row, and the mass of all others.

    Probabilities are rounded down to float16, error at most 2^-10 of each, and what that loses is
    in the tail: a row sums to 1. It says nothing of how the tail is spread, so it is biased.
    """

    k: int
    """How many are kept: 1 (the label, nearly) up to the number of classes (everything)."""
    name: str = field(default="topk", init=False)
    biased: bool = field(default=True, init=False)

    def __post_init__(self) -> None:
        if type(self.k) is not int or self.k < 1:
            raise OptionError(f"k of codec topk must be a whole number from 1, got {self.k!r}.")

    @property
    def options(self) -> dict[str, Any]:
        """`k`."""
        return {"k": self.k}

    def columns(self, head: Head) -> dict[str, Column]:
        """`ids` in the smallest unsigned type, `probabilities`, `tail`."""
        if head.space != "categorical":
            raise OptionError(
                f"codec topk is for categorical heads, got head {head.name}, which is "
                f"{head.space}. Use codec dense16."
            )
        if self.k > head.size:
            raise OptionError(
                f"k of codec topk must be at most the {head.size} classes of head {head.name}, "
                f"got {self.k}. Use a smaller k, or codec dense16."
            )
        return {
            "ids": Column(np.min_scalar_type(head.size - 1), self.k),
            "probabilities": Column(np.dtype(np.float16), self.k),
            "tail": Column(np.dtype(np.float32), 1),
        }

    def encode(self, values: Tensor, head: Head) -> dict[str, NDArray[Any]]:
        """The largest log-probabilities of each row, in falling order."""
        kept, ids = values.topk(self.k, dim=-1)  # (..., k)
        probabilities = _rounded_down(kept.exp().cpu().numpy())
        stored = probabilities.astype(np.float64).sum(axis=-1, keepdims=True)  # (..., 1)
        return {
            "ids": ids.cpu().numpy().astype(np.min_scalar_type(head.size - 1)),
            "probabilities": probabilities,
            "tail": np.maximum(1.0 - stored, 0.0).astype(np.float32),
        }

    def fault(self, arrays: Arrays, head: Head) -> str | None:
        """Classes that the head does not have, and probabilities that do not sum to 1."""
        if int(arrays["ids"].max()) >= head.size:
            return f"class {int(arrays['ids'].max())} of a head of {head.size} classes"
        probabilities, tail = arrays["probabilities"], arrays["tail"]
        total = probabilities.sum(axis=-1, dtype=np.float64) + tail[..., 0]
        fits = (probabilities >= 0).all() and (tail >= 0).all() and (abs(total - 1) < 1e-5).all()
        return None if fits else "probabilities that do not sum to 1"

    def decode(self, arrays: Arrays, temperature: float) -> Sparse:
        """`Sparse` rows in the stored precision."""
        return Sparse(
            ids=torch.from_numpy(arrays["ids"]),
            probabilities=torch.from_numpy(arrays["probabilities"]),
            tail=torch.from_numpy(arrays["tail"])[..., 0],
            temperature=temperature,
        )


def _rounded_down(exact: NDArray[np.float32]) -> NDArray[np.float16]:
    """Float16 at or below each number; rounding up could make a row sum to more than 1."""
    nearest = exact.astype(np.float16)
    return np.where(nearest > exact, np.nextafter(nearest, np.float16(0)), nearest)


def dense16() -> DenseCodec:
    """Float16: relative error at most 2^-11, absolute 2^-25 below 2^-14."""
    return DenseCodec("dense16", np.dtype(np.float16), relative=2**-11, absolute=2**-25)


def dense32() -> DenseCodec:
    """Float32: no error."""
    return DenseCodec("dense32", np.dtype(np.float32), relative=0.0, absolute=0.0)


CODECS: dict[str, Callable[..., Codec]] = {"dense16": dense16, "dense32": dense32, "topk": TopK}
"""Every codec by name; called with its options."""


def make_codec(name: str, options: Mapping[str, Any]) -> Codec:
    """The codec of this name, made with these options.

    Raises:
        OptionError: The name or an option is unknown, missing or out of range.
    """
    if name not in CODECS:
        raise OptionError(f'codec must be one of {", ".join(CODECS)}, got "{name}".')
    known = sorted(inspect.signature(CODECS[name]).parameters)
    if sorted(options) != known:
        raise OptionError(
            f"codec {name} takes the options: {', '.join(known) or 'none'}; got "
            f"{', '.join(sorted(options)) or 'none'}. Correct codec_options."
        )
    return CODECS[name](**options)
