"""From a batch of a teacher's answers to the columns of a shard."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from limbeck._errors import ModelError
from limbeck.signals import Head
from limbeck.targets._compress import compressed
from limbeck.targets._manifest import Settings
from limbeck.targets._measure import Faithfulness, faithfulness
from limbeck.targets._shard_writer import BLOCK_ROWS
from limbeck.targets._shards import RowsPerSample, rows_of_a_sample, shard_schema
from limbeck.targets.codecs import make_codec

_PIECE_NUMBERS = 4 << 20
"""Numbers that are encoded at once, about, so that memory is bounded for any vocabulary."""


class Encoder:
    """Compresses and encodes answers, and measures what the codec made of them.

    Args:
        settings: How.
        rows_per_sample: By head; every answer must have it.
    """

    def __init__(self, settings: Settings, rows_per_sample: RowsPerSample) -> None:
        self.schema = shard_schema(settings, rows_per_sample)
        self._settings = settings
        self._rows_per_sample = rows_per_sample
        self._heads = [record.head for record in settings.heads]
        self._codec = make_codec(settings.codec, settings.codec_options)
        numbers = sum((rows_per_sample[head.name] or 1) * head.size for head in self._heads)
        rows = rows_of_a_sample(rows_per_sample)
        self._piece = max(1, min(BLOCK_ROWS // rows, _PIECE_NUMBERS // numbers))

    def encode(
        self, keys: NDArray[np.uint64], view: int, answers: Mapping[str, Tensor]
    ) -> Iterator[tuple[dict[str, NDArray[Any]], Faithfulness]]:
        """The columns of some samples at a time, and how faithful they are.

        Args:
            keys: `(batch,)`.
            view: Of all of them.
            answers: By head, `(batch, size)` or `(batch, rows, size)`.

        Raises:
            ModelError: The number of rows is not that of the batches before.
        """
        for head in self._heads:
            self._check(head, answers[head.name], len(keys))
        for start in range(0, len(keys), self._piece):
            piece = slice(start, start + self._piece)
            columns: dict[str, NDArray[Any]] = {"key": keys[piece]}
            columns["view"] = np.full(len(keys[piece]), view, dtype=np.int32)
            measured = Faithfulness()
            for head in self._heads:
                parts, of_head = self._encode_head(head, answers[head.name][piece])
                columns |= {f"{head.name}.{part}": array for part, array in parts.items()}
                measured += of_head
            yield columns, measured

    def _encode_head(
        self, head: Head, answers: Tensor
    ) -> tuple[dict[str, NDArray[Any]], Faithfulness]:
        settings = self._settings
        values = compressed(
            answers, head, compress=settings.compress, temperature=settings.temperature
        ).cpu()
        parts = self._codec.encode(values, head)
        stored = self._codec.decode(parts, head, temperature_of(head, settings))
        return parts, faithfulness(values, stored, head)

    def _check(self, head: Head, answers: Tensor, batch: int) -> None:
        rows = self._rows_per_sample[head.name]
        expected = (batch, head.size) if rows is None else (batch, rows, head.size)
        if tuple(answers.shape) != expected:
            raise ModelError(
                f"the teacher's answers for head {head.name} must have one shape for every batch: "
                f"expected {expected}, got {tuple(answers.shape)}. Give every sample as many rows."
            )


def rows_per_sample_of(answers: Mapping[str, Tensor]) -> dict[str, int | None]:
    """By head: the length of the axis for rows; None where there is none."""
    return {
        name: None if answer.dim() == 2 else int(answer.shape[1])
        for name, answer in answers.items()
    }


def temperature_of(head: Head, settings: Settings) -> float:
    """The temperature of a head's rows: numbers have none, which is 1."""
    return 1.0 if head.space == "real" else settings.temperature
