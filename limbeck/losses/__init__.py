"""Losses: pure functions from a model's rows, and a teacher's or labels, to one value per row.

Towards a teacher there is a dense form, of logits, and a sparse one, of the `Sparse` rows that were
stored. A temperature is a dense loss's option, and sparse rows bring theirs; T² is always a factor.

Losses of features, and of the relations between a batch's rows, are in `limbeck.losses.features`.
"""

from limbeck.losses import features as features
from limbeck.losses._by_chunks import by_chunks as by_chunks
from limbeck.losses._by_chunks import by_chunks_of_both as by_chunks_of_both
from limbeck.losses._decoupled import decoupled_soft_targets as decoupled_soft_targets
from limbeck.losses._divergences import jensen_shannon as jensen_shannon
from limbeck.losses._divergences import reverse_kl as reverse_kl
from limbeck.losses._divergences import skew_kl as skew_kl
from limbeck.losses._divergences import skew_reverse_kl as skew_reverse_kl
from limbeck.losses._divergences import total_variation as total_variation
from limbeck.losses._soft_targets import soft_binary_targets as soft_binary_targets
from limbeck.losses._soft_targets import soft_cross_entropy as soft_cross_entropy
from limbeck.losses._soft_targets import soft_targets as soft_targets
from limbeck.losses._sparse_divergences import (
    sparse_decoupled_soft_targets as sparse_decoupled_soft_targets,
)
from limbeck.losses._sparse_divergences import sparse_jensen_shannon as sparse_jensen_shannon
from limbeck.losses._sparse_divergences import sparse_reverse_kl as sparse_reverse_kl
from limbeck.losses._sparse_divergences import sparse_skew_kl as sparse_skew_kl
from limbeck.losses._sparse_divergences import sparse_skew_reverse_kl as sparse_skew_reverse_kl
from limbeck.losses._sparse_divergences import sparse_total_variation as sparse_total_variation
from limbeck.losses._sparse_soft_targets import (
    sparse_soft_cross_entropy as sparse_soft_cross_entropy,
)
from limbeck.losses._sparse_soft_targets import sparse_soft_targets as sparse_soft_targets
from limbeck.losses._supervised import binary_cross_entropy as binary_cross_entropy
from limbeck.losses._supervised import cross_entropy as cross_entropy
from limbeck.losses._supervised import squared_error as squared_error

__all__ = [
    "binary_cross_entropy",
    "by_chunks",
    "by_chunks_of_both",
    "cross_entropy",
    "decoupled_soft_targets",
    "jensen_shannon",
    "reverse_kl",
    "skew_kl",
    "skew_reverse_kl",
    "soft_binary_targets",
    "soft_cross_entropy",
    "soft_targets",
    "sparse_decoupled_soft_targets",
    "sparse_jensen_shannon",
    "sparse_reverse_kl",
    "sparse_skew_kl",
    "sparse_skew_reverse_kl",
    "sparse_soft_cross_entropy",
    "sparse_soft_targets",
    "sparse_total_variation",
    "squared_error",
    "total_variation",
]
