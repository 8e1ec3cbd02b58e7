"""Which modules of a student could be compared with which of a teacher's."""

from collections.abc import Sequence
from dataclasses import dataclass

from limbeck.pipeline._modules import Layer

MOST_PAIRS = 4
"""Proposed of one student."""
_PER_DEPTH = 0.5
"""Of alignment, that one from the first to the last module must make up for."""


@dataclass(frozen=True, kw_only=True)
class Proposal:
    """Two modules that could be compared."""

    student: Layer
    teacher: Layer
    alignment: float
    """Linear CKA, 0..1."""


def propose(student: Sequence[Layer], teacher: Sequence[Layer]) -> list[Proposal]:
    """Pairs of one kind, in the order of depth in both; maps of one size where there are such.

    The student's are the last of each stage that learns, a stage being what gives one shape, or a
    block of a transformer; of each, the teacher's that is most alike, but for a difference in
    depth; a block, where it has blocks.
    """
    proposals: list[Proposal] = []
    first = 0
    for ours in _spread(_ends_of_stages([layer for layer in student if layer.learns])):
        kind = len(ours.shape)
        fit = [place for place in range(first, len(teacher)) if len(teacher[place].shape) == kind]
        if kind == 2:
            fit = [place for place in fit if teacher[place].is_block] or fit
        if kind == 3:
            alike = [place for place in fit if teacher[place].shape[1:] == ours.shape[1:]]
            fit = alike or fit
        if not fit:
            continue
        best = max(fit, key=lambda place: _worth(ours, teacher[place]))
        proposals.append(
            Proposal(student=ours, teacher=teacher[best], alignment=_alignment(ours, teacher[best]))
        )
        first = best + 1
    return proposals


def _ends_of_stages(layers: Sequence[Layer]) -> list[Layer]:
    """The last module of each stage; of tokens, which keep their shape, each block."""
    following = [*layers[1:], None]
    has_blocks = any(_is_block_of_tokens(layer) for layer in layers)
    return [
        layer
        for layer, after in zip(layers, following, strict=True)
        if (
            _is_block_of_tokens(layer)
            if has_blocks and len(layer.shape) == 2
            else after is None or after.shape != layer.shape
        )
    ]


def _is_block_of_tokens(layer: Layer) -> bool:
    return layer.is_block and len(layer.shape) == 2


def _spread(layers: Sequence[Layer]) -> Sequence[Layer]:
    """At most so many, evenly, the last among them."""
    if len(layers) <= MOST_PAIRS:
        return layers
    step = len(layers) / MOST_PAIRS
    return [layers[round((place + 1) * step) - 1] for place in range(MOST_PAIRS)]


def _alignment(ours: Layer, theirs: Layer) -> float:
    return float(ours.likeness @ theirs.likeness)


def _worth(ours: Layer, theirs: Layer) -> float:
    return _alignment(ours, theirs) - _PER_DEPTH * abs(ours.depth - theirs.depth)
