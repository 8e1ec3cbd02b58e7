import math

import pytest

from limbeck.recipe import Train
from limbeck.train import schedule_factor


def factors(steps, **options):
    return [schedule_factor(step, steps, Train(**options)) for step in range(steps)]


def test_constant_stays_at_one():
    assert factors(5, schedule="constant") == [1.0] * 5


def test_cosine_is_half_a_wave_from_one_towards_zero():
    expected = [(1 + math.cos(math.pi * k / 8)) / 2 for k in range(8)]
    assert factors(8, schedule="cosine") == pytest.approx(expected, abs=1e-15)


def test_step_falls_to_a_tenth_at_each_milestone():
    expected = [1.0] * 5 + [0.1] * 3 + [0.01] * 2
    found = factors(10, schedule="step", milestones=[0.5, 0.8])
    assert found == pytest.approx(expected)


@pytest.mark.parametrize("schedule", ["constant", "cosine", "step"])
def test_warmup_rises_in_equal_parts_and_ends_at_one(schedule):
    found = factors(20, schedule=schedule, warmup=0.2, milestones=[0.9])
    assert found[:4] == pytest.approx([0.25, 0.5, 0.75, 1.0])
    assert found[4] == 1.0  # the schedule begins where the warm-up ended


def test_cosine_after_a_warmup_is_half_a_wave_over_what_is_left():
    expected = [(1 + math.cos(math.pi * k / 16)) / 2 for k in range(16)]
    assert factors(20, schedule="cosine", warmup=0.2)[4:] == pytest.approx(expected, abs=1e-15)


def test_a_warmup_of_less_than_one_step_is_none():
    assert factors(4, schedule="constant", warmup=0.2) == [1.0] * 4


def test_a_part_of_a_step_is_no_step_of_a_warmup():
    found = factors(10, schedule="constant", warmup=0.35)
    assert found == pytest.approx([1 / 3, 2 / 3] + [1.0] * 8)
