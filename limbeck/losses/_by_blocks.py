"""A loss of logits some rows at a time: of its steps only the gradient is kept.

A row's gradient does not depend on what the row weighs in the end but for a factor, so it is taken
at once with the value, and what led to it is dropped. Beside the logits one buffer of their shape
is held, where a chain of operations over all rows holds one for each; the backward pass allocates
the gradient that it returns beside it. The buffer is in float32 or better, whatever the logits are
in: before a row's weight is known, which a mean makes small and a loss scaler large again, numbers
of half precision would be rounded twice, or lost.
"""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from limbeck.losses._others import blocks
from limbeck.losses._soft_targets import at_least_float32


def by_blocks(loss: Callable[..., Tensor], logits: Tensor, *others: Tensor) -> Tensor:
    """`loss` of these logits, and its gradient into them; it can be differentiated once.

    Args:
        loss: From `(rows, classes)`, and the same rows of each of the others, to `(rows,)`, where
            each value is of its own row alone.
        logits: `(..., classes)`.
        others: `(..., any)` or `(...)`, of the same leading shape. No gradient flows into them.

    Returns:
        `(...)`.
    """
    leading, classes = logits.shape[:-1], logits.shape[-1]
    count = math.prod(leading)
    flat = [part.detach().reshape(count, *part.shape[len(leading) :]) for part in others]
    values: Tensor = _ByBlocks.apply(  # type: ignore[no-untyped-call]
        loss, logits.reshape(count, classes), *flat
    )
    return values.reshape(leading)


class _ByBlocks(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, loss: Callable[..., Tensor], logits: Tensor, *others: Tensor) -> Tensor:
        learns = ctx.needs_input_grad[1]
        exact = at_least_float32(logits[:0]).dtype
        gradient = torch.empty_like(logits, dtype=exact) if learns else None
        values = []
        for part in blocks(logits):
            with torch.set_grad_enabled(learns):
                block = logits[part].detach().to(exact).requires_grad_(learns)
                found = loss(block, *(other[part] for other in others))
                if gradient is not None:
                    (gradient[part],) = torch.autograd.grad(found.sum(), block)
            values.append(found.detach())
        ctx.save_for_backward(gradient)
        ctx.others, ctx.dtype = len(others), logits.dtype
        return torch.cat(values) if values else logits.sum(dim=-1)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, of_values: Tensor) -> tuple[Tensor | None, ...]:
        (gradient,) = ctx.saved_tensors
        scaled = torch.empty_like(gradient, dtype=ctx.dtype)
        for part in blocks(gradient):
            scaled[part] = gradient[part] * of_values[part, None]
        return None, scaled, *[None] * ctx.others
