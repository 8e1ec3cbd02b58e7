"""The cost on each card is what was measured."""

import json

import pytest

from limbeck.methods import METHODS, every_method
from tests.conftest import REPOSITORY

MEASURED = {
    (row["loss"], row["shape"]): row["time"]
    for row in json.loads((REPOSITORY / "bench/results/costs.json").read_text())["rows"]
}


@pytest.mark.parametrize("name", every_method())
def test_the_cost_of_a_card_is_that_of_the_result_file(name):
    cost = every_method()[name].card.cost
    shape = "4096 x 1000" if name in METHODS else "64 samples"
    assert cost == pytest.approx(MEASURED[name, shape], rel=0.005, abs=0.05)
