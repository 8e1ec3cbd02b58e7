"""Whether a model can be trained as the settings say."""

import math

from torch import nn

from limbeck._errors import ModelError
from limbeck.recipe import Train


def check_weights(model: nn.Module, *, who: str) -> None:
    """Refuse a model with nothing to learn with.

    Raises:
        ModelError: No weight takes a gradient.
    """
    if not any(parameter.requires_grad for parameter in model.parameters()):
        raise ModelError(
            f"{who} has no weight that can learn. Unfreeze it with model.requires_grad_(True), or "
            "build it: a lazy model has its weights after its first call."
        )


def check_batch_norm(
    model: nn.Module,
    settings: Train,
    num_samples: int,
    *,
    who: str,
    beside: nn.Module | None = None,
) -> None:
    """Refuse a batch of one sample for a model that normalises each number over the batch.

    Args:
        model: Who is to be trained.
        settings: With `batch_size` and `accumulate`.
        num_samples: Samples in an epoch.
        who: Its name, for the message.
        beside: What is learned beside it; of this any batch normalisation, for its maps may be of
            one position.

    Raises:
        ModelError: It names the keys of the recipe to change.
    """
    kinds = {type(part) for part in model.modules()} & {nn.BatchNorm1d}
    if beside is not None:
        kinds |= {type(part) for part in beside.modules()} & {nn.BatchNorm1d, nn.BatchNorm2d}
    if kinds and smallest_batch(settings, num_samples) == 1:
        raise ModelError(
            f"{who} normalises over the batch ({kinds.pop().__name__}), and of {num_samples} "
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
