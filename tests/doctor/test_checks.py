import pytest

from limbeck.doctor._checks import smallest_batch
from limbeck.recipe import Train


@pytest.mark.parametrize(
    ("batch_size", "accumulate", "num_samples", "smallest"),
    [
        (64, 1, 640, 64),
        (64, 1, 650, 10),  # the last batch of an epoch
        (64, 1, 20, 20),  # all there is
        (64, 4, 640, 16),
        (7, 3, 70, 1),  # 3 + 3 + 1
        (8, 3, 80, 2),  # 3 + 3 + 2
        (64, 4, 643, 1),  # the last batch of 3 in pieces of one
    ],
)
def test_the_smallest_batch_is_counted_over_batches_and_micro_batches(
    batch_size, accumulate, num_samples, smallest
):
    settings = Train(batch_size=batch_size, accumulate=accumulate)
    assert smallest_batch(settings, num_samples) == smallest
