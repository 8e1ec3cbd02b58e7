"""The picture of a soft decision tree: filters, branches as broad as they are used, and leaves."""

import base64
import io
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from limbeck import _format as form
from limbeck.report._palette import DARK, LIGHT
from limbeck.results import Tree, TreeLeaf, TreeStep

_BROADEST = 14
"""Pixels of a branch that all test data take."""


@dataclass(frozen=True, kw_only=True)
class Filter:
    """A node's weights as PNG files in base64: orange speaks for the right, violet for the left."""

    light: str
    dark: str
    note: str
    """What it does, in words."""


@dataclass(frozen=True, kw_only=True)
class Branch:
    """From a node to one below: a curve in a box of 100 x 20, and its width in pixels."""

    curve: str
    width: float


@dataclass(frozen=True, kw_only=True)
class Row:
    """A row of decisions, and the branches that leave it."""

    filters: tuple[Filter, ...]
    branches: tuple[Branch, ...]


@dataclass(frozen=True, kw_only=True)
class Leaf:
    """A distribution over classes, as bars."""

    bars: tuple[float, ...]
    """Per cent of each class."""
    most: int
    """The most probable one."""
    name: str
    sure: str
    note: str


@dataclass(frozen=True, kw_only=True)
class Step:
    """A decision on the way of one sample."""

    filter: Filter
    right: bool
    sure: str


@dataclass(frozen=True, kw_only=True)
class Path:
    """A sample's way to its leaf."""

    index: int
    label: str
    image_png: str | None
    steps: tuple[Step, ...]
    leaf: Leaf


@dataclass(frozen=True, kw_only=True)
class TreePicture:
    """All that the template needs."""

    depth: int
    rows: tuple[Row, ...]
    leaves: tuple[Leaf, ...]
    paths: tuple[Path, ...]


def tree_picture(tree: Tree | None) -> TreePicture | None:
    """The picture of a tree; None where the student is none."""
    if tree is None:
        return None
    rows = len(tree.leaves).bit_length() - 1
    return TreePicture(
        depth=tree.depth,
        rows=tuple(_row(tree, number) for number in range(rows)),
        leaves=tuple(_leaf(tree, leaf, "of the test data come here") for leaf in tree.leaves),
        paths=tuple(
            Path(
                index=path.index,
                label=path.label,
                image_png=path.image_png,
                steps=tuple(_step(tree, step) for step in path.steps),
                leaf=_leaf(tree, path.leaf, "the probability of this way"),
            )
            for path in tree.paths
        ),
    )


def _row(tree: Tree, number: int) -> Row:
    first, size = 2**number - 1, 2**number
    nodes = tree.nodes[first : first + size]
    branches = []
    for place, node in enumerate(nodes):
        for side, share in enumerate((1 - node.right, node.right)):
            above, below = 100 * (place + 0.5) / size, 50 * (2 * place + side + 0.5) / size
            branches.append(
                Branch(
                    curve=f"M{above:g} 0C{above:g} 11 {below:g} 9 {below:g} 20",
                    width=round(1 + (_BROADEST - 1) * node.reached * share, 2),
                )
            )
    filters = tuple(
        _filter(
            tree,
            node.filter,
            f"{form.percent(node.reached, 0)} of the test data come here; "
            f"{form.percent(node.right, 0)} of these go right",
        )
        for node in nodes
    )
    return Row(filters=filters, branches=tuple(branches))


def _step(tree: Tree, step: TreeStep) -> Step:
    sure = form.percent(step.probability, 0)
    note = f"{'right' if step.to_right else 'left'}, {sure}"
    return Step(filter=_filter(tree, step.filter, note), right=step.to_right, sure=sure)


def _leaf(tree: Tree, leaf: TreeLeaf, of: str) -> Leaf:
    most = max(range(len(leaf.probabilities)), key=lambda place: leaf.probabilities[place])
    return Leaf(
        bars=tuple(round(100 * share, 1) for share in leaf.probabilities),
        most=most,
        name=tree.classes[most],
        sure=form.percent(leaf.probabilities[most], 0),
        note=f"{form.percent(leaf.reached, 1)} {of}",
    )


def _filter(tree: Tree, weights: str, note: str) -> Filter:
    stored = np.frombuffer(base64.b64decode(weights), dtype=np.int8)
    values = stored.reshape(tree.filter_shape).astype(np.int16)
    light, dark = (
        _png(values, colours["student"], colours["teacher"]) for colours in (LIGHT, DARK)
    )
    return Filter(light=light, dark=dark, note=note)


def _png(values: NDArray[np.int16], right: str, left: str) -> str:
    """Base64 of a PNG: a colour by sign, as solid as a weight is large."""
    from PIL import Image

    of_sign = np.array([_rgb(left), _rgb(right)], dtype=np.uint8)
    pixels = np.empty((*values.shape, 4), dtype=np.uint8)
    pixels[..., :3] = of_sign[(values > 0).astype(int)]
    pixels[..., 3] = np.minimum(255, 2 * np.abs(values))
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format="PNG", optimize=True)
    return base64.b64encode(file.getvalue()).decode()


def _rgb(colour: str) -> tuple[int, ...]:
    """Red, green and blue of "#bf5712"."""
    return tuple(bytes.fromhex(colour[1:]))
