"""Losses of features and relations: from what is inside the two models to one value per row.

Pure functions, as their siblings of rows. A student's features come already projected to the
teacher's shape where the loss needs that: what is learned, remembered or drawn on the way is a
method's matter. A loss that compares the rows of a batch gives each row's own share where its
formula splits so, and else the batch's value again for each row; in both cases `.mean()` is the
loss, and the docstring says which.

Papers whose loss goes by another name here, or is made of two: FitNets and SimKD are `hints`,
TinyBERT is `hints` and `attention_scores`, MiniLM `attention_relations` and `value_relations`, RKD
`relational_distance` and `relational_angle`, OFD `partial_distance`, VID `variational_information`,
PKD `patient_hints`, ReviewKD `hierarchical_context` of each stage. The mean squared error of
embeddings is `limbeck.losses.squared_error`.
"""

from limbeck.losses.features._attention import attention_transfer as attention_transfer
from limbeck.losses.features._boundaries import activation_boundaries as activation_boundaries
from limbeck.losses.features._channels import channel_wise as channel_wise
from limbeck.losses.features._classifier import class_attention as class_attention
from limbeck.losses.features._classifier import softmax_regression as softmax_regression
from limbeck.losses.features._contrast import (
    contrastive_log_normaliser as contrastive_log_normaliser,
)
from limbeck.losses.features._contrast import (
    contrastive_representation as contrastive_representation,
)
from limbeck.losses.features._correlation import correlation_congruence as correlation_congruence
from limbeck.losses.features._factors import factor_transfer as factor_transfer
from limbeck.losses.features._flow import flow_of_solution as flow_of_solution
from limbeck.losses.features._generation import channel_mask as channel_mask
from limbeck.losses.features._generation import masked_generation as masked_generation
from limbeck.losses.features._generation import position_mask as position_mask
from limbeck.losses.features._hints import cosine_distance as cosine_distance
from limbeck.losses.features._hints import hints as hints
from limbeck.losses.features._hints import patient_hints as patient_hints
from limbeck.losses.features._kernel_alignment import linear_cka_distance as linear_cka_distance
from limbeck.losses.features._neighbourhoods import probabilistic_transfer as probabilistic_transfer
from limbeck.losses.features._overhaul import partial_distance as partial_distance
from limbeck.losses.features._overhaul import relu_margin as relu_margin
from limbeck.losses.features._relations import relational_angle as relational_angle
from limbeck.losses.features._relations import relational_distance as relational_distance
from limbeck.losses.features._review import hierarchical_context as hierarchical_context
from limbeck.losses.features._selectivity import neuron_selectivity as neuron_selectivity
from limbeck.losses.features._semantic import semantic_calibration as semantic_calibration
from limbeck.losses.features._similarity import similarity_preserving as similarity_preserving
from limbeck.losses.features._transformers import attention_relations as attention_relations
from limbeck.losses.features._transformers import attention_scores as attention_scores
from limbeck.losses.features._transformers import value_relations as value_relations
from limbeck.losses.features._triple import distilbert_triple as distilbert_triple
from limbeck.losses.features._variational import variational_information as variational_information

__all__ = [
    "activation_boundaries",
    "attention_relations",
    "attention_scores",
    "attention_transfer",
    "channel_mask",
    "channel_wise",
    "class_attention",
    "contrastive_log_normaliser",
    "contrastive_representation",
    "correlation_congruence",
    "cosine_distance",
    "distilbert_triple",
    "factor_transfer",
    "flow_of_solution",
    "hierarchical_context",
    "hints",
    "linear_cka_distance",
    "masked_generation",
    "neuron_selectivity",
    "partial_distance",
    "patient_hints",
    "position_mask",
    "probabilistic_transfer",
    "relational_angle",
    "relational_distance",
    "relu_margin",
    "semantic_calibration",
    "similarity_preserving",
    "softmax_regression",
    "value_relations",
    "variational_information",
]
