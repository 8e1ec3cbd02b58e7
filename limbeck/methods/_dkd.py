"""DKD: soft targets in two parts, each with a weight of its own."""

from pydantic import model_validator

from limbeck.losses import decoupled_soft_targets, sparse_decoupled_soft_targets
from limbeck.methods._method import (
    Card,
    Method,
    NotNegative,
    Options,
    Paper,
    of_density,
    one_above_zero,
)


class DkdOptions(Options):
    """What each part weighs."""

    target_weight: NotNegative = 1.0
    """Of the label's class against all others, 0 or more; 0 leaves it out."""
    others_weight: NotNegative = 8.0
    """Of what is among the others, 0 or more; 0 leaves it out. The paper has 8 for students that
    are like their teacher, and less, down to 2, for others."""

    @model_validator(mode="after")
    def _teaches(self) -> "DkdOptions":
        one_above_zero(target_weight=self.target_weight, others_weight=self.others_weight)
        return self


dkd = Method(
    card=Card(
        called=("decoupled_kd",),
        line="Decoupled soft targets: the label's class, and the others among themselves.",
        paper=Paper(authors="Zhao et al.", year=2022, link="https://arxiv.org/abs/2203.08679"),
        formula=(
            "T^2 (target_weight KL(label's class or not) + others_weight KL(among the others)), "
            "each of the teacher's softened probabilities || the student's"
        ),
        when=(
            "The teacher is so sure of the label that soft targets hardly say how the others "
            "differ, and most samples have a label."
        ),
        cost=16.3,
        setting=(
            "temperature = 4, soft_weight = 1, hard_weight = 1 on CIFAR-100; on ImageNet "
            "temperature = 1 and others_weight = 0.5. Their code lets soft_weight rise over the "
            "first epochs; here it is there from the first step."
        ),
        notes=(
            "Where sparse rows do not name the label, the bucket of all others stands in its "
            "place; drawn entries go into the tail."
        ),
    ),
    dense={"categorical": decoupled_soft_targets},
    sparse=of_density(sparse_decoupled_soft_targets),
    options=DkdOptions,
    with_labels=True,
)
