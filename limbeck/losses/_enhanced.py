"""Adaptive target enhancement, of OFA-KD (Hao et al., 2023, https://arxiv.org/abs/2310.19444)."""

import torch
from torch import Tensor

from limbeck._errors import OptionError
from limbeck._shapes import check_leading_shape
from limbeck.losses._soft_targets import log_probabilities


def enhanced_soft_cross_entropy(
    student_logits: Tensor,
    teacher_logits: Tensor,
    labels: Tensor,
    *,
    exponent: float = 1.0,
    temperature: float = 1.0,
) -> Tensor:
    r"""Soft cross-entropy with more weight on the label's class, the more the surer the teacher is.

    With $1_c$ 1 at the label and 0 elsewhere, computes
    $-T^2 \sum_c ((p_c + 1_c)^\gamma - 1_c) \log q_c$: the official code's formula, which lowers the
    weights of all other classes to $p_c^\gamma$ as it raises the label's to $(1 + p_y)^\gamma - 1$.
    The weights no longer sum to 1, and the minimum is where the student has their proportions. The
    official code has no $T^2$ and is only run at $T = 1$.

    Made for a teacher of another architecture, whose distribution among the wrong classes says less
    to the student. The paper adds it at several depths, each with its own small classifier.

    Args:
        student_logits: $s$, shape `(..., classes)`.
        teacher_logits: $t$, shape `(..., classes)`. No gradient flows into it.
        labels: In 0..classes - 1, shape `(...)`, int64.
        exponent: $\gamma$, 1 or more; 1 is `soft_cross_entropy`, and as it grows only the label
            counts.
        temperature: $T > 0$, as in `soft_targets`.

    Returns:
        One loss per row, in nats times $T^2$, shape `(...)`.

    Raises:
        OptionError: An option is out of its range.
        ShapeError: The shapes do not fit.
    """
    if not 1 <= exponent < float("inf"):
        raise OptionError(f"exponent must be 1 or more and finite, got {exponent}.")
    check_leading_shape(last="classes", student_logits=student_logits, labels=labels)
    student, teacher = log_probabilities(student_logits, teacher_logits, temperature=temperature)
    at_label = torch.arange(student.shape[-1], device=labels.device) == labels[..., None]
    p = teacher.exp()  # (..., classes)
    weights = torch.where(at_label, torch.expm1(exponent * torch.log1p(p)), p**exponent)
    return -(temperature**2) * (weights * student.masked_fill(weights == 0, 0.0)).sum(dim=-1)
