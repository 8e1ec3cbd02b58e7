"""What the transfer set would hold of a batch, against the live teacher."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from limbeck import _format as form
from limbeck.data import DataSet
from limbeck.doctor._findings import Findings
from limbeck.doctor._lessons import Answers
from limbeck.recipe import Targets
from limbeck.signals import Head, Rows
from limbeck.targets import Codec, as_stored, compressed, faithfulness

_KEY_BYTES = 12
"""8 of a sample's key, 4 of its view."""
LARGEST_KL = 0.01
"""Nats per row that a codec without bias may lose."""


@dataclass(frozen=True, kw_only=True)
class Stored:
    """A batch's rows as they come back from the transfer set."""

    rows: Mapping[str, Rows]
    """By head."""
    bytes_per_sample: float
    """Of all heads, for one view."""


def look_at_stored_rows(
    answers: Answers, settings: Targets, codec: Codec, heads: tuple[Head, ...], found: Findings
) -> Stored:
    """Encode and decode a batch's answers, and measure what that changed.

    Args:
        answers: What the teacher gave.
        settings: How it is compressed.
        codec: How it is kept.
        heads: What it answered.
        found: Takes the table and the faults.

    Raises:
        ModelError: The answers are not what `compress` takes.
        OptionError: The codec cannot hold them.
    """
    rows: dict[str, Rows] = {}
    table, total_bytes, num_samples = [], 0, 1
    for head in heads:
        live = compressed(
            answers[head.name], head, compress=settings.compress, temperature=settings.temperature
        ).cpu()
        temperature = settings.temperature if head.space != "real" else 1.0
        decoded, arrays = as_stored(live, head, codec, temperature)
        rows[head.name] = decoded
        measured = faithfulness(live, decoded, head)
        num_bytes = sum(array.nbytes for array in arrays.values())
        total_bytes, num_samples = total_bytes + num_bytes, len(live)
        table.append(
            [
                head.name,
                codec.name,
                f"{num_bytes / measured.rows:g}",
                f"{4 * head.size}",
                _number(measured.mean_kl),
                _number(measured.mean_agreement),
                _number(measured.difference),
            ]
        )
        kl = measured.mean_kl
        if not codec.biased and kl is not None and not kl <= LARGEST_KL:  # NaN is a fault, too
            found.faults.append(
                f"the stored rows of head {head.name} must be within {LARGEST_KL:g} nats of the "
                f"live teacher's with codec {codec.name}, got {kl:.3g}. Set targets.codec = "
                '"dense32".'
            )
    columns = ["head", "codec", "bytes per row", "as float32", "KL(live || stored)"]
    columns += ["agreement", "largest gap"]
    found.tables.append(("Stored rows against the live teacher", columns, table))
    if codec.biased:
        found.notes.append(
            f"Codec {codec.name} drops part of each row, so its KL is between coarser "
            "distributions, and is no measure of what was dropped."
        )
    return Stored(rows=rows, bytes_per_sample=total_bytes / num_samples)


def transfer_set_size(stored: Stored, data: DataSet, settings: Targets) -> str:
    """Bytes of the whole transfer set, in words."""
    stored_once = len(np.unique(data.train.keys))
    samples = stored_once * settings.views
    equal = len(data.train) - stored_once
    return (
        f"The transfer set: {samples} samples x ({stored.bytes_per_sample:g} B of rows + "
        f"{_KEY_BYTES} B of key and view) = "
        f"{form.size(samples * (stored.bytes_per_sample + _KEY_BYTES))}, before the columns are "
        "compressed."
        + (f" Of {equal} samples there are others of the same content: stored once." * (equal > 0))
    )


def _number(number: float | None) -> str:
    return "-" if number is None else f"{number:.3g}"
