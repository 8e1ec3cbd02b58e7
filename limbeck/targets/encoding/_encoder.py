"""From a batch of a teacher's answers to the columns of a shard."""

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from limbeck._errors import ModelError
from limbeck._splitmix import splitmix
from limbeck.signals import Head
from limbeck.targets.codecs import Arrays, Codec, Seeds, Threshold, make_codec
from limbeck.targets.codecs._compiled import compiled
from limbeck.targets.codecs._pieces import entries_at_once
from limbeck.targets.encoding._compress import compressed, softened
from limbeck.targets.encoding._measure import faithfulness
from limbeck.targets.format._blocks import BLOCK_ROWS, RowsPerSample, rows_of_a_sample, shard_schema
from limbeck.targets.format._columns import Columns
from limbeck.targets.format._faithfulness import Faithfulness
from limbeck.targets.format._manifest import Settings
from limbeck.targets.format._state_file import States

_MEASURED_ROWS = 4096
"""About so many rows are measured, if there are as many: those of samples chosen by their keys."""
_MEASURED_NUMBERS = 1 << 24
"""Of large vocabularies fewer, for as many numbers, about."""
_LEAST_ROWS, _LEAST_SAMPLES = 1024, 16
"""But no fewer than these."""
_MEASURED_AT_ONCE = 1 << 19
"""Numbers, about: what is computed of them in float64 then stays in the processor's cache."""

Stored = tuple[dict[str, NDArray[Any]], Faithfulness]
"""The columns of some samples, and how near they are to what was said."""


class Encoder:
    """Compresses and encodes answers, and measures what the codec made of them.

    Args:
        settings: How.
        rows_per_sample: By head; every answer must have it.
        states: What the codec learned of each head.
        samples: How many there will be, of all views: of many, only some are measured.
    """

    def __init__(
        self,
        settings: Settings,
        rows_per_sample: RowsPerSample,
        states: States,
        *,
        samples: int,
    ) -> None:
        self.schema = shard_schema(settings, rows_per_sample)
        self._settings = settings
        self._rows_per_sample = rows_per_sample
        self._states = states
        self._heads = [record.head for record in settings.heads]
        self._codec = make_codec(settings.codec, settings.codec_options)
        numbers = sum((rows_per_sample[head.name] or 1) * head.size for head in self._heads)
        rows = rows_of_a_sample(rows_per_sample)
        self._most = max(1, BLOCK_ROWS // rows)
        self._numbers = numbers
        self._lot = max(1, _MEASURED_AT_ONCE // numbers)
        self._one_in = np.uint64(_one_in(samples, rows, numbers))
        # Compiled loops take one thread each, where torch's operations take all that it has.
        in_loops = isinstance(self._codec, Threshold) and compiled() is not None
        self._threads = torch.get_num_threads() if in_loops else 1

    def encode(
        self, keys: NDArray[np.uint64], view: int, answers: Mapping[str, Tensor]
    ) -> Iterator[Stored]:
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
        at_once = entries_at_once(answers[self._heads[0].name].device) // self._numbers
        most = max(1, min(self._most, at_once))
        pieces = -(-len(keys) // most)  # of one size: a small rest would wait in no block
        size = -(-len(keys) // max(pieces, 1))
        starts = range(0, len(keys), max(size, 1))

        def stored(start: int) -> Stored:
            piece = slice(start, start + size)
            some = {name: rows[piece] for name, rows in answers.items()}
            return self._encode_piece(keys[piece], view, some)

        if self._threads > 1 and len(starts) > 1:
            with ThreadPoolExecutor(self._threads) as threads:
                yield from threads.map(stored, starts)
        else:
            yield from map(stored, starts)

    def _encode_piece(
        self, keys: NDArray[np.uint64], view: int, answers: Mapping[str, Tensor]
    ) -> Stored:
        columns: dict[str, NDArray[Any]] = {"key": keys}
        columns["view"] = np.full(len(keys), view, dtype=np.int32)
        measured = Faithfulness()
        for number, head in enumerate(self._heads):
            seeds = row_seeds(keys, view, self._rows(head), number)
            parts, of_head = self._encode_head(head, answers[head.name], keys, seeds)
            columns |= {f"{head.name}.{part}": array for part, array in parts.items()}
            measured += of_head
        return columns, measured

    def _encode_head(
        self, head: Head, answers: Tensor, keys: NDArray[np.uint64], seeds: Seeds
    ) -> tuple[Arrays, Faithfulness]:
        state = self._states[head.name]
        values = rows_to_store(answers, head, self._settings, self._codec)  # (samples * rows, size)
        parts = self._codec.encode(values, head, state, seeds)
        chosen = np.flatnonzero(keys % self._one_in == 0)
        columns = Columns(self._codec.columns(head), parts, self._rows(head))
        measured = Faithfulness()
        for start in range(0, len(chosen), self._lot):
            samples = chosen[start : start + self._lot]
            stored = self._codec.decode(
                columns.take(samples), head, state, self._settings.temperature_of(head)
            )
            live = values.reshape(len(keys), -1, head.size)[torch.from_numpy(samples)]
            measured += faithfulness(live.flatten(0, 1), stored, head)
        return parts, replace(measured, rows=len(values))

    def _rows(self, head: Head) -> int:
        return self._rows_per_sample[head.name] or 1

    def _check(self, head: Head, answers: Tensor, batch: int) -> None:
        rows = self._rows_per_sample[head.name]
        expected = (batch, head.size) if rows is None else (batch, rows, head.size)
        if tuple(answers.shape) != expected:
            raise ModelError(
                f"the teacher's answers for head {head.name} must have one shape for every batch: "
                f"expected {expected}, got {tuple(answers.shape)}. Give every sample as many rows."
            )


def _one_in(samples: int, rows: int, numbers: int) -> int:
    """Of how many samples one is measured.

    Args:
        samples: All of them.
        rows: Of each.
        numbers: In these.
    """
    wanted = max(_LEAST_ROWS, min(_MEASURED_ROWS, _MEASURED_NUMBERS * rows // numbers))
    return max(1, min(samples * rows // wanted, samples // _LEAST_SAMPLES))


def rows_to_store(answers: Tensor, head: Head, settings: Settings, codec: Codec) -> Tensor:
    """The rows of some answers as `codec` takes them, compressed: `(samples * rows, size)`."""
    compress, temperature = settings.compress, settings.temperature
    if codec.takes_logits and head.space == "categorical" and compress == "softmax":
        return softened(answers, temperature).flatten(0, -2)
    return compressed(answers, head, compress=compress, temperature=temperature).flatten(0, -2)


def row_seeds(keys: NDArray[np.uint64], view: int, rows: int, head: int) -> Seeds:
    """Where the randomness of each row begins, `(samples * rows,)`: its own, wherever it is stored.

    Args:
        keys: `(samples,)`: content keys.
        view: Of all of them.
        rows: Of each sample.
        head: The head's number.
    """
    row = np.arange(rows, dtype=np.uint64) + np.uint64((head << 32) + (view << 40))
    return splitmix(splitmix(keys)[:, None] ^ splitmix(row)).reshape(-1)


def rows_per_sample_of(answers: Mapping[str, Tensor]) -> dict[str, int | None]:
    """By head: the length of the axis for rows; None where there is none."""
    return {
        name: None if answer.dim() == 2 else int(answer.shape[1])
        for name, answer in answers.items()
    }
