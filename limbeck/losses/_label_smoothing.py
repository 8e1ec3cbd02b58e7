"""What labels alone can say softly: label smoothing, and a teacher that is made from the label.

Both are what a control can have without a teacher: a method that gains no more than these gained
from softness, and not from what its teacher knows.
"""

import math

import torch
from torch import Tensor

from limbeck._errors import OptionError
from limbeck._shapes import check_leading_shape
from limbeck.losses._soft_targets import at_least_float32, soft_targets


def label_smoothing(student_logits: Tensor, labels: Tensor, *, smoothing: float = 0.1) -> Tensor:
    r"""Cross-entropy towards labels of which some mass is spread over all classes.

    Computes $-(1 - \epsilon) \log q_y - \frac{\epsilon}{C} \sum_c \log q_c$ (Szegedy et al., 2016,
    https://arxiv.org/abs/1512.00567), the label's class being one of the $C$. The twin of
    `cross_entropy` for a control that shall be as soft as its student, without a teacher. No
    student comes below the entropy of the smoothed label.

    Args:
        student_logits: $s$, shape `(..., classes)`. A class of $-\infty$ is none.
        labels: $y$ in 0..classes - 1, shape `(...)`, int64.
        smoothing: $\epsilon$, from 0, where it is `cross_entropy`, to 1, where the label is lost.

    Returns:
        One loss per row, in nats, shape `(...)`.

    Raises:
        OptionError: `smoothing` is out of its range.
        ShapeError: The shapes do not fit.
    """
    if not 0 <= smoothing <= 1:
        raise OptionError(f"smoothing must be from 0 to 1, got {smoothing}.")
    check_leading_shape(last="classes", student_logits=student_logits, labels=labels)
    log_q = torch.log_softmax(at_least_float32(student_logits), dim=-1)
    none = log_q == -torch.inf
    mean = log_q.masked_fill(none, 0.0).sum(dim=-1) / (~none).sum(dim=-1)
    target = log_q.gather(-1, labels[..., None])[..., 0]
    return -(1 - smoothing) * target - smoothing * mean


def teacher_free_soft_targets(
    student_logits: Tensor,
    labels: Tensor,
    *,
    target_probability: float = 0.99,
    temperature: float = 20.0,
) -> Tensor:
    r"""Soft targets from a virtual teacher: sure of the label, the same for all other classes.

    The manually designed regulariser of Tf-KD (Yuan et al., 2020,
    https://arxiv.org/abs/1909.11723). The virtual teacher gives the label $a$ and each of the
    other $C - 1$ classes $(1 - a) / (C - 1)$; this is `soft_targets` of its logarithm. At the
    temperature 1 its gradient is that of label smoothing with
    $\epsilon = (1 - a) \, C / (C - 1)$.

    The official code divides the virtual teacher's *probabilities* by $T$ and takes the softmax of
    these, which is all but uniform, leaves the student at the temperature 1, has no $T^2$, and
    takes the mean over classes. We soften both sides, as a teacher's are.

    Args:
        student_logits: $s$, shape `(..., classes)`. A class of $-\infty$ is none.
        labels: In 0..classes - 1, shape `(...)`, int64.
        target_probability: $a$, above 0 to 1; $1 / C$ is a uniform teacher, and 1 is one that
            excludes every other class.
        temperature: $T > 0$, as in `soft_targets`; 20 and 40 in the official configurations.

    Returns:
        One loss per row, in nats times $T^2$, shape `(...)`.

    Raises:
        OptionError: An option is out of its range.
        ShapeError: The shapes do not fit.
    """
    if not 0 < target_probability <= 1:
        raise OptionError(f"target_probability must be above 0 to 1, got {target_probability}.")
    check_leading_shape(last="classes", student_logits=student_logits, labels=labels)
    logits = at_least_float32(student_logits.detach())
    none = logits == -torch.inf  # (..., classes)
    others = ((~none).sum(dim=-1, keepdim=True) - 1).clamp_min(1)
    each = ((1 - target_probability) / others.to(logits.dtype)).log().expand_as(logits)
    teacher = each.masked_fill(none, -torch.inf)
    teacher = teacher.scatter(-1, labels[..., None], math.log(target_probability))
    return soft_targets(student_logits, teacher, temperature=temperature)
