"""Simulated rows of large vocabularies: no teacher said them.

Logits are the log of Zipf's law (exponent 1.05), plus a context term of rank 256 whose strength
falls as a power of its index, plus independent noise, plus a few peaked continuations, times 1.2.
What those words leave open is set so that the mass of a row's largest entries, and its entropy,
come near to what was stated for this source; `python bench/_simulated.py` prints both.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch

VOCABULARIES = {"simulated-32k": 32_768, "simulated-152k": 151_936}
STATED = {
    "simulated-32k": {"entropy": 1.91, 1: 0.53, 12: 0.88, 50: 0.93, 64: 0.94, 128: 0.956},
    "simulated-152k": {64: 0.926},
}

_ZIPF = 1.05
_RANK = 256
_NOISE = 0.5
_SCALE = 1.2
# Chosen here.
_CONTEXT = 1.44
_CONTEXT_POWER = 0.74
_CONTINUATIONS = 14
_BOOST = 2.56
_BOOST_SPREAD = 0.97


@dataclass(frozen=True)
class Simulated:
    """Rows of logits, made as they are asked for: of one name, seed and chunk size, the same."""

    name: str
    seed: int = 0

    @property
    def classes(self) -> int:
        return VOCABULARIES[self.name]

    def batches(
        self, size: int = 256, limit: int = 4096
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Logits `(size, classes)` float32, and labels `(size,)` drawn from them, up to `limit`."""
        shared = torch.Generator().manual_seed(self.seed << 32)
        common = -_ZIPF * torch.log(torch.arange(1, self.classes + 1).float())  # (classes,)
        directions = torch.randn(self.classes, _RANK, generator=shared)
        strength = torch.arange(1, _RANK + 1).float() ** -_CONTEXT_POWER
        strength *= _CONTEXT / strength.square().sum().sqrt()
        for start in range(0, limit, size):
            rows = min(size, limit - start)
            each = torch.Generator().manual_seed((self.seed << 32) + start + 1)
            logits = _NOISE * torch.randn(rows, self.classes, generator=each)
            context = strength * torch.randn(rows, _RANK, generator=each)
            logits += common
            logits.addmm_(context, directions.T)
            usual = torch.softmax(common, dim=0)
            likely = torch.multinomial(usual.expand(rows, -1), _CONTINUATIONS, generator=each)
            boost = _BOOST + _BOOST_SPREAD * torch.randn(likely.shape, generator=each)
            logits.scatter_add_(1, likely, boost)
            logits *= _SCALE
            drawn = torch.multinomial(torch.softmax(logits, dim=1), 1, generator=each)[:, 0]
            yield logits.numpy(), drawn.numpy()


def masses(name: str, limit: int = 1024) -> dict[str | int, float]:
    """Mean entropy in nats, and the mean mass of the largest 1, 12, 50, 64 and 128 entries."""
    sums: dict[str | int, float] = {}
    for logits, _ in Simulated(name).batches(limit=limit):
        p = torch.softmax(torch.from_numpy(logits), dim=1)
        upto = p.topk(128, dim=1).values.cumsum(dim=1)
        found = {"entropy": torch.special.entr(p).sum(dim=1)}
        found |= {count: upto[:, count - 1] for count in (1, 12, 50, 64, 128)}
        for key, values in found.items():
            sums[key] = sums.get(key, 0.0) + float(values.double().sum()) / limit
    return sums


if __name__ == "__main__":
    for each in VOCABULARIES:
        found = masses(each)
        for key, value in found.items():
            print(f"{each} {key}: {value:.3f}, stated {STATED[each].get(key, 'nothing')}")
