"""Transformers: what tokens are to each other, against the teacher's.

MiniLM (Wang et al., 2020, https://arxiv.org/abs/2002.10957; version 2, 2021,
https://arxiv.org/abs/2012.15828), TinyBERT (Jiao et al., 2020, https://arxiv.org/abs/1909.10351).
"""

import math

import torch
from torch import Tensor

from limbeck._errors import ShapeError
from limbeck._shapes import check_same_shape
from limbeck.losses._products import scalar_products
from limbeck.losses._soft_targets import relative_entropy
from limbeck.losses.features._common import both, check_agree, check_axes

HEADS = "batch, heads, tokens, width"


def attention_relations(
    student_queries: Tensor,
    student_keys: Tensor,
    teacher_queries: Tensor,
    teacher_keys: Tensor,
    *,
    mask: Tensor | None = None,
) -> Tensor:
    r"""KL divergence between where the teacher's tokens attend and where the student's do.

    For each token the mean over heads of $KL(A^t \,\|\, A^s)$ with $A = softmax(Q K^\top /
    \sqrt{d})$ (MiniLM, of the last layer). The two sides' widths $d$ may differ, the number of
    heads may not: cut the concatenated queries and keys into as many on both sides, as version 2
    does.

    Args:
        student_queries: $Q$, shape `(batch, heads, tokens, width)`.
        student_keys: $K$, of the same shape.
        teacher_queries: Of the same batch, heads and tokens. No gradient flows into either of the
            teacher's.
        teacher_keys: Of the shape of `teacher_queries`.
        mask: True for each token that counts, bool, shape `(batch, tokens)`; if left out, all do.
            No other token is attended to.

    Returns:
        One loss per token, in nats, exactly 0 where it does not count, shape `(batch, tokens)`:
        take `.mean()`, or `[mask].mean()`.

    Raises:
        ShapeError: The shapes do not fit.
    """
    check_axes(HEADS, student_queries=student_queries, teacher_queries=teacher_queries)
    check_same_shape(student_queries=student_queries, student_keys=student_keys)
    check_same_shape(teacher_queries=teacher_queries, teacher_keys=teacher_keys)
    check_agree(
        "batch, number of heads and number of tokens",
        (0, 1, 2),
        student_queries=student_queries,
        teacher_queries=teacher_queries,
    )
    student_queries, teacher_queries = both(student_queries, teacher_queries)
    student_keys, teacher_keys = both(student_keys, teacher_keys)
    student = _scores(student_queries, student_keys)
    teacher = _scores(teacher_queries, teacher_keys)
    if mask is None:
        return _divergence(student, teacher)
    if mask.shape != (len(student), student.shape[2]):
        raise ShapeError(
            f"mask must be (batch, tokens), expected {(len(student), student.shape[2])}, got "
            f"{tuple(mask.shape)}."
        )
    unseen = ~mask[:, None, None]  # (batch, 1, 1, tokens)
    student = student.masked_fill(unseen, -torch.inf)
    teacher = teacher.masked_fill(unseen, -torch.inf)
    # Where no token counts there is nothing to attend to, and no number: that goes out here too.
    return _divergence(student, teacher).masked_fill(~mask, 0.0)


def value_relations(
    student_values: Tensor, teacher_values: Tensor, *, mask: Tensor | None = None
) -> Tensor:
    r"""KL divergence between how alike the teacher's tokens are in their values and the student's.

    As `attention_relations`, with $softmax(V V^\top / \sqrt{d})$. Version 2 compares queries and
    keys in this way as well.

    Args:
        student_values: $V$, shape `(batch, heads, tokens, width)`.
        teacher_values: Of the same batch, heads and tokens. No gradient flows into it.
        mask: True for each token that counts, bool, shape `(batch, tokens)`; if left out, all do.

    Returns:
        One loss per token, in nats, exactly 0 where it does not count, shape `(batch, tokens)`.

    Raises:
        ShapeError: The shapes do not fit.
    """
    return attention_relations(
        student_values, student_values, teacher_values, teacher_values, mask=mask
    )


def attention_scores(student: Tensor, teacher: Tensor, *, lowest: float = -100.0) -> Tensor:
    r"""Mean squared error of attention scores before the softmax, $Q K^\top / \sqrt{d}$.

    TinyBERT's loss of a layer; its other half is `hints` of the hidden states, after the projection
    to the teacher's width.

    Args:
        student: Shape `(batch, heads, tokens, tokens)`, of the layer that is paired with the
            teacher's.
        teacher: Of the same shape. No gradient flows into it.
        lowest: A score at or below it is a mask's and counts as 0, as in the official code; minus
            infinity leaves only scores of minus infinity out.

    Returns:
        One loss per row, the mean over heads and pairs of tokens, shape `(batch,)`.

    Raises:
        ShapeError: The two shapes differ, or are not of four axes.
    """
    check_axes("batch, heads, tokens, tokens", student=student, teacher=teacher)
    check_same_shape(student=student, teacher=teacher)
    student, teacher = both(student, teacher)
    gap = student.masked_fill(student <= lowest, 0.0) - teacher.masked_fill(teacher <= lowest, 0.0)
    return gap.square().mean(dim=(1, 2, 3))


def _scores(queries: Tensor, keys: Tensor) -> Tensor:
    """`(batch, heads, tokens, tokens)`."""
    return scalar_products(queries, keys) / math.sqrt(queries.shape[3])


def _divergence(student: Tensor, teacher: Tensor) -> Tensor:
    """The mean over heads of the KL divergence from the teacher, `(batch, tokens)`."""
    return relative_entropy(teacher.log_softmax(dim=-1), student.log_softmax(dim=-1)).mean(dim=1)
