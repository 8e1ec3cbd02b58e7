"""The rows of a transfer set in another codec.

They are decoded and encoded again, a block at a time. What one codec lost the next does not bring
back: the new manifest says what the rows went through, and measures them against the rows that they
were read from, not against the teacher.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from limbeck._progress import Progress, Silence
from limbeck.signals import Head, Rows, Sparse
from limbeck.targets._write_set import write_set
from limbeck.targets.asking._learn import FITTED_ROWS
from limbeck.targets.codecs import make_codec
from limbeck.targets.encoding._encoder import Encoder, Stored
from limbeck.targets.encoding._measure import dense_log_probabilities
from limbeck.targets.format._manifest import Origin
from limbeck.targets.reading._transfer_set import TransferSet

_LEAST_SAMPLES = 32
"""About so many samples are learned from at least, however many rows each has."""
_NUMBERS_AT_ONCE = 16 << 20
"""Decoded at once, about, so that memory is bounded for any vocabulary."""


def convert(
    source: Path | str,
    out: Path | str,
    *,
    codec: str,
    codec_options: Mapping[str, Any] | None = None,
    progress: Progress = Silence(),  # noqa: B008  (holds nothing)
) -> TransferSet:
    """Store the rows of a transfer set in another codec.

    Of sparse rows the distribution is taken: drawn entries go back into the tail, and a tail of
    which nothing is known spreads evenly.

    Args:
        source: The transfer set that is read, or its URL.
        out: A folder that is new, or its URL.
        codec: A key of `CODECS`.
        codec_options: The codec's own.
        progress: Is told how far it has come.

    Raises:
        OptionError: The codec cannot store these rows.
        TargetsError: `source` is not whole, or `out` holds something else.
    """
    read = TransferSet(source)
    made = make_codec(codec, codec_options or {})
    for head in read.heads:
        made.columns(head)  # refuses a head that it cannot store
    was = read.manifest.settings
    settings = was.model_copy(
        update={
            "codec": made.name,
            "codec_options": made.options,
            "chosen_by": "",
            "state": "",
            "origin": _origin(read),
        }
    )
    states = {head.name: made.fit(_some(read, head), head) for head in read.heads}
    samples = sum(shard.samples for shard in read.manifest.shards)
    as_they_are = settings.model_copy(update={"compress": "softmax", "temperature": 1.0})
    encoder = Encoder(as_they_are, read.manifest.rows_per_sample, states, samples=samples)
    progress.start("converting", samples)
    stored = _encoded(read, encoder, progress)
    return write_set(out, settings, read.manifest.rows_per_sample, states, stored)


def _origin(read: TransferSet) -> Origin:
    was, card = read.manifest.settings, read.card
    before = () if was.origin is None else was.origin.path
    kl = card.kl_to_teacher if was.origin is None else was.origin.kl_to_teacher
    first = read.like.values()
    # A fair draw is no longer one when its distribution is taken.
    drawn = any(isinstance(rows, Sparse) and rows.drawn is not None for rows in first)
    return Origin(path=(*before, was.codec), biased=card.biased or drawn, kl_to_teacher=kl)


def _some(read: TransferSet, head: Head) -> Iterator[Tensor]:
    """Rows `(rows, size)` of samples that are chosen by their keys, a block at a time."""
    samples = sum(shard.samples for shard in read.manifest.shards)
    count = read.card.rows // len(read.heads)
    one_in = np.uint64(max(1, min(count // FITTED_ROWS, samples // _LEAST_SAMPLES)))
    for keys, _, rows in read.blocks():
        chosen = torch.from_numpy(np.flatnonzero(keys % one_in == 0))
        for index in torch.split(chosen, _step(read)):
            if len(index):
                yield _values(rows[head.name].select(index), head).flatten(0, -2)


def _encoded(read: TransferSet, encoder: Encoder, progress: Progress) -> Iterator[Stored]:
    for keys, views, rows in read.blocks():
        for view in np.unique(views):
            of_view = torch.from_numpy(np.flatnonzero(views == view))
            for index in torch.split(of_view, _step(read)):
                values = {
                    head.name: _values(rows[head.name].select(index), head) for head in read.heads
                }
                yield from encoder.encode(keys[index.numpy()], int(view), values)
                progress.advance(len(index))


def _step(read: TransferSet) -> int:
    per_sample = read.manifest.rows_per_sample
    numbers = sum((per_sample[head.name] or 1) * head.size for head in read.heads)
    return max(1, _NUMBERS_AT_ONCE // numbers)


def _values(rows: Rows, head: Head) -> Tensor:
    """Every entry of some rows, `(..., size)` float32, at the temperature they are stored at."""
    if not isinstance(rows, Sparse):
        values = rows.values.float()
        if head.space != "categorical":
            return values
        # What codecs of floating point have of a class without mass.
        return values.masked_fill(rows.values == torch.finfo(rows.values.dtype).min, -torch.inf)
    rows = rows.density
    shape = torch.zeros(head.size) if rows.tail_shape is None else rows.tail_shape
    logs = dense_log_probabilities(replace(rows, tail_shape=shape)).float()
    named = torch.zeros_like(logs).scatter_add_(-1, rows.ids.long(), rows.probabilities.float())
    return logs.masked_fill((shape == -torch.inf) & (named == 0), -torch.inf)
