"""Losses as users write them, named by tests as "tests.methods.own_losses:NAME"."""

from functools import partial

import torch
import torch.nn.functional as F
from torch import nn

from limbeck.losses import soft_targets as limbeck_soft_targets

SEEN = []
"""What `noted` was given, call by call."""


def kd(student_logits, teacher_logits, temp=4.0, alpha: float = 1.0):
    """Soft targets.

    Written again.
    """
    p = torch.softmax(teacher_logits / temp, -1)
    log_q = torch.log_softmax(student_logits / temp, -1)
    return alpha * temp**2 * F.kl_div(log_q, p, reduction="none").sum(-1)


def teacher_first(teacher_logits, student_logits, temperature, alpha=1):
    return kd(student_logits, teacher_logits, temperature, alpha)


def by_place(student_logits, teacher_logits, tau, /, alpha=1.0):
    return kd(student_logits, teacher_logits, tau, alpha)


def noted(student_logits, teacher_logits, labels, mask=None, *, label_smoothing=0.0):
    SEEN.append((student_logits, teacher_logits, labels))
    assert mask is None
    hard = F.cross_entropy(
        student_logits, labels, label_smoothing=label_smoothing, reduction="none"
    )
    return hard + (student_logits - teacher_logits).square().sum(-1)


def from_labels(logits, labels):
    SEEN.append((logits, labels))
    return F.cross_entropy(logits, labels, reduction="none")


def squares(student_logits, teacher_logits):
    return (student_logits - teacher_logits).square().sum(-1)


def weighed(student_logits, teacher_logits, *, gamma, power: int = 2):
    return gamma * (student_logits - teacher_logits).abs().pow(power).sum(-1)


class Module(nn.Module):
    def forward(self, student_logits, teacher_logits, temperature=1.0):
        return kd(student_logits, teacher_logits, temperature)


class Learning(Module):
    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))


module = Module()
learning = Learning()
bound = module.forward


def mean(student_logits, teacher_logits):
    return squares(student_logits, teacher_logits).mean()


def by_class(student_logits, teacher_logits):
    return (student_logits - teacher_logits).square()


def wide(student_logits, teacher_logits):
    return by_class(student_logits, teacher_logits).sum(-1, keepdim=True)


def total(student_logits, teacher_logits):
    return squares(student_logits, teacher_logits).sum()


def relations(student_logits, teacher_logits):
    return (
        (torch.cdist(student_logits, student_logits) - torch.cdist(teacher_logits, teacher_logits))
        .square()
        .mean(-1)
    )


def relations_in_all(student_logits, teacher_logits):
    return relations(student_logits, teacher_logits).mean()


def mean_of_kd(student_logits, teacher_logits, temperature=None):
    return kd(student_logits, teacher_logits, temperature or 4.0).mean()


def numbers(
    student_logits,
    teacher_logits,
    num_classes,
    hard_weight,
    label_smoothing,
    teacher_weight,
    *,
    _eps=1e-6,
):
    return (
        num_classes
        * hard_weight
        * label_smoothing
        * teacher_weight
        * squares(student_logits, teacher_logits)
    )


def targets(student_logits, target):
    return F.cross_entropy(student_logits, target, reduction="none")


def soft(student_logits, soft_targets):
    return squares(student_logits, soft_targets)


def keras(y_true, y_pred):
    return squares(y_pred, y_true)


def logs(log_student, log_teacher):
    return squares(log_student, log_teacher)


def two_temperatures(
    student_logits, teacher_logits, student_temperature=4.0, teacher_temperature=4.0
):
    return squares(student_logits / student_temperature, teacher_logits / teacher_temperature)


def hidden(student_logits, teacher_logits, _scale):
    return _scale * squares(student_logits, teacher_logits)


def hinted(student_logits, teacher_logits, alpha=1.0, shape=torch.float32):
    return alpha * squares(student_logits, teacher_logits)


hinted.__annotations__["alpha"] = "Nowhere"  # as a hint that is imported for type checkers alone


def of_limbeck(student_logits, teacher_logits):
    return limbeck_soft_targets(student_logits, teacher_logits[:, :-1], temperature=1.0)


half = partial(kd, alpha=0.5)


def right(student_logits, teacher_logits):
    return student_logits.argmax(-1) == teacher_logits.argmax(-1)


def lost(student_logits, teacher_logits):
    return squares(student_logits, teacher_logits)[1:]


def anything(student_logits, teacher_logits, **options):
    return squares(student_logits, teacher_logits)


def with_t(z_s, z_t, t=3.5):
    return kd(z_s, z_t, t)


def number(student_logits, teacher_logits):
    return 1.0


def failing(student_logits, teacher_logits):
    raise ValueError("expected five classes")


def unnamed(a, b):
    return squares(a, b)


def of_probabilities(student_log_probs, teacher_probs):
    return F.kl_div(student_log_probs, teacher_probs, reduction="none").sum(-1)


def masked(student_logits, teacher_logits, mask):
    return squares(student_logits, teacher_logits) * mask


def lonely(student_logits):
    return student_logits.square().sum(-1)
