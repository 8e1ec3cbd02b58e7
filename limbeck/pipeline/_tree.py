"""What the page draws of a student that is a soft decision tree."""

import base64

import torch
from torch import Tensor, nn

from limbeck import results
from limbeck.data import DataSet
from limbeck.models import SoftTree
from limbeck.pipeline._details import MOST_CLASSES, shown

ROWS = 4
"""Rows of decisions that are drawn."""
SAMPLES = 4
"""Test samples, the first ones, whose way is drawn."""
_BATCH = 512


@torch.no_grad()
def tree_of(model: nn.Module, data: DataSet) -> results.Tree | None:
    """The upper rows of a tree, as the test data go through it; None for any other model."""
    head = data.head
    if not isinstance(model, SoftTree) or head.size > MOST_CLASSES:
        return None
    model = model.eval()
    device = model.leaves.device
    reached, num_samples = torch.zeros(2 ** (model.depth + 1) - 1), len(data.test)
    shape: tuple[int, ...] = ()
    for index in torch.split(torch.arange(num_samples), _BATCH):
        inputs = data.test.fetch(index).to(device).inputs
        assert isinstance(inputs, Tensor), "a tree takes one tensor"
        shape = tuple(inputs.shape[1:])
        paths = model.log_paths(inputs)
        reached += torch.cat([level.exp().sum(dim=0) for level in paths]).cpu().float()
    reached /= num_samples
    filters = _filters(model, shape)
    names = head.classes or tuple(str(number) for number in range(head.size))
    rows = min(ROWS, model.depth)
    return results.Tree(
        depth=model.depth,
        classes=list(names),
        filter_shape=(filters.shape[1], filters.shape[2]),
        nodes=[
            results.TreeNode(
                filter=_bytes(filters[node]),
                reached=float(reached[node]),
                right=_share(reached[2 * node + 2], reached[node]),
            )
            for node in range(2**rows - 1)
        ],
        leaves=_ends(model, reached, rows),
        paths=[_path(model, data, filters, place, names) for place in range(SAMPLES)[:num_samples]],
    )


def _ends(model: SoftTree, reached: Tensor, rows: int) -> list[results.TreeLeaf]:
    """What lies below each node after so many rows: the mean of leaves, by how they are used."""
    leaves = model.log_leaves().exp().cpu()
    used = reached[2**model.depth - 1 :].clamp_min(torch.finfo(torch.float32).tiny)
    used = used.view(2**rows, -1)  # (ends, leaves of each)
    means = (used[:, :, None] * leaves.view(*used.shape, -1)).sum(dim=1) / used.sum(1)[:, None]
    return [
        results.TreeLeaf(reached=float(share), probabilities=mean.tolist())
        for share, mean in zip(used.sum(dim=1), means, strict=True)
    ]


def _path(
    model: SoftTree, data: DataSet, filters: Tensor, place: int, names: tuple[str, ...]
) -> results.TreePath:
    batch = data.test.fetch(torch.tensor([place])).to(model.leaves.device)
    assert isinstance(batch.inputs, Tensor)
    paths = model.log_paths(batch.inputs)[-1][0].exp()
    right = model.log_odds(batch.inputs)[0].sigmoid().tolist()
    leaf = int(paths.argmax())
    steps = []
    for depth in range(model.depth):
        above, side = divmod(leaf >> (model.depth - 1 - depth), 2)
        node = 2**depth - 1 + above
        steps.append(
            results.TreeStep(
                filter=_bytes(filters[node]),
                to_right=bool(side),
                probability=right[node] if side else 1 - right[node],
            )
        )
    return results.TreePath(
        index=place,
        label=names[int(batch.labels[data.head.name][0])],
        steps=steps,
        leaf=results.TreeLeaf(
            reached=float(paths[leaf]), probabilities=model.log_leaves()[leaf].exp().tolist()
        ),
        image_png=shown(data, place)[0],
    )


def _filters(model: SoftTree, shape: tuple[int, ...]) -> Tensor:
    """The weights of each node as pictures: `(nodes, height, width)`, the mean over channels."""
    weights = model.nodes.weight.cpu().float()
    if len(shape) == 2:
        return weights.view(len(weights), *shape)
    if len(shape) == 3:
        return weights.view(len(weights), *shape).mean(dim=1)
    return weights[:, None, :]


def _bytes(picture: Tensor) -> str:
    largest = picture.abs().max().clamp_min(torch.finfo(torch.float32).tiny)
    return base64.b64encode(
        (127 * picture / largest).round().to(torch.int8).numpy().tobytes()
    ).decode()


def _share(part: Tensor, whole: Tensor) -> float:
    return float(part / whole) if whole > 0 else 0.5
