"""What rows name and what they leave unnamed, on average over some of them."""

import torch
from torch import Tensor

from limbeck.targets.codecs._compiled import compiled


class MeanTail:
    """The mass of each class that rows leave unnamed, and how often they name it.

    Args:
        size: Number of classes.
    """

    def __init__(self, size: int) -> None:
        self.mass = torch.zeros(size, dtype=torch.float64)
        self.named = torch.zeros(size, dtype=torch.int64)
        self._rows = 0

    def add(self, p: Tensor, named: Tensor) -> None:
        """Some rows of probabilities and which of their classes are named, `(rows, size)`."""
        self.mass += p.masked_fill(named, 0.0).sum(dim=0).double().cpu()
        self.named += named.nonzero(as_tuple=True)[1].bincount(minlength=p.shape[-1]).cpu()
        self._rows += len(p)

    def add_above(self, logits: Tensor, tau: float) -> None:
        """Some rows of logits, `(rows, size)`, of which the classes of at least `tau` are named."""
        loops = compiled()
        if loops is None or logits.device.type != "cpu":
            p = logits.softmax(dim=-1)
            self.add(p, p >= tau)
            return
        values = logits.detach().float().contiguous().numpy()
        loops.add_tail(values, tau, self.mass.numpy(), self.named.numpy())
        self._rows += len(logits)

    def shape(self) -> Tensor:
        """Log-weights by which a tail spreads, `(size,)`, that sum to 1.

        As if one more row had spread its tail evenly, so that no class is impossible for not having
        been seen. Classes of no probability in any row, such as those a vocabulary is padded with,
        have none.
        """
        possible = (self.mass > 0) | (self.named > 0)
        possible = possible if possible.any() else ~possible
        mean = float(self.mass.sum()) / max(self._rows, 1)
        even = (mean or 1.0) / int(possible.sum())
        weights = torch.where(possible, self.mass + even, 0.0)
        return weights.log().log_softmax(dim=0).float()
