"""Correlation of probabilities, DIST (Huang et al., 2022, https://arxiv.org/abs/2205.10536)."""

import torch
from torch import Tensor

from limbeck.losses._soft_targets import LOWEST, log_probabilities


def correlation_distance(
    student_logits: Tensor,
    teacher_logits: Tensor,
    *,
    inter_class_weight: float = 1.0,
    intra_class_weight: float = 1.0,
    temperature: float = 1.0,
) -> Tensor:
    r"""One less Pearson's correlation of the probabilities, along each row and along each class.

    With $q, p$ the two sides' softened probabilities of all rows, computes
    $T^2 (\beta (1 - \rho(q_i, p_i)) + \gamma (1 - mean_c \, \rho(q_{\cdot c}, p_{\cdot c})))$: how
    row $i$ ranks the classes, its own share, and how each class ranks the rows, which belongs to
    the batch and is the same for every row. The mean over rows is the paper's loss, which weighs
    it twice beside the labels' there. Both distances are between 0 and 2 and ask for an increasing
    line from one side to the other, where a divergence asks for equality: kinder to a student far
    smaller than its teacher.

    Where a row, or a class over the batch, is the same throughout on both sides, they are at
    distance 0; if on one side only, at 1, and without a gradient, for a correlation has none there.
    So one row alone has no relation along its classes.

    The official code adds $10^{-8}$ to the product of the norms, which takes classes of small
    probabilities out, down to a distance of 1 at equality. We add nothing, and scale each class by
    its largest probability first, so that no square underflows.

    Args:
        student_logits: $s$, shape `(..., classes)`. All rows, of any leading shape, are one batch.
        teacher_logits: $t$, shape `(..., classes)`. No gradient flows into it.
        inter_class_weight: $\beta$, 0 or more; 0 leaves the relation along rows out.
        intra_class_weight: $\gamma$, 0 or more; 0 leaves the relation along classes out.
        temperature: $T > 0$, as in `soft_targets`; the official configurations have 4 for
            CIFAR-100 and 1 for ImageNet.

    Returns:
        One loss per row, shape `(...)`.

    Raises:
        OptionError: `temperature` is not above 0.
        ShapeError: The two shapes differ.
    """
    student, teacher = log_probabilities(student_logits, teacher_logits, temperature=temperature)
    leading = student.shape[:-1]
    if not leading.numel():
        return student.sum(dim=-1)
    student = student.reshape(leading.numel(), student.shape[-1])  # (rows, classes)
    teacher = teacher.reshape(student.shape)
    counts = (student > -torch.inf) | (teacher > -torch.inf)
    inter = _distance(student, teacher, counts, dim=1)  # (rows,)
    intra = _distance(student, teacher, counts, dim=0).sum() / counts.any(dim=0).sum()
    both = inter_class_weight * inter + intra_class_weight * intra
    return temperature**2 * both.reshape(leading)


def _distance(student: Tensor, teacher: Tensor, counts: Tensor, *, dim: int) -> Tensor:
    """One less the correlation along `dim`, from logarithms; 0 where both sides are constant."""
    of_student, student_varies = _standard(student, counts, dim)
    of_teacher, teacher_varies = _standard(teacher, counts, dim)
    distance = 1 - (of_student * of_teacher).sum(dim=dim)
    return distance.masked_fill(~(student_varies | teacher_varies), 0.0)


def _standard(log_probability: Tensor, counts: Tensor, dim: int) -> tuple[Tensor, Tensor]:
    """Probabilities along `dim`, centred and of norm 1, or 0; and, without it, where they vary."""
    largest = log_probability.detach().amax(dim=dim, keepdim=True).clamp_min(LOWEST)
    scaled = (log_probability - largest).exp()  # at most 1; a correlation does not see the factor
    count = counts.sum(dim=dim, keepdim=True)
    mean = scaled.sum(dim=dim, keepdim=True) / count.clamp_min(1)
    centred = (scaled - mean).masked_fill(~counts, 0.0)
    squares = centred.square().sum(dim=dim, keepdim=True)
    constant = squares <= count * (8 * torch.finfo(scaled.dtype).eps) ** 2  # rounding
    # The square root of 0 has no gradient.
    norm = squares.masked_fill(constant, 1.0).sqrt()
    return (centred / norm).masked_fill(constant, 0.0), ~constant.squeeze(dim)
