"""What `limbeck doctor` says of the taps of a feature method."""

import pytest
from torch.nn import BatchNorm2d

from limbeck.doctor._taps import _adapters
from limbeck.methods.features import FEATURE_METHODS
from tests.methods.features.problem import pair_for, term_of

ADAPTERS = {
    "fitnets": ["1x1 conv 3 -> 5", "1x1 conv 4 -> 6"],
    "sp": ["none", "none"],
    "fsp": ["1x1 conv 3 -> 5", "1x1 conv 4 -> 6"],
    "ofd": ["1x1 conv 3 -> 5", "1x1 conv 4 -> 6"],
    "crd": [
        "linear 3 -> 128, linear 5 -> 128",
        "linear 4 -> 128, linear 6 -> 128",
    ],
    "reviewkd": [
        "1x1 conv 3 -> 4, 3x3 conv 4 -> 5, 1x1 conv 8 -> 2",
        "1x1 conv 4 -> 4, 3x3 conv 4 -> 6",
    ],
    "tinybert": ["none", "none", "linear 4 -> 6"],
}


@pytest.mark.parametrize("name", ADAPTERS)
def test_the_layers_that_a_method_learns_are_told_beside_their_tap(name):
    assert _adapters(term_of(name, *pair_for(name))) == ADAPTERS[name]


@pytest.mark.parametrize("name", FEATURE_METHODS)
def test_every_layer_with_weights_is_told(name):
    term = term_of(name, *pair_for(name))
    weighing = [part for part in term.module.modules() if "weight" in part._parameters]
    layers = [part for part in weighing if not isinstance(part, BatchNorm2d)]
    told = [text for text in ", ".join(_adapters(term)).split(", ") if text != "none"]
    assert len(told) == len(layers)
