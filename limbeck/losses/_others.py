"""A student's logits beside `Sparse` rows: the classes a row names, and all others summed up.

What a loss from sparse rows needs of the classes that are not named is the logarithm of their mass
and, where the tail has a shape, one weighted sum. Both are taken a block of rows at a time, and the
backward pass fills one buffer: of the logits' size, nothing is held but their gradient.
"""

import math
from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from limbeck.losses._soft_targets import at_least_float32

BLOCK = {"cpu": 2**20}
"""Numbers in a block, by kind of device: few enough to stay in a processor's cache."""

LARGE_BLOCK = 2**25
"""On every other device, where each call costs more than reading memory again."""


def named_and_others(
    student_logits: Tensor, ids: Tensor, weights: Tensor | None, *, temperature: float
) -> tuple[Tensor, Tensor]:
    r"""Logits of the named classes and of all others as one, and a weighted sum over these others.

    Both can be differentiated once.

    Args:
        student_logits: $s$, `(..., classes)`.
        ids: The named classes, `(..., kept)`; `classes`, one after the last, is padding.
        weights: $w$, `(classes,)`; None for no sum, which is 0 then.
        temperature: $T > 0$.

    Returns:
        `(..., kept + 1)`: $s_i / T$ of the named classes, $-\infty$ for padding, and last
        $\log \sum_j \exp(s_j / T)$ of the others; and `(...)`: $\sum_j w_j s_j / T$ of the others.
    """
    *leading, classes = student_logits.shape
    count, kept = math.prod(leading), ids.shape[-1]
    coarse, weighted = _NamedAndOthers.apply(  # type: ignore[no-untyped-call]
        student_logits.reshape(count, classes), ids.reshape(count, kept), weights, temperature
    )
    return coarse.reshape(*leading, kept + 1), weighted.reshape(leading)


class _NamedAndOthers(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, logits: Tensor, ids: Tensor, weights: Tensor | None, temperature: float
    ) -> tuple[Tensor, Tensor]:
        dtype = at_least_float32(logits[:0]).dtype
        coarse = logits.new_empty(len(ids), ids.shape[-1] + 1, dtype=dtype)
        weighted = logits.new_zeros(len(ids), dtype=dtype)
        if weights is not None:
            weights = F.pad(weights.to(dtype), (0, 1))  # (classes + 1,)
        with torch.autocast(logits.device.type, enabled=False):
            for part in blocks(logits):
                block = _at_temperature(logits[part], temperature, dtype)
                coarse[part, :-1] = block.gather(-1, ids[part])
                coarse[part, -1] = block.scatter_(-1, ids[part], -torch.inf).logsumexp(dim=-1)
                if weights is not None:
                    # 0 times minus infinity is no number.
                    block.scatter_(-1, ids[part], 0.0).masked_fill_(weights == 0, 0.0)
                    weighted[part] = block @ weights
        ctx.save_for_backward(logits, ids, weights, coarse[:, -1])
        ctx.temperature = temperature
        return coarse, weighted

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, of_coarse: Tensor, of_weighted: Tensor) -> tuple[Tensor | None, ...]:
        logits, ids, weights, others = ctx.saved_tensors
        of_coarse, of_weighted = of_coarse / ctx.temperature, of_weighted / ctx.temperature
        gradient = torch.empty_like(logits)
        for part in blocks(logits):
            block = _at_temperature(logits[part], ctx.temperature, of_coarse.dtype)
            block.scatter_(-1, ids[part], -torch.inf)
            # Where the others have no mass at all, the spare column takes it.
            block[:, -1].masked_fill_(others[part] == -torch.inf, 0.0)
            block = torch.softmax(block, dim=-1).mul_(of_coarse[part, -1:])
            if weights is not None:
                block.addr_(of_weighted[part], weights)
            block.scatter_(-1, ids[part], of_coarse[part, :-1])
            gradient[part] = block[:, :-1]
        return gradient, None, None, None


def blocks(logits: Tensor) -> Iterator[slice]:
    """Which rows of `(rows, classes)` to take at a time."""
    size = max(1, BLOCK.get(logits.device.type, LARGE_BLOCK) // logits.shape[-1])
    return (slice(start, start + size) for start in range(0, len(logits), size))


def _at_temperature(logits: Tensor, temperature: float, dtype: torch.dtype) -> Tensor:
    """Logits at T, `(rows, classes + 1)`: the last column is spare, for padding to name."""
    block = logits.new_empty(len(logits), logits.shape[-1] + 1, dtype=dtype)
    block[:, :-1] = logits
    block[:, -1] = -torch.inf
    return block.div_(temperature)
