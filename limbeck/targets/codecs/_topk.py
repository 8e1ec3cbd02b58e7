"""The k most probable classes of a row, for endpoints that give no more."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from limbeck._errors import OptionError
from limbeck.signals import Head, Sparse
from limbeck.targets.codecs._codec import Arrays, Column, Seeds, State, Values
from limbeck.targets.codecs._learned import misfit
from limbeck.targets.codecs._pieces import tensor_of


@dataclass(frozen=True, kw_only=True)
class TopK:
    """The k most probable classes of a row, and the mass of all others.

    Probabilities are rounded down to float16, error at most 2^-10 of each, or 2^-24 where that is
    more, and what that loses is in the tail: a row sums to 1. It says nothing of how the tail is
    spread, so it is biased.
    """

    k: int
    """How many are kept: 1 (the label, nearly) up to the number of classes (everything)."""
    name: str = field(default="topk", init=False)
    biased: bool = field(default=True, init=False)
    takes_logits: bool = field(default=False, init=False)

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

    def fit(self, pieces: Iterable[Values], head: Head) -> State:
        """Nothing."""
        return {}

    def state_fault(self, state: State, head: Head) -> str | None:
        """Anything: it learns nothing."""
        return misfit(state, {})

    def encode(self, values: Values, head: Head, state: State, seeds: Seeds) -> Arrays:
        """The largest log-probabilities of each row, in falling order."""
        values = tensor_of(values)
        kept, ids = values.topk(self.k, dim=-1)  # (..., k)
        return topk_parts(ids.cpu().numpy(), kept.exp().cpu().numpy(), head)

    def fault(self, arrays: Arrays, head: Head) -> str | None:
        """Classes that the head does not have or a row names twice, and sums that are not 1."""
        largest = int(arrays["ids"].max(initial=0))
        if largest >= head.size:
            return f"class {largest} of a head of {head.size} classes"
        none = head.size + np.arange(self.k)  # a class of probability 0 is not named
        named = np.sort(np.where(arrays["probabilities"] > 0, arrays["ids"], none), axis=-1)
        if (named[:, 1:] == named[:, :-1]).any():
            return "a class that one row names twice"
        probabilities, tail = arrays["probabilities"], arrays["tail"]
        total = probabilities.sum(axis=-1, dtype=np.float64) + tail[..., 0]
        fits = (probabilities >= 0).all() and (tail >= 0).all() and (abs(total - 1) < 1e-5).all()
        return None if fits else "probabilities that do not sum to 1"

    def decode(self, arrays: Arrays, head: Head, state: State, temperature: float) -> Sparse:
        """`Sparse` rows in the stored precision."""
        if (largest := int(arrays["ids"].max(initial=0))) >= head.size:
            raise IndexError(f"class {largest} of a head of {head.size} classes")
        return Sparse(
            ids=torch.from_numpy(arrays["ids"]),
            probabilities=torch.from_numpy(arrays["probabilities"]),
            tail=torch.from_numpy(arrays["tail"])[..., 0],
            temperature=temperature,
        )


def topk_parts(ids: NDArray[np.int64], probabilities: NDArray[Any], head: Head) -> Arrays:
    """The parts of rows of which these classes are kept.

    Args:
        ids: `(rows, k)`.
        probabilities: Of each, `(rows, k)`, at most 1 in sum.
        head: Whose they are.
    """
    nearest = probabilities.astype(np.float16)
    # Rounded up, a row could sum to more than 1.
    below = np.where(nearest > probabilities, np.nextafter(nearest, np.float16(0)), nearest)
    stored = below.astype(np.float64).sum(axis=-1, keepdims=True)  # (rows, 1)
    return {
        "ids": ids.astype(np.min_scalar_type(head.size - 1)),
        "probabilities": below,
        "tail": np.maximum(1.0 - stored, 0.0).astype(np.float32),
    }
