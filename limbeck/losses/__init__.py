"""Losses: pure functions from a model's rows, and a teacher's or labels, to one value per row."""

from limbeck.losses._soft_targets import soft_binary_targets as soft_binary_targets
from limbeck.losses._soft_targets import soft_targets as soft_targets
from limbeck.losses._sparse_soft_targets import sparse_soft_targets as sparse_soft_targets
from limbeck.losses._supervised import binary_cross_entropy as binary_cross_entropy
from limbeck.losses._supervised import cross_entropy as cross_entropy
from limbeck.losses._supervised import squared_error as squared_error

__all__ = [
    "binary_cross_entropy",
    "cross_entropy",
    "soft_binary_targets",
    "soft_targets",
    "sparse_soft_targets",
    "squared_error",
]
