"""Other ways to compare two distributions than the forward KL divergence of soft targets."""

from typing import Annotated

import torch
from pydantic import Field, model_validator
from torch import Tensor

from limbeck import losses
from limbeck.methods._method import (
    Card,
    Loss,
    Method,
    NotNegative,
    Options,
    Paper,
    of_density,
    one_above_zero,
)
from limbeck.methods._terms import DISTANCE, TRUE_TO_SIZE
from limbeck.signals import Space

_GKD = Paper(authors="Agarwal et al.", year=2024, link="https://arxiv.org/abs/2306.13649")
_DISTILLM = Paper(authors="Ko et al.", year=2024, link="https://arxiv.org/abs/2402.03898")
_NOTES = (
    "A binary head has the same formula for each class's yes or no, summed. Entries of sparse rows "
    "that were drawn go into the tail, for the loss is not linear in them."
)


def _spaces(loss: Loss) -> dict[Space, Loss]:
    """For classes, and for each class's yes or no."""

    def of_log_odds(student: Tensor, teacher: Tensor, **options: object) -> Tensor:
        yes_or_no = (torch.stack([it, torch.zeros_like(it)], -1) for it in (student, teacher))
        return loss(*yes_or_no, **options).sum(dim=-1)  # of (..., classes)

    return {"categorical": loss, "binary": of_log_odds}


reverse_kl = Method(
    card=Card(
        called=("rkl", "minillm"),
        line="KL divergence from the student to the teacher: what it says, the teacher says too.",
        paper=_GKD,
        formula="T^2 KL(softmax(student / T) || softmax(teacher / T))",
        when=(
            "A student too small for all its teacher says, that had better be right about less: "
            "text that it will write, for one. It covers fewer of the likely answers."
        ),
        cost=5.1,
        setting="temperature = 1, where T^2 plays no part; ports for text have 0.9 without it.",
        notes=_NOTES,
    ),
    dense=_spaces(losses.reverse_kl),
    sparse=of_density(losses.sparse_reverse_kl),
    promises=TRUE_TO_SIZE,
)


class JensenShannonOptions(Options):
    """What the mixture is of."""

    teacher_share: Annotated[float, Field(gt=0, lt=1)] = 0.5
    """Of the teacher in the mixture, above 0 and below 1. The loss vanishes at both ends, towards
    soft_targets near 0 and reverse_kl near 1."""


jensen_shannon = Method(
    card=Card(
        called=("jsd", "gkd"),
        line="Both sides against their mixture (generalised JSD): between the two KL divergences.",
        paper=_GKD,
        formula=(
            "T^2 (teacher_share KL(p || m) + (1 - teacher_share) KL(q || m)), m = teacher_share p "
            "+ (1 - teacher_share) q, p and q the teacher's and the student's softened "
            "probabilities"
        ),
        when="Neither KL divergence is right, or one of them is unstable: this one is bounded.",
        cost=15.5,
        setting="temperature = 1, where T^2 plays no part; ports for text have 0.9 without it.",
        notes=(
            "Near equality it is teacher_share (1 - teacher_share) times as large as soft targets, "
            f"a quarter by default: raise soft_weight beside labels. {_NOTES}"
        ),
    ),
    dense=_spaces(losses.jensen_shannon),
    sparse=of_density(losses.sparse_jensen_shannon),
    options=JensenShannonOptions,
)


class SkewOptions(Options):
    """How much is mixed in."""

    skew: Annotated[float, Field(ge=0, lt=1)] = 0.1
    """From 0, where it is the plain divergence, to below 1, where it vanishes."""


skew_kl = Method(
    card=Card(
        called=("distillm",),
        line="KL divergence from the teacher to the student with some of the teacher mixed in.",
        paper=_DISTILLM,
        formula="T^2 KL(p || skew p + (1 - skew) q), p the teacher, q the student, softened",
        when="Soft targets, where single samples pull too hard: its gradient is bounded.",
        cost=11.0,
        setting="temperature = 1, skew = 0.1.",
        notes=_NOTES,
    ),
    dense=_spaces(losses.skew_kl),
    sparse=of_density(losses.sparse_skew_kl),
    options=SkewOptions,
)

skew_reverse_kl = Method(
    card=Card(
        line="KL divergence from the student to the teacher with some of the student mixed in.",
        paper=_DISTILLM,
        formula="T^2 KL(q || (1 - skew) p + skew q), p the teacher, q the student, softened",
        when="As reverse_kl, which has no bound where the teacher excludes what the student says.",
        cost=11.8,
        setting="temperature = 1, skew = 0.1.",
        notes=_NOTES,
    ),
    dense=_spaces(losses.skew_reverse_kl),
    sparse=of_density(losses.sparse_skew_reverse_kl),
    options=SkewOptions,
)

total_variation = Method(
    card=Card(
        called=("tvd",),
        line="Half the sum of the differences in probability: bounded, and the same both ways.",
        paper=Paper(authors="Wen et al.", year=2023, link="https://arxiv.org/abs/2307.15190"),
        formula="T^2 1/2 sum over c of |p_c - q_c|, p the teacher, q the student, softened",
        when="Teachers that are very wrong on some samples: no sample can pull without bound.",
        cost=4.6,
        setting="temperature = 1; the paper has no T^2, with which the gradient grows with T.",
        notes=f"It has a kink at equality, so that it does not settle: let the rate fall. {_NOTES}",
    ),
    dense=_spaces(losses.total_variation),
    sparse=of_density(losses.sparse_total_variation),
    promises=DISTANCE - {"stationary at equality"},
)


class AlphaBetaOptions(Options):
    """Where between the corners of the family."""

    teacher_power: NotNegative = 0.8
    """0 or more: the larger, the more the teacher's likely classes count; at 0, all alike."""
    student_power: NotNegative = 0.3
    """0 or more: the larger, the more the student's likely classes count; at 0, all alike."""

    @model_validator(mode="after")
    def _is_a_divergence(self) -> "AlphaBetaOptions":
        one_above_zero(teacher_power=self.teacher_power, student_power=self.student_power)
        return self


alpha_beta = Method(
    card=Card(
        called=("abkd",),
        line="A family of divergences (ABKD) with both KL divergences at two of its corners.",
        paper=Paper(authors="Wang et al.", year=2025, link="https://arxiv.org/abs/2505.04560"),
        formula=(
            "T^2 / (a b) sum over c of (a / (a + b) p^(a+b) + b / (a + b) q^(a+b) - p^a q^b), a = "
            "teacher_power, b = student_power, p the teacher, q the student, softened"
        ),
        when=(
            "There is time to search between soft_targets, at powers (1, 0), and reverse_kl, at "
            "(0, 1)."
        ),
        cost=26.5,
        setting="temperature = 1; powers (0.8, 0.3) are those of its code for images.",
        notes=(
            "Where the powers do not sum to 1 the size of the loss changes with the number of "
            f"classes. {_NOTES}"
        ),
    ),
    dense=_spaces(losses.alpha_beta),
    sparse=of_density(losses.sparse_alpha_beta),
    options=AlphaBetaOptions,
)
