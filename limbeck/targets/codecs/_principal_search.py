"""Which steps to store for a row: the nearest are not the ones that say it best.

A row has a Fisher matrix of its own, in which errors along several directions may cancel, and a
bit has its price: each coefficient in turn takes the whole number that costs the least given all
others. That is the rate-distortion optimised quantisation of video coders, with the curvature of
the divergence in the place of the squared error.
"""

import math

import torch
from torch import Tensor

_SWEEPS = 3
_ROWS, _NUMBERS = 64, 1 << 24
"""Looked at together, of long directions fewer: each takes all directions, weighed by its own."""


def cheapest_steps(
    exact: Tensor, p: Tensor, basis: Tensor, spread: Tensor, *, step: float, cost: float
) -> Tensor:
    """Whole numbers of steps, `(rows, directions)`, that are cheap in nats and bits together.

    Args:
        exact: Coefficients of the rows, `(rows, directions)`, float64.
        p: Their probabilities, `(rows, classes)`, float64.
        basis: What a coefficient of 1 adds to log-probabilities, `(directions, classes)`, float64.
        spread: Standard deviations of the coefficients, `(directions,)`, float64.
        step: What one step of a coefficient is.
        cost: Nats of KL divergence that a bit must save.
    """
    # Directions that hardly reach a step stay at 0 whatever else is chosen.
    active = int((spread > step / 8).sum())
    steps = torch.zeros_like(exact)
    together = max(1, min(_ROWS, _NUMBERS // basis.numel()))
    for start in range(0, len(exact), together):
        rows = slice(start, start + together)
        steps[rows, :active] = _searched(
            exact[rows, :active], p[rows], basis[:active], spread[:active], step, cost
        )
    return steps


def _searched(
    exact: Tensor, p: Tensor, basis: Tensor, spread: Tensor, step: float, cost: float
) -> Tensor:
    mean = p @ basis.T  # (rows, directions)
    curvature = (basis * p[:, None]) @ basis.T - mean[:, :, None] * mean[:, None, :]
    steps = (exact / step).round()
    pull = (curvature @ (exact - step * steps)[..., None])[..., 0]  # of the error, in nats
    bits = _Bits(spread / step)
    for _ in range(_SWEEPS):
        for j in range(exact.shape[1]):
            bend = curvature[:, j, j].clamp_min(1e-12)
            best = steps[:, j] + pull[:, j] / (step * bend)  # if it need not be whole
            choices = torch.stack([best.floor(), best.ceil(), torch.zeros_like(best)])
            nats = bend * step**2 / 2 * (choices - best).square()
            cheapest = (nats + cost * bits.of(choices, j)).argmin(dim=0, keepdim=True)
            chosen = choices.gather(0, cheapest)[0]
            pull -= (step * (chosen - steps[:, j]))[:, None] * curvature[:, j]
            steps[:, j] = chosen
    return steps


class _Bits:
    """What a whole number takes if coefficients are spread as Laplace has it.

    Args:
        spread: Standard deviations in steps, `(directions,)`.
    """

    def __init__(self, spread: Tensor) -> None:
        scale = (spread / math.sqrt(2)).clamp_min(0.1)
        self._each = (math.log2(math.e) / scale).tolist()
        self._zero = (-(-torch.expm1(-0.5 / scale)).log2()).tolist()
        self._other = (1 - (-torch.expm1(-1 / scale)).log2() - 0.5 / scale / math.log(2)).tolist()

    def of(self, steps: Tensor, direction: int) -> Tensor:
        others = steps.abs() * self._each[direction] + self._other[direction]
        return torch.where(steps == 0, self._zero[direction], others)
