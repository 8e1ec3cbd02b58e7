"""Logit regression: the teacher's logits themselves."""

import torch
from torch import Tensor

from limbeck import losses
from limbeck.methods._method import Card, Method, Paper, without_temperature


def _centred_distance(student: Tensor, teacher: Tensor) -> Tensor:
    return losses.logit_regression(_centred(student), _centred(teacher))


def _centred(logits: Tensor) -> Tensor:
    """Each row less its mean, which a softmax does not see; classes of -inf stay so."""
    known = logits > -torch.inf  # (..., classes)
    count = known.sum(dim=-1, keepdim=True).clamp_min(1)
    return logits - logits.masked_fill(~known, 0.0).sum(dim=-1, keepdim=True) / count


logit_regression = Method(
    card=Card(
        called=("logit_matching",),
        line="Squared distance of the logits: the teacher's every opinion, also on the unlikely.",
        paper=Paper(authors="Ba and Caruana", year=2014, link="https://arxiv.org/abs/1312.6184"),
        formula="1/2 sum over c of (student_c - teacher_c)^2, each row less its mean",
        when=(
            "A teacher whose probabilities are all but 0 and 1, and codecs that keep small "
            "probabilities well: a logit is only as exact as its probability."
        ),
        cost=8.6,
        hurt=2.1,
        setting="hard_weight = 0; there is no temperature: T has no part in it.",
        notes=(
            "A row's mean is lost where probabilities are stored, so both sides are centred: the "
            "paper's loss is of raw logits. It sums over classes: with many of them lower "
            "soft_weight. Log-odds of a binary head and numbers of a real one are compared as "
            "they are."
        ),
    ),
    dense={
        "categorical": without_temperature(_centred_distance),
        "binary": without_temperature(losses.logit_regression),
        "real": without_temperature(losses.logit_regression),
    },
)
