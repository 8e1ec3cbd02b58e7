import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from limbeck._splitmix import splitmix, uniform

PUBLISHED = [
    6457827717110365317,
    3203168211198807973,
    9817491932198370423,
    4593380528125082431,
    16408922859458223821,
]
"""The first numbers of seed 1234567 (https://rosettacode.org/wiki/Pseudo-random_numbers/Splitmix64)."""


def test_numbers_are_those_that_others_publish():
    found = splitmix(np.full(5, 1234567, dtype=np.uint64), np.arange(5))
    assert found.tolist() == PUBLISHED


@given(st.integers(0, 2**64 - 1), st.integers(0, 2**32))
def test_a_number_is_the_same_alone_and_among_others(seed, number):
    seeds = np.array([3, seed, 7], dtype=np.uint64)
    among = splitmix(seeds, np.array([0, number, 2]))
    assert among[1] == splitmix(seeds[1:2], number)[0]
    assert seeds.tolist() == [3, seed, 7]


def test_uniform_numbers_lie_in_their_range_evenly():
    found = uniform(np.arange(100_000, dtype=np.uint64), 0)
    assert ((found >= 0) & (found < 1)).all()
    counts = np.histogram(found, bins=20, range=(0, 1))[0]
    assert (abs(counts - 5000) < 5 * np.sqrt(5000)).all()
