"""DIST: correlation of probabilities, by row and by class."""

from pydantic import model_validator

from limbeck.losses import correlation_distance
from limbeck.methods._method import Card, Method, NotNegative, Options, Paper, one_above_zero


class DistOptions(Options):
    """What each relation weighs."""

    inter_class_weight: NotNegative = 1.0
    """How each row ranks the classes, 0 or more; 0 leaves it out."""
    intra_class_weight: NotNegative = 1.0
    """How each class ranks the rows of a batch, 0 or more; 0 leaves it out."""

    @model_validator(mode="after")
    def _teaches(self) -> "DistOptions":
        one_above_zero(
            inter_class_weight=self.inter_class_weight, intra_class_weight=self.intra_class_weight
        )
        return self


dist = Method(
    card=Card(
        line="Correlation with the teacher's probabilities, along each row and each class.",
        paper=Paper(authors="Huang et al.", year=2022, link="https://arxiv.org/abs/2205.10536"),
        formula=(
            "T^2 (inter_class_weight (1 - correlation of the row) + intra_class_weight (1 - mean "
            "correlation of the classes, over the batch))"
        ),
        when=(
            "The teacher is far stronger than the student, which then need only rank as it does. "
            "Batches of some dozen rows or more."
        ),
        cost=34.2,
        setting=("soft_weight = 2, hard_weight = 1; temperature = 4 on CIFAR-100, 1 on ImageNet."),
        notes=(
            "The classes' part compares the rows of a batch with each other: train.accumulate, "
            "several processes and train.batch_size change it, and not by rounding only. With "
            "intra_class_weight = 0 they do not. It correlates over all classes, so that rows of "
            "few do not do."
        ),
    ),
    dense={"categorical": correlation_distance},
    options=DistOptions,
    whole_batch=True,
)
