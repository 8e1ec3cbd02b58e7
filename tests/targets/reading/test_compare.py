import numpy as np
import pytest
import torch

from limbeck._errors import TargetsError
from limbeck.data import ArraySamples
from limbeck.signals import Head
from limbeck.targets import capture, compare
from limbeck.teachers import Teacher

CLASSES = [Head(space="categorical", size=2)]


def says(p, asked=None):
    """A teacher that gives the first class a probability of `p`, whatever it is asked."""

    def answer(inputs):
        if asked is not None:
            asked.append(len(inputs))
        return np.tile(np.log([p, 1 - p]).astype(np.float32), (len(inputs), 1))

    return Teacher(answer, CLASSES)


@pytest.fixture
def captured(tmp_path):
    samples = ArraySamples(torch.arange(20.0)[:, None], {})
    return samples, capture(says(0.5), samples, tmp_path, codec="dense32", temperature=1.0)


@pytest.mark.parametrize("moved", [0.481, 0.5, 0.519])
def test_a_teacher_may_move_by_less_than_two_in_a_hundred(captured, moved):
    samples, targets = captured
    near = compare(targets, says(moved), samples)
    assert near.rows == 20
    assert near.difference == pytest.approx(abs(moved - 0.5), abs=1e-6)


@pytest.mark.parametrize("moved", [0.47, 0.53, 0.7])
def test_a_teacher_that_moves_further_says_something_else(captured, moved):
    samples, targets = captured
    difference = f"{abs(moved - 0.5):.3g}"
    with pytest.raises(TargetsError, match=rf"within 0\.02, got a difference of {difference}"):
        compare(targets, says(moved), samples)


def test_many_samples_are_asked_about_a_few_at_a_time(tmp_path):
    samples = ArraySamples(torch.arange(300.0)[:, None], {})
    targets = capture(says(0.5), samples, tmp_path, codec="dense32", temperature=1.0)
    asked = []
    near = compare(targets, says(0.51, asked), samples, limit=290)
    assert near.rows == sum(asked) == 290
    assert max(asked) <= 64
    assert near.mean_squared == pytest.approx(2 * 0.01**2, rel=1e-3)
