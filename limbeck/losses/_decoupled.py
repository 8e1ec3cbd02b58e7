"""Decoupled soft targets (Zhao et al., 2022, https://arxiv.org/abs/2203.08679)."""

import torch
from torch import Tensor

from limbeck._shapes import check_leading_shape
from limbeck.losses._soft_targets import LOWEST, log_probabilities, relative_entropy


def decoupled_soft_targets(
    student_logits: Tensor,
    teacher_logits: Tensor,
    labels: Tensor,
    *,
    target_weight: float = 1.0,
    others_weight: float = 8.0,
    temperature: float = 4.0,
) -> Tensor:
    r"""Soft targets in two parts: the label's class against all others, and among these others.

    With $b = (p_y, 1 - p_y)$ and $\hat p$ the distribution among the classes other than the label
    $y$, computes $T^2 (\alpha \, KL(b^t \,\|\, b^s) + \beta \, KL(\hat p^t \,\|\, \hat p^s))$.
    `soft_targets` is the same with $\alpha = 1$ and $\beta = 1 - p^t_y$,
    which is small just where the teacher is sure.

    We take logarithms of sums where the official code takes the logarithm of a probability, which
    is infinite once it underflows; and there is no warm-up, which is a schedule's matter.

    Args:
        student_logits: $s$, shape `(..., classes)`.
        teacher_logits: $t$, shape `(..., classes)`. No gradient flows into it.
        labels: $y$ in 0..classes - 1, shape `(...)`, int64.
        target_weight: $\alpha$, 0 or more; 0 leaves the label's class out.
        others_weight: $\beta$, 0 or more; 0 leaves the others out. The paper takes 8 for students
            that are like their teacher, and less, down to 2, for others.
        temperature: $T > 0$, as in `soft_targets`.

    Returns:
        One loss per row, in nats times $T^2$, shape `(...)`.

    Raises:
        OptionError: `temperature` is not above 0.
        ShapeError: The shapes do not fit.
    """
    check_leading_shape(last="classes", student_logits=student_logits, labels=labels)
    student, teacher = log_probabilities(student_logits, teacher_logits, temperature=temperature)
    student_target, student_others = _decoupled(student, labels)
    teacher_target, teacher_others = _decoupled(teacher, labels)
    target = relative_entropy(teacher_target, student_target)
    student_others, teacher_others, _ = among_others(student_others, teacher_others)
    others = relative_entropy(teacher_others, student_others)
    return temperature**2 * (target_weight * target + others_weight * others)


def among_others(student: Tensor, teacher: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    r"""Both sides' log-probabilities among the classes that are left, and where nothing is.

    Where the teacher leaves the others nothing, nothing is said of how they differ: both sides are
    uniform then, without a gradient.

    Args:
        student: Logits, `(..., classes)`, $-\infty$ at the label's class.
        teacher: The same of the teacher.

    Returns:
        `(..., classes)` twice, and bool `(..., 1)`.
    """
    nothing = (teacher == -torch.inf).all(dim=-1, keepdim=True)
    student, teacher = student.masked_fill(nothing, 0.0), teacher.masked_fill(nothing, 0.0)
    return student.log_softmax(dim=-1), teacher.log_softmax(dim=-1), nothing


def _decoupled(log_probability: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Logarithms: `(..., 2)` of the label's class and all others; `(..., classes)` of each other.

    The label's class is one of impossible others.
    """
    target = log_probability.gather(-1, labels[..., None])  # (..., 1)
    others = log_probability.scatter(-1, labels[..., None], -torch.inf)
    rest = others.clamp_min(LOWEST).logsumexp(dim=-1, keepdim=True)
    return torch.cat([target, rest], dim=-1), others
