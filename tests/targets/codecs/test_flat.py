import hypothesis.strategies as st
import numpy as np
from hypothesis import given

from limbeck.targets.codecs._flat import below, join, rows_of, split, steps, summed

ROWS = st.lists(st.sets(st.integers(0, 70_000), max_size=6), max_size=8)


@given(ROWS)
def test_steps_in_planes_are_summed_to_the_ids_they_were(rows):
    counts = np.array([len(row) for row in rows], dtype=np.int64)
    ids = np.array([each for row in rows for each in sorted(row)], dtype=np.int64)
    planes = split(steps(ids, counts), "steps", 70_001)
    assert sorted(planes) == ["steps_0", "steps_1", "steps_2"]
    assert summed(join(planes, "steps", 70_001), counts).tolist() == ids.tolist()


def test_a_step_is_what_lies_between_and_begins_anew_in_each_row():
    counts = np.array([3, 0, 2])
    assert steps(np.array([4, 5, 9, 0, 7]), counts).tolist() == [4, 0, 3, 0, 6]


@given(st.lists(st.integers(0, 300), min_size=1, max_size=5), st.integers(0, 30))
def test_the_first_places_of_a_row_are_below_its_count(counts, more):
    width = max(counts) + more
    mask = below(np.array(counts), width)
    assert mask.tolist() == [[place < count for place in range(width)] for count in counts]
    assert np.nonzero(mask)[0].tolist() == rows_of(np.array(counts)).tolist()
