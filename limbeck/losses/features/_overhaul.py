"""Overhaul of feature distillation (Heo et al., 2019, https://arxiv.org/abs/1904.01866).

The teacher's features before its ReLU, cut at a margin, and a distance that asks nothing where both
sides are off.
"""

import math

import torch
from torch import Tensor

from limbeck._shapes import check_same_shape
from limbeck.losses._soft_targets import at_least_float32
from limbeck.losses.features._common import both, check_batch, check_per_channel


def partial_distance(student: Tensor, teacher: Tensor, margin: Tensor) -> Tensor:
    r"""Partial squared distance to the teacher's features after the margin ReLU.

    With $t' = \max(t, m_c)$, sum over a row's numbers of 0 where $s \le t' \le 0$, and of $(t' -
    s)^2$ elsewhere.

    Args:
        student: $s$, after the connector, shape `(batch, channels, height, width)`, or `(batch,
            channels)`.
        teacher: $t$, before its ReLU, of the same shape. No gradient flows into it.
        margin: $m_c$, 0 or below, shape `(channels,)`, as `relu_margin` gives it. At 0 what is off
            need only be off; far below, the teacher's numbers below 0 are to be matched from above.

    Returns:
        One loss per row, the sum over its numbers, shape `(batch,)`. The official code weighs it
        with about 1/1000.

    Raises:
        ShapeError: The shapes do not fit.
    """
    check_batch(student=student, teacher=teacher)
    check_same_shape(student=student, teacher=teacher)
    check_per_channel(student, margin=margin)
    student, teacher = both(student, teacher)
    margin = margin.detach().to(teacher.dtype).reshape(-1, *[1] * (teacher.dim() - 2))
    target = torch.maximum(teacher, margin)
    off = (student <= target) & (target <= 0)
    return (target - student).masked_fill(off, 0.0).square().flatten(1).sum(dim=1)


def relu_margin(mean: Tensor, deviation: Tensor) -> Tensor:
    r"""Each channel's expected value where it is below 0, if it is Gaussian.

    $m = E[x \mid x < 0] = \mu - \sigma \, \phi(\mu / \sigma) / \Phi(-\mu / \sigma)$. A batch
    normalisation before the ReLU knows both numbers: they are its bias and its weight. The official
    code takes $-3 \sigma$ where fewer than one in 1000 are below 0; we need no other rule there.

    Args:
        mean: $\mu$, shape `(channels,)`.
        deviation: $\sigma$, shape `(channels,)`; its sign does not count. At 0 the margin is the
            mean, or 0 if that is above.

    Returns:
        Shape `(channels,)`, all 0 or below.

    Raises:
        ShapeError: The two shapes differ.
    """
    check_same_shape(mean=mean, deviation=deviation)
    exact, spread = mean.detach().double(), deviation.detach().double().abs()
    flat = spread == 0
    height = exact / spread.masked_fill(flat, 1.0)
    # phi(z) / Phi(-z), by the scaled complementary error function: both may underflow.
    ratio = math.sqrt(2 / math.pi) / torch.special.erfcx(height / math.sqrt(2))
    margin = torch.where(flat, exact, exact - spread * ratio).clamp_max(0.0)
    return margin.to(at_least_float32(mean).dtype)
