"""What a feature method has unless it is set: held here once more, so that a change is meant."""

from limbeck.methods._methods import read_options
from limbeck.methods.features import FEATURE_METHODS

DEFAULTS = {
    "fitnets": {"feature_weight": 100.0},
    "at": {"feature_weight": 1000.0},
    "fsp": {"feature_weight": 50.0},
    "nst": {"feature_weight": 50.0},
    "sp": {"feature_weight": 3000.0},
    "pkt": {"feature_weight": 470.0},
    "rkd": {"feature_weight": 1.0, "distance_weight": 25.0, "angle_weight": 50.0},
    "cc": {"feature_weight": 100.0, "sharpness": 0.4, "order": 2},
    "cka": {"feature_weight": 1.0},
    "vid": {"feature_weight": 1.0, "first_variance": 5.0},
    "ab": {"feature_weight": 0.003, "margin": 1.0},
    "ft": {"feature_weight": 500.0, "rate": 0.5},
    "ofd": {"feature_weight": 0.001},
    "crd": {
        "feature_weight": 0.8,
        "negatives": 16384,
        "embedding": 128,
        "contrast_temperature": 0.07,
        "momentum": 0.5,
    },
    "reviewkd": {"feature_weight": 1.0, "channels": 512},
    "semckd": {"feature_weight": 400.0},
    "srrl": {"feature_weight": 1.0, "features_weight": 1.0, "logits_weight": 1.0},
    "simkd": {"feature_weight": 1.0},
    "catkd": {"feature_weight": 15.0, "resolution": 2},
    "mgd": {"feature_weight": 7e-5, "mask_ratio": 0.15},
    "cwd": {"feature_weight": 50.0, "map_temperature": 4.0},
    "pkd": {"feature_weight": 1.0},
    "minilm": {"feature_weight": 1.0, "relation_heads": 12},
    "tinybert": {"feature_weight": 1.0, "heads": 12, "attention_weight": 1.0},
    "distilbert": {"feature_weight": 1.0},
}
"""What each has unless it is set: of its paper or later code, or ours, as its card says."""


def test_weights_and_options_that_are_not_set_are_those_of_the_cards():
    assert {
        name: {"feature_weight": method.weight, **read_options(name, {}).model_dump()}
        for name, method in FEATURE_METHODS.items()
    } == DEFAULTS
