import pytest
import torch

from limbeck._errors import DataError
from limbeck.train import Order, generator, generator_seed
from tests.train.problem import SAMPLES, model, train


def order(pool, length, seed=0):
    return Order(pool=torch.tensor(pool), length=length, seed=seed)


def test_an_epoch_visits_each_sample_once_in_another_order_each_time():
    drawn = [order(range(100), 100).epoch(number) for number in range(3)]
    for epoch in drawn:
        assert epoch.sort().values.tolist() == list(range(100))
    assert not torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[1], drawn[2])


def test_the_order_depends_on_seed_and_epoch_alone():
    assert torch.equal(order(range(9), 9).epoch(4), order(range(9), 9).epoch(4))
    assert not torch.equal(order(range(9), 9).epoch(4), order(range(9), 9, seed=1).epoch(4))


def test_a_pool_smaller_than_the_epoch_is_visited_again_and_equally():
    epoch = order([7, 3, 5], 8).epoch(0)
    assert len(epoch) == 8
    assert epoch[:3].sort().values.tolist() == [3, 5, 7]
    assert epoch[3:6].sort().values.tolist() == [3, 5, 7]
    assert set(epoch[6:].tolist()) < {3, 5, 7}


def test_an_epoch_shorter_than_the_pool_takes_a_part_of_it():
    assert len(set(order(range(10), 4).epoch(0).tolist())) == 4


def test_an_empty_pool_is_refused():
    with pytest.raises(DataError, match="no sample to learn from"):
        order([], 4)


def test_training_fetches_what_the_order_says():
    seen = []

    class Watched:
        labels, labelled = SAMPLES.labels, None

        def __len__(self):
            return len(SAMPLES)

        def fetch(self, index, view=0):
            seen.append((index.tolist(), view))
            return SAMPLES.fetch(index)

    chosen = order([4, 9, 11], 5, seed=3)
    train(model(), Watched(), order=chosen, epochs=2, batch_size=2, views=2)
    epochs = [chosen.epoch(0).tolist(), chosen.epoch(1).tolist()]
    expected = [(epoch[k : k + 2], view) for view, epoch in enumerate(epochs) for k in (0, 2, 4)]
    assert seen == expected


def test_views_without_end_are_one_for_each_epoch_from_view_one():
    seen = []

    class Watched:
        labels, labelled = SAMPLES.labels, None

        def __len__(self):
            return len(SAMPLES)

        def fetch(self, index, view=0):
            seen.append(view)
            return SAMPLES.fetch(index)

    train(model(), Watched(), epochs=3, batch_size=50, new_views=True)
    assert seen == [1, 2, 3]


def test_seeds_differ_by_every_part_and_are_the_same_on_every_machine():
    assert generator_seed(0, "order", 1) == 2002067703672271585
    assert len({generator_seed(a, b, c) for a in (0, 1) for b in "xy" for c in (0, 1)}) == 8
    assert generator(1, "a").initial_seed() == generator_seed(1, "a")
