"""Which samples an epoch visits, and where randomness comes from."""

import hashlib
import math
from dataclasses import dataclass

import torch
from torch import Tensor

from limbeck._errors import DataError


@dataclass(frozen=True, kw_only=True)
class Order:
    """Which samples each epoch visits: a pure function of the seed and the epoch's number."""

    pool: Tensor
    """`(pool,)`: the samples to draw from, one or more."""
    length: int
    """Samples in an epoch. A longer one than the pool visits it again, shuffled anew."""
    seed: int

    def __post_init__(self) -> None:
        if len(self.pool) == 0:
            raise DataError("there is no sample to learn from. Let some show their labels.")

    def epoch(self, number: int) -> Tensor:
        """`(length,)`: positions in the split."""
        rounds = math.ceil(self.length / len(self.pool))
        orders = [
            torch.randperm(len(self.pool), generator=generator(self.seed, "order", number, part))
            for part in range(rounds)
        ]
        return self.pool[torch.cat(orders)[: self.length]]


def generator_seed(*parts: int | str) -> int:
    """A 63-bit seed that depends on all `parts`, the same on every machine."""
    digest = hashlib.blake2b(repr(parts).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


def generator(*parts: int | str) -> torch.Generator:
    """A generator seeded by all `parts`."""
    return torch.Generator().manual_seed(generator_seed(*parts))
