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


FIFTY = Head(space="categorical", size=50)
NUMBERS = Head(space="real", size=4)
COARSE = {
    "threshold": {"tau": 1.0},
    "principal": {"components": 1},
    "selected": {"levels": 15, "cost": 0.05},
    "sqrt4": {},
    "topk": {"k": 1},
}


def of_inputs(change):
    """A teacher of 50 classes, or of numbers, that looks at what it is asked."""
    return lambda inputs: change(inputs.astype(np.float64)).astype(np.float32)


@pytest.mark.parametrize("codec", COARSE)
def test_a_coarse_codec_hides_no_other_teacher(tmp_path, codec):
    samples = ArraySamples(torch.randn(200, 4, generator=torch.Generator().manual_seed(0)), {})
    weights = np.random.default_rng(0).normal(size=(4, 50)) * 1.5
    teacher = Teacher(of_inputs(lambda x: x @ weights), [FIFTY])
    targets = capture(
        teacher, samples, tmp_path, codec=codec, codec_options=COARSE[codec], temperature=1.0
    )
    noise = np.random.default_rng(1).normal(size=50) * 1e-3  # as on another device, or more
    compare(targets, Teacher(of_inputs(lambda x: x @ weights + noise), [FIFTY]), samples)
    other = Teacher(of_inputs(lambda x: np.roll(x @ weights, 5, axis=-1)), [FIFTY])
    with pytest.raises(TargetsError, match="Capture them again into another folder"):
        compare(targets, other, samples)


@pytest.mark.parametrize("codec", ["real16", "real8"])
@pytest.mark.parametrize("change", [lambda x: -x, lambda x: x + 1.0, lambda x: 3 * x])
def test_numbers_of_any_size_that_move_are_noticed(tmp_path, codec, change):
    samples = ArraySamples(torch.rand(100, 4, generator=torch.Generator().manual_seed(0)), {})
    targets = capture(
        Teacher(of_inputs(lambda x: 1e-3 * x), [NUMBERS]), samples, tmp_path, codec=codec
    )
    compare(targets, Teacher(of_inputs(lambda x: 1.001e-3 * x), [NUMBERS]), samples)
    with pytest.raises(TargetsError, match="Capture them again into another folder"):
        compare(targets, Teacher(of_inputs(lambda x: change(1e-3 * x)), [NUMBERS]), samples)


def test_what_is_drawn_of_each_head_is_drawn_again(tmp_path):
    samples = ArraySamples(torch.randn(100, 4, generator=torch.Generator().manual_seed(0)), {})
    heads = [Head(name=name, space="categorical", size=50) for name in ("one", "other")]
    weights = np.random.default_rng(0).normal(size=(4, 50))

    def answer(inputs):
        said = (inputs @ weights).astype(np.float32)
        return {head.name: said for head in heads}

    targets = capture(Teacher(answer, heads), samples, tmp_path, codec="threshold", temperature=1.0)
    assert compare(targets, Teacher(answer, heads), samples).rows == 200
