"""What is drawn of a soft decision tree is what it does, by recursion, one sample at a time."""

import base64
import math
import statistics

import numpy as np
import pytest
import torch

from limbeck.data import ArraySamples, DataSet
from limbeck.models import MLP, SoftTree
from limbeck.pipeline._tree import tree_of
from limbeck.signals import Head
from tests.models.test_soft_tree import leaf, reach

CLASSES = ("ant", "bee", "cow", "doe")
INPUTS = torch.rand(30, 2, 3, generator=torch.Generator().manual_seed(1))


def data(inputs=INPUTS, classes=CLASSES):
    split = ArraySamples(inputs, {"label": torch.arange(len(inputs)) % 4})
    head = Head(space="categorical", size=4, classes=classes)
    return DataSet(train=split, validation=split, test=split, heads=(head,))


def tree(depth, inputs=6):
    torch.manual_seed(0)
    made = SoftTree(inputs, 4, depth=depth)
    with torch.no_grad():
        made.nodes.weight *= 8
    return made


def share(model, node, samples=INPUTS):
    """Mean probability of coming to a node."""
    row = (node + 1).bit_length() - 1
    width = 2 ** (model.depth - row)  # leaves below it
    first = (node + 1 - 2**row) * width
    return statistics.fmean(
        sum(path for path, number in reach(model, one) if first <= number < first + width)
        for one in samples
    )


@pytest.mark.parametrize("depth", [2, 5])
def test_the_upper_rows_are_drawn_as_the_test_data_go_through_them(depth):
    model = tree(depth)
    drawn = tree_of(model, data())
    assert drawn is not None
    assert drawn.depth == depth
    assert len(drawn.nodes) == 2 ** min(depth, 4) - 1
    for number, node in enumerate(drawn.nodes):
        assert node.reached == pytest.approx(share(model, number), rel=1e-4)
        right = share(model, 2 * number + 2) / share(model, number)
        assert node.right == pytest.approx(right, rel=1e-4)


def test_below_the_last_row_is_the_mean_of_the_leaves_there():
    model = tree(5)
    drawn = tree_of(model, data())
    assert len(drawn.leaves) == 16
    for place, end in enumerate(drawn.leaves):
        used = [share(model, 31 + number) for number in (2 * place, 2 * place + 1)]
        assert end.reached == pytest.approx(sum(used), rel=1e-4)
        both = leaf(model, 2 * place), leaf(model, 2 * place + 1)
        mean = [(used[0] * a + used[1] * b) / sum(used) for a, b in zip(*both, strict=True)]
        assert end.probabilities == pytest.approx(mean, rel=1e-4)


def test_a_sample_is_followed_to_the_leaf_that_it_most_probably_reaches():
    model = tree(3)
    drawn = tree_of(model, data())
    assert [path.index for path in drawn.paths] == [0, 1, 2, 3]
    assert [path.label for path in drawn.paths] == list(CLASSES)
    for path, sample in zip(drawn.paths, INPUTS, strict=False):
        probability, number = max(reach(model, sample))
        assert path.leaf.reached == pytest.approx(probability, rel=1e-4)
        assert path.leaf.probabilities == pytest.approx(leaf(model, number), rel=1e-4)
        turns = "".join(str(int(step.to_right)) for step in path.steps)
        assert int(turns, 2) == number
        assert math.prod(step.probability for step in path.steps) == pytest.approx(probability)
        root = path.steps[0]
        above = share(model, 2 if root.to_right else 1, [sample])
        assert root.probability == pytest.approx(above, rel=1e-4)


@pytest.mark.parametrize(
    ("inputs", "shape"), [((2, 3), (2, 3)), ((3, 1, 2), (1, 2)), ((6,), (1, 6))]
)
def test_a_filter_is_the_weights_of_its_node_as_a_picture(inputs, shape):
    model = tree(2)
    drawn = tree_of(model, data(INPUTS.reshape(30, *inputs)))
    assert drawn.filter_shape == shape
    for node, weights in zip(drawn.nodes, model.nodes.weight.detach(), strict=True):
        picture = weights.view(inputs).numpy()
        picture = picture.mean(axis=0) if len(inputs) == 3 else picture.reshape(shape)
        seen = np.frombuffer(base64.b64decode(node.filter), dtype=np.int8).reshape(shape)
        assert abs(seen).max() == 127
        np.testing.assert_allclose(seen / 127, picture / abs(picture).max(), atol=0.005)


def test_only_a_tree_of_few_classes_is_drawn():
    assert tree_of(MLP(6, [4], 4), data()) is None
    many = Head(space="categorical", size=101)
    split = ArraySamples(INPUTS, {"label": torch.zeros(30, dtype=torch.int64)})
    wide = DataSet(train=split, validation=split, test=split, heads=(many,))
    assert tree_of(SoftTree(6, 101, depth=2), wide) is None
