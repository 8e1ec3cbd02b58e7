"""WSLD: soft targets, weighted by sample."""

from limbeck.losses import weighted_soft_targets
from limbeck.methods._method import Card, Method, Paper

wsld = Method(
    card=Card(
        line="Soft targets, less where the student does better on the label than the teacher.",
        paper=Paper(authors="Zhou et al.", year=2021, link="https://arxiv.org/abs/2102.00650"),
        formula=(
            "(1 - exp(-CE of the student / CE of the teacher)) T^2 KL(softmax(teacher / T) || "
            "softmax(student / T)), CE towards the label at T = 1, the weight held fixed"
        ),
        when="The teacher is wrong on samples that the student gets right.",
        cost=7.4,
        setting=(
            "temperature = 2, soft_weight = 2.5 on ImageNet; temperature = 4, soft_weight = 2.25 "
            "on CIFAR-100; labels beside it."
        ),
        notes="Rows of few classes need not name the label, and do not do.",
    ),
    dense={"categorical": weighted_soft_targets},
    with_labels=True,
)
