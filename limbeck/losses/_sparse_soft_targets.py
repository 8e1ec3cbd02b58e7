"""Soft targets of which only some classes are named, the rest as one bucket of exact mass.

The bucket is the "ghost token" of stored top-k targets: a true KL divergence between the coarser
distributions, so it is never negative, and 0 at equality; it says nothing of what is inside the
bucket. Renormalising the named classes instead would teach that all others are impossible.
"""

import torch
from torch import Tensor

from limbeck._errors import ShapeError
from limbeck._shapes import check_leading_shape, check_positive, check_same_shape
from limbeck.losses._soft_targets import at_least_float32


def sparse_soft_targets(
    student_logits: Tensor,
    ids: Tensor,
    probabilities: Tensor,
    tail: Tensor,
    *,
    temperature: float = 4.0,
) -> Tensor:
    r"""KL divergence over the named classes and the bucket of all others.

    With $p_i$ and $q_i$ the teacher's and the student's softened probabilities, $S$ the named
    classes and $p_R, q_R$ the mass of the others: $T^2 (\sum_{i \in S} p_i \log(p_i / q_i) +
    p_R \log(p_R / q_R))$. It is at most `soft_targets` of the same rows, and equal to it when every
    class is named.

    Args:
        student_logits: $s$, shape `(..., classes)`.
        ids: The named classes, shape `(..., kept)`, int64, no class twice in a row.
        probabilities: $p_i$ at $T$, shape `(..., kept)`.
        tail: $p_R = 1 - \sum p_i$, shape `(...)`.
        temperature: $T > 0$ that the probabilities were taken at. They cannot be moved to another.

    Returns:
        One loss per row, shape `(...)`.

    Raises:
        OptionError: `temperature` is not above 0.
        ShapeError: The shapes do not fit.
    """
    check_positive(temperature=temperature)
    check_same_shape(ids=ids, probabilities=probabilities)
    check_leading_shape(last="classes", student_logits=student_logits, tail=tail)
    if ids.shape[:-1] != tail.shape:
        raise ShapeError(
            f"ids must be (..., kept) with the leading shape of tail {tuple(tail.shape)}, got "
            f"{tuple(ids.shape)}."
        )
    student = torch.log_softmax(at_least_float32(student_logits) / temperature, dim=-1)
    named = at_least_float32(probabilities.detach())
    rest = at_least_float32(tail.detach())
    if ids.shape[-1] == student_logits.shape[-1]:
        # No class is left for a tail: it is what rounding the probabilities lost.
        named, rest = named / named.sum(dim=-1, keepdim=True), torch.zeros_like(rest)
    inside = _relative_entropy(named, student.gather(-1, ids)).sum(dim=-1)  # (...)
    # Rows without a tail keep their own logits: the logarithm of an empty sum has no gradient.
    others = student.scatter(-1, ids, float("-inf"))  # (..., classes)
    others = torch.where((rest > 0)[..., None], others, student)
    outside = _relative_entropy(rest, torch.logsumexp(others, dim=-1))
    return temperature**2 * (inside + outside)


def _relative_entropy(probability: Tensor, log_other: Tensor) -> Tensor:
    """P log(p / q) of each entry, 0 where p is 0."""
    gap = probability.clamp_min(torch.finfo(probability.dtype).tiny).log() - log_other
    return probability * gap.masked_fill(probability == 0, 0.0)
