"""DistilBERT's triple loss (Sanh et al., 2019, https://arxiv.org/abs/1910.01108)."""

from torch import Tensor

from limbeck._shapes import check_leading_shape
from limbeck.losses._soft_targets import soft_targets
from limbeck.losses._supervised import cross_entropy
from limbeck.losses.features._hints import cosine_distance


def distilbert_triple(
    student_logits: Tensor,
    teacher_logits: Tensor,
    labels: Tensor,
    labelled: Tensor,
    student_hidden: Tensor,
    teacher_hidden: Tensor,
    *,
    soft_weight: float = 5.0,
    hard_weight: float = 2.0,
    cosine_weight: float = 1.0,
    temperature: float = 2.0,
) -> Tensor:
    r"""Soft targets, cross-entropy of the masked tokens, and direction of the hidden states.

    $\alpha \, T^2 KL(p \,\|\, q) - \beta \log q_y + \gamma (1 - \cos(h^s, h^t))$: `soft_targets`,
    `cross_entropy` and `cosine_distance`, with the weights of the official training command. Rows
    are the tokens that count; take padding away before. As only some are labelled, the second
    part of these is weighed by rows / labelled rows, so that the mean over rows holds the mean over
    labelled rows, as in the official code.

    Args:
        student_logits: Shape `(..., classes)`.
        teacher_logits: Of the same shape. No gradient flows into it.
        labels: $y$ in 0..classes - 1 where labelled and anything elsewhere, shape `(...)`, int64.
        labelled: Which rows have a label, bool, shape `(...)`.
        student_hidden: $h^s$, shape `(..., features)`.
        teacher_hidden: $h^t$, of the same shape. No gradient flows into it.
        soft_weight: $\alpha$, 0 or more; 0 leaves the teacher's answers out.
        hard_weight: $\beta$, 0 or more; 0 leaves the labels out.
        cosine_weight: $\gamma$, 0 or more; 0 leaves the hidden states out.
        temperature: $T > 0$, as in `soft_targets`.

    Returns:
        One loss per row, shape `(...)`.

    Raises:
        OptionError: `temperature` is not above 0.
        ShapeError: The shapes do not fit.
    """
    check_leading_shape(
        last="classes", student_logits=student_logits, labels=labels, labelled=labelled
    )
    check_leading_shape(last="features", student_hidden=student_hidden, labels=labels)
    soft = soft_targets(student_logits, teacher_logits, temperature=temperature)
    hard = cross_entropy(student_logits, labels.masked_fill(~labelled, 0))
    share = labelled.numel() / labelled.sum().clamp_min(1)
    hard = share * hard.masked_fill(~labelled, 0.0)
    cosine = cosine_distance(student_hidden, teacher_hidden)
    return soft_weight * soft + hard_weight * hard + cosine_weight * cosine
