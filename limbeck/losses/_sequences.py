"""Sequences of tokens (Kim and Rush, 2016, https://arxiv.org/abs/1606.07947), with padding.

A row is a token. A token that does not count is 0 here, and so is its gradient, whatever its logits
and its label are: not a product with the mask, for 0 times infinity is NaN. Take `weighted_mean`,
or `.sum(-1)` for the value of each text, which is the paper's.

The paper's last form, the mixture of the cross-entropies of a text and of the teacher's text in its
place, is two calls of `sequence_level`, one for each text. What it does in its stead, to train on
that candidate of the teacher's beam that is nearest to the text, is one call.
"""

from torch import Tensor

from limbeck._errors import OptionError
from limbeck._shapes import check_leading_shape, check_same_shape
from limbeck.losses._soft_targets import at_least_float32, soft_targets
from limbeck.losses._supervised import cross_entropy


def word_level(
    student_logits: Tensor, teacher_logits: Tensor, mask: Tensor, *, temperature: float = 1.0
) -> Tensor:
    r"""Soft targets of every token that counts.

    The paper has the cross-entropy; this is its divergence, with the same gradient.

    Args:
        student_logits: Shape `(..., tokens, classes)`.
        teacher_logits: Shape `(..., tokens, classes)`, of the same text before each token. No
            gradient flows into it.
        mask: Shape `(..., tokens)`: 0 or False for a token that does not count, such as padding.
        temperature: $T > 0$, as in `soft_targets`.

    Returns:
        One loss per token, in nats times $T^2$, shape `(..., tokens)`; 0 where none counts.

    Raises:
        OptionError: `temperature` is not above 0.
        ShapeError: The shapes do not fit.
    """
    check_leading_shape(last="classes", student_logits=student_logits, mask=mask)
    check_same_shape(student_logits=student_logits, teacher_logits=teacher_logits)
    out = mask == 0  # (..., tokens)
    student, teacher = (
        logits.masked_fill(out[..., None], 0.0) for logits in (student_logits, teacher_logits)
    )
    return soft_targets(student, teacher, temperature=temperature)  # of two equal rows it is 0


def sequence_level(student_logits: Tensor, tokens: Tensor, mask: Tensor) -> Tensor:
    r"""Negative log-probability of every token that counts, of a text that the teacher wrote.

    The paper's sequence-level distillation: the teacher's most likely text stands for all of its
    distribution over texts. Of the data's own text it is the usual loss of a language model.

    Args:
        student_logits: Shape `(..., tokens, classes)`.
        tokens: The tokens that these predict, already shifted, shape `(..., tokens)`, int64;
            anything where none counts.
        mask: Shape `(..., tokens)`: 0 or False for a token that does not count.

    Returns:
        One loss per token, in nats, shape `(..., tokens)`; 0 where none counts.

    Raises:
        ShapeError: The shapes do not fit.
    """
    check_leading_shape(last="classes", student_logits=student_logits, tokens=tokens, mask=mask)
    out = mask == 0  # (..., tokens)
    student = student_logits.masked_fill(out[..., None], 0.0)
    return cross_entropy(student, tokens.masked_fill(out, 0)).masked_fill(out, 0.0)


def interpolated_word_level(
    student_logits: Tensor,
    teacher_logits: Tensor,
    tokens: Tensor,
    mask: Tensor,
    *,
    teacher_share: float = 0.5,
    temperature: float = 1.0,
) -> Tensor:
    r"""Word and sequence level at once: $1 - \alpha$ of a text, $\alpha$ of the teacher's rows.

    With the data's text it is the paper's word-level distillation as it is trained; with the
    teacher's own, or the candidate of its beam that is nearest to the data's, it is the combination
    of word level and sequence level.

    Args:
        student_logits: Shape `(..., tokens, classes)`.
        teacher_logits: Shape `(..., tokens, classes)`. No gradient flows into it.
        tokens: Shape `(..., tokens)`, int64, as in `sequence_level`.
        mask: Shape `(..., tokens)`: 0 or False for a token that does not count.
        teacher_share: $\alpha$, from 0, where it is `sequence_level`, to 1, where it is
            `word_level`.
        temperature: $T > 0$ of the teacher's part.

    Returns:
        One loss per token, in nats, shape `(..., tokens)`; 0 where none counts.

    Raises:
        OptionError: An option is out of its range.
        ShapeError: The shapes do not fit.
    """
    if not 0 <= teacher_share <= 1:
        raise OptionError(f"teacher_share must be from 0 to 1, got {teacher_share}.")
    of_text = sequence_level(student_logits, tokens, mask)
    of_teacher = word_level(student_logits, teacher_logits, mask, temperature=temperature)
    return (1 - teacher_share) * of_text + teacher_share * of_teacher


def weighted_mean(values: Tensor, weights: Tensor) -> Tensor:
    r"""Mean of a loss's values, each as often as it weighs: $\sum_i w_i v_i / \sum_i w_i$.

    A value of weight 0 adds exactly nothing, not even if it is infinite. Over all tokens of a
    batch this is not the mean of the texts' means, in which a token of a short text weighs more.

    Args:
        values: Of any loss, shape `(...)`.
        weights: 0 or more, or a mask, shape `(...)`. No gradient flows into it.

    Returns:
        One number, shape `()`; 0 where nothing weighs anything.

    Raises:
        ShapeError: The two shapes differ.

    Example:
        >>> weighted_mean(torch.tensor([1.0, 2.0, torch.inf]), torch.tensor([True, True, False]))
        tensor(1.5000)
    """
    check_same_shape(values=values, weights=weights)
    values = at_least_float32(values)
    weights = weights.detach().to(values.dtype)
    total = weights.sum()
    weighed = weights * values.masked_fill(weights == 0, 0.0)
    return weighed.sum() / total.masked_fill(total == 0, 1.0)
