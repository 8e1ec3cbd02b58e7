import numpy as np

from limbeck.targets.encoding._encoder import row_seeds


def test_every_row_view_head_and_sample_has_a_chance_of_its_own():
    keys = np.random.default_rng(1).integers(1 << 63, size=50, dtype=np.uint64)
    seeds = [row_seeds(keys, view, 6, head) for view in range(4) for head in range(3)]
    assert len(np.unique(np.concatenate(seeds))) == 50 * 6 * 4 * 3


def test_a_rows_chance_is_the_same_in_any_company():
    keys = np.random.default_rng(0).integers(1 << 63, size=20, dtype=np.uint64)
    together = row_seeds(keys, 2, 5, 1).reshape(20, 5)
    for place in (0, 7, 19):
        assert (row_seeds(keys[place : place + 1], 2, 5, 1) == together[place]).all()
