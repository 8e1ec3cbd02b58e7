"""Some rows as they would come back from a transfer set, without one."""

import numpy as np

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
    """
    values = tensor_of(values)
    flat = values.flatten(0, -2).cpu()  # (batch * rows, size)
    state = codec.fit([flat], head)
    seeds = row_seeds(_numbers(len(values)), 0, len(flat) // len(values), 0)
    arrays = codec.encode(flat, head, state, seeds)
    rows = codec.decode(arrays, head, state, temperature)
    return (rows if values.dim() == 2 else rows.of_samples(values.shape[1])), arrays


def _numbers(count: int) -> Keys:
    """Keys, for samples whose content is not at hand."""
    return np.arange(count, dtype=np.uint64)
