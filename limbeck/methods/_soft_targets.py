"""Soft targets: what distillation is called where nothing else is said."""

from limbeck import losses
from limbeck.methods._method import Card, Method, Paper, without_temperature
from limbeck.methods._terms import TRUE_TO_SIZE

soft_targets = Method(
    card=Card(
        called=("kd", "hinton"),
        line="The teacher's softened probabilities (KD): the one to begin with.",
        paper=Paper(
            authors="Hinton, Vinyals and Dean", year=2015, link="https://arxiv.org/abs/1503.02531"
        ),
        formula="T^2 KL(softmax(teacher / T) || softmax(student / T))",
        when=(
            "Always first. It needs no labels, so unlabelled samples teach too, it reads every "
            "codec, and it is for every head."
        ),
        cost=6.8,
        setting=(
            "The paper has temperature = 20 on MNIST, and says that lower ones suit small "
            "students. Later code mostly has temperature = 4, soft_weight = 0.9, hard_weight = 0.1."
        ),
        notes=(
            "A binary head has the same formula for each class's yes or no. A real head learns "
            "the teacher's numbers by their mean squared error; T has no part in that."
        ),
    ),
    dense={
        "categorical": losses.soft_targets,
        "binary": losses.soft_binary_targets,
        "real": without_temperature(losses.squared_error),
    },
    sparse=losses.sparse_soft_targets,
    promises=TRUE_TO_SIZE,
)
