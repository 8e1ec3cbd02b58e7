"""The directions in which rows differ most, in the metric that their errors are measured in."""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

_NOTHING = 1e-10
"""Of the largest variance: what is below is rounding."""
_NOTHING_OF_A_SAMPLE = 1e-6
"""The same, of products in float32."""
_TINY = torch.finfo(torch.float32).tiny
_MOST_KEPT = 1 << 27


class Moments:
    """First and second moments of rows, gathered a few rows at a time.

    Args:
        size: Numbers in a row.
    """

    def __init__(self, size: int) -> None:
        self._rows = 0
        self._origin = torch.zeros(size, dtype=torch.float64)
        self._sum = torch.zeros(size, dtype=torch.float64)
        self._squares = torch.zeros(size, size, dtype=torch.float64)
        self._fisher: Tensor | None = None

    def add(self, values: Tensor, probabilities: Tensor | None) -> None:
        """Some rows, `(rows, size)`; of log-probabilities, with the probabilities beside them."""
        rows = values.detach().cpu()
        if self._rows == 0 and len(rows):
            self._origin = rows.double().mean(dim=0)  # near the mean: nothing cancels
        centred = (rows - self._origin).float()
        self._rows += len(rows)
        self._sum += centred.double().sum(dim=0)
        self._squares += centred.T @ centred
        if probabilities is not None:
            p = probabilities.detach().cpu()
            if self._fisher is None:
                self._fisher = torch.zeros_like(self._squares)
            self._fisher += torch.diag(p.double().sum(dim=0)) - p.T @ p

    @property
    def mean(self) -> Tensor:
        """`(size,)`."""
        return self._origin + self._sum / max(self._rows, 1)

    @property
    def covariance(self) -> Tensor:
        """`(size, size)`."""
        shift = self._sum / max(self._rows, 1)
        return self._squares / max(self._rows, 1) - torch.outer(shift, shift)

    @property
    def metric(self) -> Tensor:
        """`(size, size)`: the mean Fisher matrix, or one over the mean variance for numbers."""
        if self._fisher is not None:
            return self._fisher / self._rows
        variance = float(self.covariance.diagonal().mean())
        return torch.eye(len(self._sum), dtype=torch.float64) / (variance if variance > 0 else 1.0)


class Sample:
    """Rows drawn from all that are added, and the directions in which they differ most.

    For rows of many numbers. Each of those added is as likely to be kept (a reservoir).

    Args:
        size: Numbers in a row.
        most: Rows to keep; of very long ones fewer, that take no more than half a gigabyte.
    """

    def __init__(self, size: int, most: int) -> None:
        self._kept = torch.empty(min(most, _MOST_KEPT // size), size)
        self._added = 0
        self._generator = np.random.default_rng(0)

    def add(self, values: Tensor) -> None:
        """Some rows, `(rows, size)`."""
        number = np.arange(self._added, self._added + len(values))
        place = np.where(
            number < len(self._kept), number, self._generator.integers(number, endpoint=True)
        )
        kept = np.flatnonzero(place < len(self._kept))
        self._kept.numpy()[place[kept]] = values.detach().cpu().float().numpy()[kept]
        self._added += len(values)

    def basis(self, count: int, *, probabilities: bool) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """The mean, orthonormal directions of scaled rows, the scale, and the spread along each.

        A number is scaled by the root of its class's mean probability, or all by one over the root
        of their mean variance. Directions in which rows do not differ are 0.

        Returns:
            `(size,)`, `(count, size)`, `(size,)`, and standard deviations `(count,)`, which fall.
        """
        rows = self._kept[: self._added]
        mean = rows.mean(dim=0)
        if probabilities:
            scale = rows.exp().mean(dim=0).sqrt()
        else:
            variance = rows.var(dim=0, correction=0).mean()
            scale = torch.full_like(mean, float(variance) ** -0.5 if variance > 0 else 1.0)
        scaled = rows.sub_(mean).mul_(scale)
        values, vectors = torch.linalg.eigh((scaled @ scaled.T).double())
        inside = values > _NOTHING_OF_A_SAMPLE * values[-1].clamp_min(_TINY)
        strength = torch.where(inside, values, 0.0).sqrt().flip(-1)[:count].float()
        found = (vectors * inside).flip(-1)[:, :count].float().T @ scaled  # (at most count, size)
        found /= strength.clamp_min(_TINY)[:, None]
        found = _signed(found.T).T
        missing = count - len(found)
        directions = F.pad(found, (0, 0, 0, missing))
        return mean, directions, scale, F.pad(strength / len(rows) ** 0.5, (0, missing))


def basis(moments: Moments, count: int) -> tuple[Tensor, Tensor, Tensor]:
    """What finds the coefficients of a centred row, what takes them back, and their spread.

    With M the metric and C the covariance, the coefficients are those of M^1/2 x along the
    eigenvectors of M^1/2 C M^1/2; directions in which rows do not differ have none.

    Returns:
        `(size, count)`, `(count, size)`, and standard deviations `(count,)`, which fall.
    """
    values, vectors = torch.linalg.eigh(moments.metric)
    inside = values > _NOTHING * values[-1]
    root = torch.where(inside, values, 0.0).sqrt()
    inverse = torch.where(inside, root, 1.0).reciprocal() * inside
    half, back = (vectors * root) @ vectors.T, (vectors * inverse) @ vectors.T
    variances, directions = torch.linalg.eigh(half @ moments.covariance @ half)
    largest = variances[-1].clamp_min(_TINY)
    found = directions * (variances > _NOTHING * largest)
    found = found.flip(-1)[:, :count]  # (size, count), of falling variance
    found = _signed(found)
    spread = variances.flip(-1)[:count].clamp_min(0.0).sqrt()
    return half @ found, found.T @ back, spread


def _signed(found: Tensor) -> Tensor:
    """Directions, `(size, count)`, of one of their two signs: the same on every machine."""
    first = found.gather(0, found.abs().argmax(dim=0, keepdim=True))
    return found * torch.where(first < 0, -1.0, 1.0)
