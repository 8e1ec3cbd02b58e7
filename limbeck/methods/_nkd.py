"""NKD: cross-entropy in two parts, of which the second is normalised."""

from limbeck.losses import normalised_soft_targets
from limbeck.methods._method import Card, Method, NotNegative, Options, Paper
from limbeck.methods._terms import BOUNDED


class NkdOptions(Options):
    """What the others weigh."""

    others_weight: NotNegative = 1.5
    """Of the classes other than the label's, 0 or more; 0 leaves them out. The paper has 1.5 on
    ImageNet, 3.5 on CIFAR-100."""


nkd = Method(
    card=Card(
        line="Normalised soft targets: at the label, and among the others, which sum to 1.",
        paper=Paper(authors="Yang et al.", year=2023, link="https://arxiv.org/abs/2303.13005"),
        formula=(
            "-p_label log q_label - others_weight T^2 sum of p'_c log q'_c over the others, with p "
            "and q at T = 1, and p' and q' at T among the others"
        ),
        when="As dkd; its label part asks for more than the teacher gives, not for as much.",
        cost=12.3,
        setting=("soft_weight = 1, hard_weight = 1; temperature = 1 on ImageNet, 3 on CIFAR-100."),
        notes=(
            "Its minimum is not where the student equals its teacher, and it is not 0 there. Rows "
            "of few classes do not do: each of the others is compared."
        ),
    ),
    dense={"categorical": normalised_soft_targets},
    options=NkdOptions,
    with_labels=True,
    promises=BOUNDED,
)
