"""LSKD: logits are standardised before they are compared, by soft targets or by DKD."""

from torch import Tensor

from limbeck.losses import decoupled_soft_targets, soft_targets, standardised
from limbeck.methods._dkd import DkdOptions
from limbeck.methods._method import Card, Method, Paper

_PAPER = Paper(authors="Sun et al.", year=2024, link="https://arxiv.org/abs/2403.01427")


def _standardised_soft_targets(student: Tensor, teacher: Tensor, *, temperature: float) -> Tensor:
    return soft_targets(standardised(student), standardised(teacher), temperature=temperature)


def _standardised_decoupled(
    student: Tensor,
    teacher: Tensor,
    labels: Tensor,
    *,
    temperature: float,
    target_weight: float,
    others_weight: float,
) -> Tensor:
    return decoupled_soft_targets(
        standardised(student),
        standardised(teacher),
        labels,
        target_weight=target_weight,
        others_weight=others_weight,
        temperature=temperature,
    )


lskd = Method(
    card=Card(
        called=("logit_standardization", "ls_kd"),
        line="Soft targets of standardised logits: a temperature for each row, by its own size.",
        paper=_PAPER,
        formula="T^2 KL(softmax(z(teacher) / T) || softmax(z(student) / T)), z = (x - mean) / std",
        when=(
            "The student is so small that it cannot reach the size of its teacher's logits. It "
            "then says as little of its own confidence: look at its calibration."
        ),
        cost=22.0,
        setting="temperature = 2, soft_weight = 9, hard_weight = 0.1 on CIFAR-100.",
        notes=(
            "Each row has a temperature of its own, and so has each side: T times the standard "
            "deviation of its logits. A T that suits soft targets is too large for that. "
            "Without labels nothing sets the size of the student's logits: keep hard_weight above "
            "0 where probabilities matter. The deviation is of all classes, so that rows of few "
            "do not do."
        ),
    ),
    dense={"categorical": _standardised_soft_targets},
)

lskd_dkd = Method(
    card=Card(
        line="Decoupled soft targets (dkd) of standardised logits (lskd).",
        paper=_PAPER,
        formula="the formula of dkd, of z(teacher) and z(student), z = (x - mean) / std",
        when="As lskd, where most samples have a label; the paper adds its step to DKD as to KD.",
        cost=30.4,
        hurt=1.9,
        setting="temperature = 2; both weights of dkd times that of lskd: soft_weight = 9.",
        notes="As lskd.",
    ),
    dense={"categorical": _standardised_decoupled},
    options=DkdOptions,
    with_labels=True,
)
