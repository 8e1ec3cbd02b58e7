"""What a model must be, beside its shapes, to be trained as a recipe says."""

import math

from torch import Tensor, nn

from limbeck._errors import ModelError
from limbeck.recipe import Train
from limbeck.signals import Head

_BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)


def check_outputs(rows: Tensor, head: Head, outputs: str, *, section: str) -> None:
    """Refuse probabilities where logits were announced, and the other way round.

    Args:
        rows: What a model gave, `(..., size)`.
        head: For which head.
        outputs: What the recipe says it gives.
        section: Where the recipe says so.

    Raises:
        ModelError: It names the key of the recipe to change.
    """
    if head.space == "real":
        return
    positive = bool((rows >= 0).all())
    if head.space == "categorical":
        probable = positive and bool(((rows.float().sum(-1) - 1).abs() < 1e-3).all())
        seen = "every number is 0 or more, and every row sums to 1"
    else:
        # A few log-odds may lie within 0..1 by chance; many do not.
        probable = positive and bool((rows <= 1).all()) and rows.numel() >= 64
        seen = "every number is within 0..1"
    if outputs == "logits" and probable:
        raise ModelError(
            f"{section} must give logits for head {head.name}, got what look like probabilities: "
            f'{seen}. Set {section}.outputs = "probabilities", or take the last softmax or '
            "sigmoid out of the model."
        )
    if outputs == "probabilities" and not positive:
        raise ModelError(
            f"{section} must give probabilities, or other scores of 0 or more, for head "
            f'{head.name}, got {float(rows.min()):.3g}. Set {section}.outputs = "logits".'
        )


def check_batch_norm(model: nn.Module, settings: Train, num_samples: int, *, who: str) -> None:
    """Refuse a batch of one sample for a model that normalises over the batch.

    Raises:
        ModelError: It names the layers and the key of the recipe to change.
    """
    kinds = {type(part).__name__ for part in model.modules() if isinstance(part, _BATCH_NORMS)}
    if kinds and smallest_batch(settings, num_samples) == 1:
        raise ModelError(
            f"{who} normalises over the batch ({', '.join(sorted(kinds))}), and of {num_samples} "
            f"samples with batch_size = {settings.batch_size} and accumulate = "
            f"{settings.accumulate} one comes alone, which has no spread. Change batch_size."
        )


def smallest_batch(settings: Train, num_samples: int) -> int:
    """Samples in the smallest batch, or micro-batch, of an epoch."""
    full = min(settings.batch_size, num_samples)
    last = num_samples % settings.batch_size or full
    pieces = []
    for size in (full, last):
        piece = math.ceil(size / settings.accumulate)
        pieces.append(size % piece or piece)
    return min(pieces)
