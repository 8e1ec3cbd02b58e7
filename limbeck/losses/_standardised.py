"""Standardised logits (Sun et al., 2024, https://arxiv.org/abs/2403.01427)."""

import torch
from torch import Tensor

from limbeck.losses._soft_targets import at_least_float32


def standardised(logits: Tensor) -> Tensor:
    r"""Each row's logits less their mean, divided by their standard deviation: their Z-scores.

    A loss of what this returns compares the shape of two rows and not their size, so that a small
    student need not reach the teacher's: it is unmoved by $a z + b$, $a > 0$, in place of either
    side's logits $z$. Give both sides to `soft_targets` at the temperature 2, as the paper does, or
    to `decoupled_soft_targets` and others. The student's logits are its own afterwards, too.

    The deviation is the unbiased one, as in the official code, which adds $10^{-7}$ to it. We add
    nothing: a row whose logits are all equal, up to rounding, is 0 and keeps its gradient's size,
    where theirs is multiplied by $10^7$. Classes of $-\infty$ stay so, and are not counted.

    Args:
        logits: $z$, shape `(..., classes)`, of a student or a teacher.

    Returns:
        Shape `(..., classes)`, of half precision in float32. The gradient flows through.

    Example:
        >>> standardised(torch.tensor([[4.0, 2.0, 0.0]]))
        tensor([[ 1.,  0., -1.]])
    """
    logits = at_least_float32(logits)
    excluded = logits == -torch.inf
    known = logits.masked_fill(excluded, 0.0)  # (..., classes)
    count = (~excluded).sum(dim=-1, keepdim=True)  # (..., 1)
    mean = known.sum(dim=-1, keepdim=True) / count.clamp_min(1)
    centred = (known - mean).masked_fill(excluded, 0.0)
    variance = centred.square().sum(dim=-1, keepdim=True) / (count - 1).clamp_min(1)
    rounding = 8 * torch.finfo(logits.dtype).eps * known.detach().abs().amax(dim=-1, keepdim=True)
    # The square root of 0 has no gradient.
    deviation = variance.masked_fill(variance <= rounding.square(), 1.0).sqrt()
    return (centred / deviation).masked_fill(excluded, -torch.inf)
