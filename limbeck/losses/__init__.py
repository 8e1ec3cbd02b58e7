"""Losses: pure functions from a model's rows, and a teacher's or labels, to one value per row.

Towards a teacher there is a dense form, of logits, and a sparse one, of the `Sparse` rows that were
stored. A temperature is a dense loss's option, and sparse rows bring theirs; T² is always a factor.

Losses of features, and of the relations between a batch's rows, are in `limbeck.losses.features`.
"""

from limbeck.losses import features as features
from limbeck.losses._alpha_beta import alpha_beta as alpha_beta
from limbeck.losses._by_chunks import by_chunks as by_chunks
from limbeck.losses._by_chunks import by_chunks_of_both as by_chunks_of_both
from limbeck.losses._correlation import correlation_distance as correlation_distance
from limbeck.losses._decoupled import decoupled_soft_targets as decoupled_soft_targets
from limbeck.losses._divergences import jensen_shannon as jensen_shannon
from limbeck.losses._divergences import reverse_kl as reverse_kl
from limbeck.losses._divergences import skew_kl as skew_kl
from limbeck.losses._divergences import skew_reverse_kl as skew_reverse_kl
from limbeck.losses._divergences import total_variation as total_variation
from limbeck.losses._enhanced import enhanced_soft_cross_entropy as enhanced_soft_cross_entropy
from limbeck.losses._label_smoothing import label_smoothing as label_smoothing
from limbeck.losses._label_smoothing import teacher_free_soft_targets as teacher_free_soft_targets
from limbeck.losses._logit_regression import logit_regression as logit_regression
from limbeck.losses._margins import margin_squared_error as margin_squared_error
from limbeck.losses._multi_level import batch_consistency as batch_consistency
from limbeck.losses._multi_level import class_consistency as class_consistency
from limbeck.losses._multi_level import multi_level_soft_targets as multi_level_soft_targets
from limbeck.losses._normalised import normalised_soft_targets as normalised_soft_targets
from limbeck.losses._regression import gaussian_kl as gaussian_kl
from limbeck.losses._regression import gaussian_nll as gaussian_nll
from limbeck.losses._regression import pinball as pinball
from limbeck.losses._sequences import interpolated_word_level as interpolated_word_level
from limbeck.losses._sequences import sequence_level as sequence_level
from limbeck.losses._sequences import weighted_mean as weighted_mean
from limbeck.losses._sequences import word_level as word_level
from limbeck.losses._soft_targets import soft_binary_targets as soft_binary_targets
from limbeck.losses._soft_targets import soft_cross_entropy as soft_cross_entropy
from limbeck.losses._soft_targets import soft_targets as soft_targets
from limbeck.losses._sparse_divergences import sparse_alpha_beta as sparse_alpha_beta
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
from limbeck.losses._standardised import standardised as standardised
from limbeck.losses._supervised import binary_cross_entropy as binary_cross_entropy
from limbeck.losses._supervised import cross_entropy as cross_entropy
from limbeck.losses._supervised import squared_error as squared_error
from limbeck.losses._universal_logits import universal_logit_distance as universal_logit_distance
from limbeck.losses._weighted import weighted_soft_targets as weighted_soft_targets

__all__ = [
    "alpha_beta",
    "batch_consistency",
    "binary_cross_entropy",
    "by_chunks",
    "by_chunks_of_both",
    "class_consistency",
    "correlation_distance",
    "cross_entropy",
    "decoupled_soft_targets",
    "enhanced_soft_cross_entropy",
    "gaussian_kl",
    "gaussian_nll",
    "interpolated_word_level",
    "jensen_shannon",
    "label_smoothing",
    "logit_regression",
    "margin_squared_error",
    "multi_level_soft_targets",
    "normalised_soft_targets",
    "pinball",
    "reverse_kl",
    "sequence_level",
    "skew_kl",
    "skew_reverse_kl",
    "soft_binary_targets",
    "soft_cross_entropy",
    "soft_targets",
    "sparse_alpha_beta",
    "sparse_decoupled_soft_targets",
    "sparse_jensen_shannon",
    "sparse_reverse_kl",
    "sparse_skew_kl",
    "sparse_skew_reverse_kl",
    "sparse_soft_cross_entropy",
    "sparse_soft_targets",
    "sparse_total_variation",
    "squared_error",
    "standardised",
    "teacher_free_soft_targets",
    "total_variation",
    "universal_logit_distance",
    "weighted_mean",
    "weighted_soft_targets",
    "word_level",
]
