"""Captures killed with SIGKILL at random moments; `bench/kill.py` tries more of them."""

import pytest
from _killing import KINDS, Trials


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: f"{kind.codec}-{kind.count}")
def test_a_killed_capture_goes_on_to_the_same_rows_and_asks_little_again(kind, tmp_path):
    trials = Trials(kind, tmp_path / "trials")
    for outcome in (trials.run(seed, kills=2) for seed in range(5)):
        assert outcome.faults == []
        assert (outcome.wrong, outcome.missing, outcome.twice, outcome.left_over) == (0, 0, 0, 0)
        assert max(outcome.asked_again) <= kind.cost
