"""MLKD: soft targets at several temperatures, and how alike rows and classes are."""

from typing import Annotated

from pydantic import Field

from limbeck.losses import multi_level_soft_targets
from limbeck.methods._method import (
    Card,
    Method,
    NotNegative,
    Options,
    Paper,
    Positive,
    without_temperature,
)


class MlkdOptions(Options):
    """At which temperatures, and what the likenesses weigh."""

    temperatures: Annotated[tuple[Positive, ...], Field(min_length=1, strict=False)] = (
        2.0,
        3.0,
        4.0,
        5.0,
        6.0,
    )
    """One or more, each above 0; the losses are summed, not averaged, over them."""
    class_weight: NotNegative = 1.0
    """How alike classes are over the batch, 0 or more; 0 leaves it out."""
    batch_weight: NotNegative = 1.0
    """How alike rows of the batch are, 0 or more; 0 leaves it out."""


mlkd = Method(
    card=Card(
        called=("multi_level",),
        line="Soft targets at several temperatures, with the likeness of rows and of classes.",
        paper=Paper(
            authors="Jin, Wang and Lin",
            year=2023,
            link="https://openaccess.thecvf.com/content/CVPR2023/html/"
            "Jin_Multi-Level_Logit_Distillation_CVPR_2023_paper.html",
        ),
        formula=(
            "sum over T of (T^2 KL(p || q) + class_weight |P'P - Q'Q|^2 / classes + batch_weight "
            "|PP' - QQ'|^2 / rows), P and Q the batch's softened probabilities"
        ),
        when="Batches are large, training is long, and no one temperature is right.",
        cost=1495.3,
        hurt=6.9,
        setting="soft_weight = 0.9, hard_weight = 0.1; 240 or 480 epochs, two views a sample.",
        notes=(
            "Its temperatures are its own: distil.temperature has no part in it. Rows of a batch "
            "are compared with each other, and the likeness of classes grows with the square of "
            "their number: train.accumulate, several processes and train.batch_size change the "
            "loss, and not by rounding only. With both weights 0 they do not. "
            "Rows of few classes do not do: their tail is of one temperature alone."
        ),
    ),
    dense={"categorical": without_temperature(multi_level_soft_targets)},
    options=MlkdOptions,
    whole_batch=True,
)
