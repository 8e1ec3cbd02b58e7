"""Soft targets weighted by sample, WSLD (Zhou et al., 2021, https://arxiv.org/abs/2102.00650)."""

import torch
from torch import Tensor

from limbeck.losses._soft_targets import soft_targets
from limbeck.losses._supervised import cross_entropy


def weighted_soft_targets(
    student_logits: Tensor,
    teacher_logits: Tensor,
    labels: Tensor,
    *,
    temperature: float = 4.0,
) -> Tensor:
    r"""Soft targets, less where the student already does better on the label than the teacher.

    With $CE^s$ and $CE^t$ the two sides' cross-entropy towards the label at temperature 1, computes
    $(1 - \exp(-CE^s / CE^t)) \, T^2 \, KL(softmax(t / T) \,\|\, softmax(s / T))$. The weight
    is 0 where the student is sure of the label, nears 1 where the teacher knows it far better, and
    is held fixed: no gradient flows through it.

    The official code multiplies the cross-entropy of the soft targets, of which the gradient is the
    same, and adds $10^{-7}$ to $CE^t$. We take the divergence, which is 0 at equality whatever the
    weight is. Its factor of 2.25 for CIFAR-100, and 2.5 for ImageNet at $T = 2$, is the caller's.

    Args:
        student_logits: $s$, shape `(..., classes)`.
        teacher_logits: $t$, shape `(..., classes)`. No gradient flows into it.
        labels: In 0..classes - 1, shape `(...)`, int64.
        temperature: $T > 0$, as in `soft_targets`.

    Returns:
        One loss per row, in nats times $T^2$, shape `(...)`.

    Raises:
        OptionError: `temperature` is not above 0.
        ShapeError: The shapes do not fit.
    """
    distance = soft_targets(student_logits, teacher_logits, temperature=temperature)
    of_student = cross_entropy(student_logits.detach(), labels)  # (...)
    of_teacher = cross_entropy(teacher_logits.detach(), labels)
    # A teacher that is sure has 0, and a student that is sure as well is to have the weight 0.
    ratio = of_student / of_teacher.clamp_min(torch.finfo(of_teacher.dtype).tiny)
    return -torch.expm1(-ratio) * distance
