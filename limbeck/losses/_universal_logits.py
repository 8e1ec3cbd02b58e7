"""Universal logit distillation, ULD (Boizard et al., 2024, https://arxiv.org/abs/2402.12030)."""

import torch
import torch.nn.functional as F
from torch import Tensor

from limbeck._errors import ShapeError
from limbeck._shapes import check_positive
from limbeck.losses._soft_targets import at_least_float32


def universal_logit_distance(
    student_logits: Tensor, teacher_logits: Tensor, *, temperature: float = 1.0
) -> Tensor:
    r"""Distance of two sorted distributions, for vocabularies that differ.

    Computes $T^2 \sum_k |p_{(k)} - q_{(k)}|$ with $p_{(k)}$ the $k$-th largest probability, 0
    beyond the smaller vocabulary: the Wasserstein distance where each move costs the same. Between
    0 and $2 T^2$. Which class is which is lost, so it is 0 for every permutation of the teacher's
    classes, and only says how sure to be; use it beside labels. Where the vocabularies are one,
    any other loss says more.

    It has no form for sparse rows: how the tail's probabilities are sorted, and so what most of the
    student's ones are compared with, is what such rows leave out.

    It is of first order in the difference, as `total_variation`, so that $T^2$, the factor of all
    its siblings, lets its gradient grow with $T$; the paper takes $T = 1$.

    Args:
        student_logits: $s$, shape `(..., student classes)`.
        teacher_logits: $t$, shape `(..., teacher classes)`. No gradient flows into it.
        temperature: $T > 0$, as in `soft_targets`.

    Returns:
        One loss per row, shape `(...)`.

    Raises:
        OptionError: `temperature` is not above 0.
        ShapeError: The leading shapes differ.
    """
    check_positive(temperature=temperature)
    if student_logits.shape[:-1] != teacher_logits.shape[:-1]:
        raise ShapeError(
            "student_logits and teacher_logits must have one leading shape: "
            f"{tuple(student_logits.shape[:-1])}, {tuple(teacher_logits.shape[:-1])}."
        )
    student = _sorted_probabilities(student_logits, temperature)  # (..., student classes)
    teacher = _sorted_probabilities(teacher_logits.detach(), temperature)
    size = max(student.shape[-1], teacher.shape[-1])
    student, teacher = (F.pad(side, (0, size - side.shape[-1])) for side in (student, teacher))
    return temperature**2 * (student - teacher).abs().sum(dim=-1)


def _sorted_probabilities(logits: Tensor, temperature: float) -> Tensor:
    probabilities = torch.softmax(at_least_float32(logits) / temperature, dim=-1)
    return probabilities.sort(dim=-1, descending=True).values
