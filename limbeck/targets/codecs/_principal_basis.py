"""The directions in which rows differ most, in the metric that their errors are measured in."""

import torch
from torch import Tensor

_NOTHING = 1e-10
"""Of the largest variance: what is below is rounding."""


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

    def add(self, values: Tensor, *, probabilities: bool) -> None:
        """Some rows, `(rows, size)`, which are the logarithms of probabilities or plain numbers."""
        rows = values.detach().cpu()
        if self._rows == 0 and len(rows):
            self._origin = rows.double().mean(dim=0)  # near the mean: nothing cancels
        centred = (rows - self._origin).float()
        self._rows += len(rows)
        self._sum += centred.double().sum(dim=0)
        self._squares += centred.T @ centred
        if probabilities:
            p = rows.exp()
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
    largest = variances[-1].clamp_min(torch.finfo(torch.float64).tiny)
    found = directions * (variances > _NOTHING * largest)
    found = found.flip(-1)[:, :count]  # (size, count), of falling variance
    # Either sign would do: the same on every machine.
    first = found.gather(0, found.abs().argmax(dim=0, keepdim=True))
    found = found * torch.where(first < 0, -1.0, 1.0)
    spread = variances.flip(-1)[:count].clamp_min(0.0).sqrt()
    return half @ found, found.T @ back, spread
