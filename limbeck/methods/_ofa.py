"""OFA: soft targets that lean towards the label."""

from typing import Annotated

from pydantic import Field

from limbeck.losses import enhanced_soft_cross_entropy
from limbeck.methods._method import Card, Method, Options, Paper
from limbeck.methods._terms import BOUNDED


class OfaOptions(Options):
    """How far they lean."""

    exponent: Annotated[float, Field(ge=1)] = 1.0
    """1 or more: 1 is the cross-entropy of soft targets, and as it grows only the label counts.
    The paper's code has 1 on CIFAR-100, 1.5 on ImageNet."""


ofa = Method(
    card=Card(
        called=("one_for_all",),
        line="Soft targets with more weight on the label, the more the surer the teacher is.",
        paper=Paper(authors="Hao et al.", year=2023, link="https://arxiv.org/abs/2310.19444"),
        formula="-T^2 sum over c of ((p_c + [c is the label])^exponent - [c is the label]) log q_c",
        when=(
            "Teacher and student differ in architecture, so that what the teacher says of wrong "
            "classes fits the student less. With exponent = 1 take soft_targets: the gradient is "
            "the same, and no labels are needed."
        ),
        cost=7.8,
        setting="temperature = 1; labels beside it.",
        notes=(
            "This is the loss of OFA-KD at the student's own logits; its branches at other depths "
            "need features. Not 0 at equality, for it is a cross-entropy. The formula is that of "
            "the official code; in the paper's equation the exponent is on the label's term alone. "
            "Rows of few classes need not name the label, and do not do."
        ),
    ),
    dense={"categorical": enhanced_soft_cross_entropy},
    options=OfaOptions,
    with_labels=True,
    promises=BOUNDED,
)
