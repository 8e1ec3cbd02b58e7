"""Whether what a codec learned, read from a file, is what it can have learned."""

from collections.abc import Mapping

import torch
from torch import Tensor

from limbeck.targets.codecs._codec import State

Wanted = tuple[torch.dtype, tuple[int, ...]]
"""Type and shape of a tensor."""


def misfit(state: State, wanted: Mapping[str, Wanted]) -> str | None:
    """What of a state is not of these names, types and shapes; None if all is."""
    if sorted(state) != sorted(wanted):
        return f"expected {_listed(wanted)}, got {_listed(state)}"
    for name, (dtype, shape) in wanted.items():
        got = state[name]
        if (got.dtype, tuple(got.shape)) != (dtype, shape):
            return f"{name}: expected {dtype} {shape}, got {got.dtype} {tuple(got.shape)}"
    return None


def disorder(order: Tensor, name: str) -> str | None:
    """That some row of `order`, `(..., classes)`, does not name every class once; else None."""
    every = torch.arange(order.shape[-1]).expand(order.shape)
    is_order = order.long().sort(dim=-1).values.equal(every)
    return None if is_order else f"{name} does not name every class once"


def not_log_weights(tail: Tensor) -> str | None:
    """That `tail` holds what is no logarithm of a probability; -inf is one."""
    return None if bool((tail <= 1e-4).all()) else "tail holds what are no log-probabilities"


def not_finite(state: State) -> str | None:
    """The first tensor that holds a number that is not finite; None if there is none."""
    found = (name for name, tensor in state.items() if not bool(tensor.isfinite().all()))
    return next((f"{name} holds a number that is not finite" for name in found), None)


def _listed(names: Mapping[str, object]) -> str:
    return ", ".join(sorted(names)) or "nothing"
