"""Some rows as they would come back from a transfer set, without one."""

import numpy as np

from limbeck._errors import DataError, ShapeError
from limbeck._outputs import first_not_finite
from limbeck.signals import Head, Rows
from limbeck.targets.codecs import Arrays, Codec, Values
from limbeck.targets.codecs._pieces import tensor_of
from limbeck.targets.encoding._encoder import row_seeds
from limbeck.targets.format._index import Keys


def as_stored(values: Values, head: Head, codec: Codec, temperature: float) -> tuple[Rows, Arrays]:
    """Encode and decode rows with a codec that learned what it needs from the same rows.

    Args:
        values: Compressed answers, `(batch, size)` or `(batch, rows, size)`: a tensor on any
            device, or a numpy array.
        head: Whose they are.
        codec: How they would be stored.
        temperature: Of `values`.

    Returns:
        The rows, and the arrays that would lie in the shards.

    Raises:
        ShapeError: `values` are not rows of the head, one or more.
        DataError: A number is not finite; a class without mass may be -inf.
    """
    values = tensor_of(values)
    if values.dim() not in (2, 3) or values.shape[-1] != head.size or not values.numel():
        raise ShapeError(
            f"values must be (batch, {head.size}) or (batch, rows, {head.size}), one row or more, "
            f"got {tuple(values.shape)}."
        )
    if (bad := first_not_finite(values, head, "logits")) is not None:
        raise DataError(
            f"values of head {head.name} are not finite at number {bad} of the batch. Look at what "
            "they were computed of."
        )
    flat = values.flatten(0, -2).cpu()  # (batch * rows, size)
    state = codec.fit([flat], head)
    seeds = row_seeds(_numbers(len(values)), 0, len(flat) // len(values), 0)
    arrays = codec.encode(flat, head, state, seeds)
    rows = codec.decode(arrays, head, state, temperature)
    return (rows if values.dim() == 2 else rows.of_samples(values.shape[1])), arrays


def _numbers(count: int) -> Keys:
    """Keys, for samples whose content is not at hand."""
    return np.arange(count, dtype=np.uint64)
