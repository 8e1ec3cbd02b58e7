"""From what a teacher gives to rows: log-probabilities, log-odds, or numbers as they are.

`softmax` is for logits (Hinton et al., 2015, https://arxiv.org/abs/1503.02531, section 2).
`normalised` is for probabilities and other non-negative scores: q_i = p_i / sum_j p_j.
"""

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from limbeck._errors import ModelError, OptionError
from limbeck.signals import Head

Compression = Callable[[Tensor, Head, float], Tensor]
SMALLEST = torch.finfo(torch.float32).tiny
"""A probability of 0 is read as this, so that its logarithm stays finite."""


def softmax(logits: Tensor, head: Head, temperature: float) -> Tensor:
    r"""Log-probabilities of logits at a temperature; log-odds for a binary head.

    Computes $\log softmax(z / T)$, or $z / T$.

    Args:
        logits: $z$, `(..., classes)`.
        head: Whose answers they are.
        temperature: $T > 0$. Above 1, more of the small probabilities show.

    Returns:
        `(..., classes)`, float32.
    """
    values = softened(logits, temperature)
    return values if head.space == "binary" else F.log_softmax(values, dim=-1)


def softened(logits: Tensor, temperature: float) -> Tensor:
    """Logits at a temperature, z / T: log-probabilities up to a constant of each row."""
    return logits.float() if temperature == 1 else logits.float() / temperature


def normalised(scores: Tensor, head: Head, temperature: float) -> Tensor:
    r"""Log-probabilities of $q_i = p_i / \sum_j p_j$ at a temperature: $\log softmax(\log q / T)$.

    The entries of a binary head are probabilities of their own, so each becomes its log-odds
    $(\log p - \log(1 - p)) / T$.

    Args:
        scores: $p$, `(..., classes)`, 0 or more; at most 1 for a binary head.
        head: Whose answers they are.
        temperature: $T > 0$. At 1 the probabilities are $q$ itself.

    Returns:
        `(..., classes)`, float32.

    Raises:
        ModelError: A score is negative, a row sums to 0, or a binary score is above 1.
    """
    scores = scores.float()
    if bool((scores < 0).any()):
        raise ModelError(
            f"the teacher's scores for head {head.name} must be 0 or more to be normalised, got "
            f'{float(scores.min()):g}. If they are logits, use compress = "softmax".'
        )
    if head.space == "binary":
        return _log_odds(scores, head) / temperature
    total = scores.sum(dim=-1, keepdim=True)  # (..., 1)
    if bool((total <= 0).any()) or not bool(torch.isfinite(total).all()):
        bad = float(total[(total <= 0) | ~torch.isfinite(total)][0])
        raise ModelError(
            f"the teacher's scores for head {head.name} must have a positive, finite sum in every "
            f"row to be normalised, got a row that sums to {bad:g}. Leave out such samples, or "
            "mend the teacher."
        )
    log_q = (scores / total).clamp(min=SMALLEST).log()  # (..., classes)
    return F.log_softmax(log_q / temperature, dim=-1)


def _log_odds(probabilities: Tensor, head: Head) -> Tensor:
    if bool((probabilities > 1).any()):
        raise ModelError(
            f"the teacher's scores for head {head.name} must be 0..1, one probability per class, "
            f'got {float(probabilities.max()):g}. If they are logits, use compress = "softmax".'
        )
    inside = probabilities.clamp(SMALLEST, 1 - 2**-24)
    return inside.log() - torch.log1p(-inside)


COMPRESSIONS: dict[str, Compression] = {"softmax": softmax, "normalised": normalised}
"""Every compression by name."""


def compressed(answers: Tensor, head: Head, *, compress: str, temperature: float) -> Tensor:
    """The rows of a head, `(..., size)` in float32; numbers are kept as they are."""
    if head.space == "real":
        return answers.float()
    return COMPRESSIONS[compress](answers, head, temperature)


def check_compress(compress: str, outputs: Literal["logits", "probabilities"]) -> None:
    """Refuse a compression that is unknown, or does not fit what the teacher gives.

    Raises:
        OptionError: It names the one that fits.
    """
    if compress not in COMPRESSIONS:
        known = ", ".join(COMPRESSIONS)
        raise OptionError(f'compress must be one of {known}, got "{compress}".')
    fitting = "normalised" if outputs == "probabilities" else "softmax"
    if compress != fitting:
        raise OptionError(
            f'compress must be "{fitting}" for a teacher whose outputs are {outputs}, got '
            f'"{compress}". Change compress, or say what the teacher gives (outputs).'
        )
