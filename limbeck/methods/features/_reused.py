"""SimKD: the student ends in the teacher's own classifier, and learns what that reads."""

from collections.abc import Sequence

from torch import nn

from limbeck._errors import ShapeError
from limbeck.losses.features import hints
from limbeck.methods._method import Card, Paper
from limbeck.methods.features._method import FeatureMethod, Pair, plain
from limbeck.methods.features._shapes import by_position


def _reused(pairs: Sequence[Pair]) -> nn.Module:
    for pair in pairs:
        ours, theirs = pair.channels
        if ours != theirs:
            raise ShapeError(
                "method simkd compares what the teacher's classifier reads, in both models: the "
                f"student's tap gives {ours} channels, the teacher's {theirs}. Let the student "
                "end in a projection to as many, and in the teacher's classifier; or take fitnets, "
                "which learns a projection beside the student."
            )
    return plain(lambda student, teacher, batch: by_position(hints, student, teacher, batch))(pairs)


reused = FeatureMethod(
    card=Card(
        line="Reused classifier (SimKD): what the teacher's own classifier reads, learned.",
        paper=Paper(authors="Chen et al.", year=2022, link="https://arxiv.org/abs/2203.14001"),
        formula="mean of (student - teacher)^2",
        when=(
            "A student of your own that ends in a projection to the teacher's last features and in "
            "the teacher's classifier, frozen; docs/teachers.md has one. One tap: the projection, "
            "and what the teacher's classifier reads. Both are kept, and cost what they cost."
        ),
        cost=7.4,
        hurt=2.2,
        tried="a student that learns 7,600 weights, 4,200 of them its projection, not tuned",
        setting=(
            "It learns from features alone, the classifier being there; here a soft_weight or "
            "hard_weight stays above 0, and may be as small as 0.001."
        ),
        notes=(
            "It learns nothing itself: the projection is the student's. Nor does it look whether "
            "the classifier is the teacher's. Maps of two sizes are pooled to the smaller."
        ),
    ),
    make=_reused,
    weight=1.0,
    kinds=("maps", "tokens", "vectors"),
)
