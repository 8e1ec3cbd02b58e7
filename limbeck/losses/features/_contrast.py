"""Contrastive representation distillation (Tian et al., 2020, https://arxiv.org/abs/1910.10699)."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from limbeck._errors import OptionError, ShapeError
from limbeck._shapes import check_positive, check_same_shape
from limbeck.losses._products import scalar_products
from limbeck.losses.features._common import VECTORS, both, check_axes, unit


def contrastive_representation(
    student: Tensor,
    teacher: Tensor,
    negatives: Tensor,
    *,
    log_normaliser: float | Tensor,
    num_memory: int,
    temperature: float = 0.07,
) -> Tensor:
    r"""Whether the student tells its sample's teacher from those of other samples (CRD).

    With $h(x) = e^{v^\top x / \tau} / Z$ of directions and $c = K / N$, computes $-\log
    \frac{h(t)}{h(t) + c} - \sum_k \log \frac{c}{h(n_k) + c}$: noise-contrastive estimation with
    $K$ negatives of $N$. All is done with logarithms, where the official code divides by what may
    be 0 and so adds $10^{-7}$.

    The paper adds the same with the roles changed, which trains the teacher's embedding: call it
    again with the teacher's embedding first and negatives of the student's. Only what is given
    first takes a gradient.

    Args:
        student: $v$, the embedding, shape `(batch, features)`.
        teacher: $t$, of the same samples, of the same shape. No gradient flows into it.
        negatives: $n_k$, the teacher's embeddings of other samples, shape `(batch, negatives,
            features)`, or `(negatives, features)` of the same for every row: one product of
            matrices, and no copy for each row. No gradient flows into them.
        log_normaliser: $\log Z$, once set, as from `contrastive_log_normaliser`, then kept.
        num_memory: $N$, 1 or more: how many samples the negatives are drawn from.
        temperature: $\tau > 0$. Near 0 only the most alike negatives count; as it grows all count
            alike. It softens no answers, so that its square is no factor here.

    Returns:
        One loss per row, in nats, above 0 also at equality, shape `(batch,)`.

    Raises:
        OptionError: An option is out of its range.
        ShapeError: The shapes do not fit.
    """
    _check_memory(num_memory)
    positive, other = _log_similarities(student, teacher, negatives, temperature)
    count = negatives.shape[-2]
    if not count:
        raise ShapeError(f"there must be negatives: negatives {tuple(negatives.shape)}.")
    # log(c Z), for log(h / c) is a similarity less it
    log_constant = math.log(count / num_memory) + log_normaliser
    return F.softplus(log_constant - positive) + F.softplus(other - log_constant).sum(dim=1)


def contrastive_log_normaliser(
    student: Tensor,
    teacher: Tensor,
    negatives: Tensor,
    *,
    num_memory: int,
    temperature: float = 0.07,
) -> Tensor:
    r"""$\log Z$ as the official code sets it, once, from the first batch.

    $Z = N \, \overline{e^{v^\top x / \tau}}$, the mean over the batch of the positives and
    negatives.

    Args:
        student: $v$, shape `(batch, features)`.
        teacher: Of the same shape.
        negatives: Shape `(batch, negatives, features)`, or `(negatives, features)`.
        num_memory: $N$, 1 or more.
        temperature: $\tau > 0$, as in the loss.

    Returns:
        One number without gradient, shape `()`.

    Raises:
        OptionError: An option is out of its range.
        ShapeError: The shapes do not fit, or there is no row.
    """
    _check_memory(num_memory)
    positive, other = _log_similarities(student.detach(), teacher, negatives, temperature)
    if not len(positive):
        raise ShapeError("the normaliser is of a batch's mean: give at least one row.")
    count = positive.numel() + other.numel()
    total = other.flatten().logsumexp(dim=0).logaddexp(positive.logsumexp(dim=0))
    return total - math.log(count) + math.log(num_memory)


def _check_memory(num_memory: int) -> None:
    if num_memory < 1:
        raise OptionError(f"num_memory must be 1 or more, got {num_memory}.")


def _log_similarities(
    student: Tensor, teacher: Tensor, negatives: Tensor, temperature: float
) -> tuple[Tensor, Tensor]:
    """Cosines by the temperature: `(batch,)` of the positives and `(batch, negatives)`."""
    check_positive(temperature=temperature)
    check_axes(VECTORS, student=student, teacher=teacher)
    check_same_shape(student=student, teacher=teacher)
    is_shared = negatives.dim() == 2
    if not is_shared:
        check_axes("batch, negatives, features", negatives=negatives)
    batch = len(student) if is_shared else len(negatives)
    if (batch, negatives.shape[-1]) != student.shape:
        raise ShapeError(
            "negatives must be (batch, negatives, features) with the student's batch and features, "
            "or (negatives, features), the same for every row: student "
            f"{tuple(student.shape)}, negatives {tuple(negatives.shape)}."
        )
    _, others = both(student, negatives)
    student, teacher = both(student, teacher)
    anchor = unit(student)
    positive = (anchor * unit(teacher)).sum(dim=1)
    # Directions of the negatives would be a second copy of them, the largest tensor here.
    length = torch.linalg.vector_norm(others, dim=-1)  # (batch, negatives), or (negatives,)
    others = others.to(anchor.dtype)
    if is_shared:
        other = scalar_products(anchor, others)
    else:
        other = scalar_products(anchor[:, None], others)[:, 0]
    other = other / length.masked_fill(length == 0, 1.0)
    return positive / temperature, other / temperature
