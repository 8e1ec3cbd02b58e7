"""Feature methods: objectives of what modules inside the two models give, one family per file."""

from limbeck.methods.features._method import KINDS as KINDS
from limbeck.methods.features._method import FeatureMethod as FeatureMethod
from limbeck.methods.features._methods import FEATURE_METHODS as FEATURE_METHODS
from limbeck.methods.features._shapes import vectors as vectors
from limbeck.methods.features._stored import inside as inside
from limbeck.methods.features._stored import stored_features as stored_features
from limbeck.methods.features._stored import stored_taps as stored_taps
from limbeck.methods.features._terms import Taps as Taps
from limbeck.methods.features._terms import feature_term as feature_term
from limbeck.methods.features._terms import features_of as features_of
from limbeck.methods.features._terms import rows_and_features_of as rows_and_features_of

__all__ = [
    "FEATURE_METHODS",
    "KINDS",
    "FeatureMethod",
    "Taps",
    "feature_term",
    "features_of",
    "inside",
    "rows_and_features_of",
    "stored_features",
    "stored_taps",
    "vectors",
]
