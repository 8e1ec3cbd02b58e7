"""A card says by how much its method hurt where the result file has it, and nothing elsewhere."""

import json

import pytest

from limbeck.methods import BESIDE, every_method
from tests.conftest import REPOSITORY

MEASURED = json.loads((REPOSITORY / "bench/results/methods.json").read_text())
ROWS = MEASURED["rows"]
CARDS = {name: method.card for name, method in every_method().items()} | BESIDE


@pytest.mark.parametrize("name", CARDS)
def test_a_card_says_what_it_hurt(name):
    own = [row for row in ROWS if row["method"].partition(":")[0] == name]
    assert own, "bench/methods.py measures every card"
    hurt = max((-100 * row["gain"] for row in own if row["outcome"] == "hurt"), default=None)
    assert CARDS[name].hurt == (None if hurt is None else pytest.approx(hurt, abs=0.05))


@pytest.mark.parametrize("name", BESIDE)
def test_what_stands_beside_a_method_says_how_it_was_tried_where_it_hurt(name):
    assert bool(BESIDE[name].tried) == (BESIDE[name].hurt is not None)
