"""What each codec makes of some rows of a teacher: bytes on disk against what is lost."""

from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from limbeck._errors import ModelError, OptionError
from limbeck._progress import Progress, Silence
from limbeck.data import Samples
from limbeck.signals import Sparse
from limbeck.targets.codecs import Arrays, Codec, make_codec
from limbeck.targets.encoding._compress import compressed
from limbeck.targets.encoding._encoder import row_seeds
from limbeck.targets.encoding._measure import faithfulness
from limbeck.targets.format._blocks import block_of, shard_schema
from limbeck.targets.format._faithfulness import Faithfulness
from limbeck.targets.format._manifest import HeadRecord, Settings, TeacherRecord
from limbeck.targets.format._shard_writer import ZSTD_LEVEL
from limbeck.teachers import Teacher

_SELECTED = ((31, 1e-2), (63, 3e-3), (127, 1e-3), (127, 3e-4), (255, 1e-4))
CANDIDATES: tuple[tuple[str, dict[str, Any]], ...] = (
    ("dense16", {}),
    *((f"sqrt{bits}", {}) for bits in (4, 5, 6, 8, 10, 12)),
    *(("selected", {"levels": q, "cost": cost}) for q, cost in _SELECTED),
    *(("principal", {"step": step}) for step in (0.25, 0.12, 0.07, 0.035)),
    *(("threshold", {"tau": tau}) for tau in (0.05, 0.02, 0.01)),
    ("real16", {}),
    ("real8", {}),
)
"""Codecs and options that are tried: all that see the whole row."""
_ROWS = 4096
"""Rows that are measured, at most; as many others are learned from."""
_NUMBERS = 1 << 25
"""Entries of all these rows together, at most, unless two samples have more."""
_KEY_BYTES = 8


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What one codec made of some rows."""

    codec: str
    options: dict[str, Any]
    bytes_per_row: float
    """On disk, compressed, with a row's share of its sample's key, of what the codec learned, and
    of what a shard takes beside its rows."""
    kl: float | None
    """KL(live || stored), nats per row; None for numbers."""
    squared_error: float | None
    """||stored - live||^2 per row, in probability; None for numbers."""
    difference: float
    """The largest, as in `Faithfulness`."""
    unbiased: bool
    """Whether entries are drawn, each right on average."""
    rows: int
    """How many rows that was measured on."""
    rows_per_sample: int
    """Of all heads."""

    def __str__(self) -> str:
        lost = f"largest error {self.difference:.2e}" if self.kl is None else f"KL {self.kl:.2e}"
        return f"{self.named:<38} {self.bytes_per_row:8.2f} B/row   {lost}"

    @property
    def named(self) -> str:
        """The codec with its options, as one would write them."""
        options = ", ".join(f"{name} = {value}" for name, value in self.options.items())
        return f"{self.codec} ({options})" if options else self.codec


def try_codecs(
    teacher: Teacher,
    samples: Samples,
    *,
    compress: str,
    temperature: float,
    views: int = 1,
    candidates: Iterable[tuple[str, Mapping[str, Any]]] = CANDIDATES,
    progress: Progress = Silence(),  # noqa: B008  (holds nothing)
) -> list[Measured]:
    """What each codec makes of some thousand rows, drawn at random; it learns from others.

    Args:
        teacher: Who is asked.
        samples: About some of which.
        compress: As for `capture`.
        temperature: As for `capture`.
        views: How many views of each sample will be stored.
        candidates: Codecs with their options; those that cannot hold these heads, or some of these
            rows, are left out.
        progress: Is told how far it has come.

    Raises:
        OptionError: None of them can.
    """
    learned, kept = _two_lots(teacher, samples, compress, temperature)
    total = len(samples) * views * sum(rows.shape[1] for rows in kept.values())
    candidates = list(candidates)
    progress.start("trying codecs", len(candidates))
    found = []
    for name, options in candidates:
        try:
            codec = make_codec(name, options)
            for head in teacher.heads:
                codec.columns(head)
        except OptionError:
            codec = None  # it says why it cannot hold such a head
        if codec is not None:
            settings = Settings(
                teacher=TeacherRecord(fingerprint="0" * 16, name=""),
                data="0" * 16,
                transform=str(samples.views),
                views=views,
                heads=tuple(HeadRecord.of(head) for head in teacher.heads),
                compress=compress,
                temperature=temperature,
                codec=codec.name,
                codec_options=codec.options,
                state="0" * 16,
            )
            with suppress(ModelError, OptionError):  # rows that it has no place for: it says why
                found.append(_tried(codec, options, settings, learned, kept, total))
        progress.advance(1)
    if not found:
        heads = ", ".join(f"{head.name} ({head.space})" for head in teacher.heads)
        raise OptionError(
            f"of the {len(candidates)} codecs that were tried none can hold the rows of {heads}. "
            'Name one that can, such as codec = "dense32".'
        )
    return found


def _tried(
    codec: Codec,
    options: Mapping[str, Any],
    settings: Settings,
    learned: Mapping[str, Tensor],
    kept: Mapping[str, Tensor],
    total: int,
) -> Measured:
    size, once, faithful, drawn = 0, _frame_bytes(settings, kept), Faithfulness(), False
    for number, head in enumerate(record.head for record in settings.heads):
        live = kept[head.name]  # (samples, rows, size)
        state = codec.fit([learned[head.name].flatten(0, 1)], head)
        seeds = row_seeds(np.arange(len(live), dtype=np.uint64), 0, live.shape[1], number)
        arrays = codec.encode(live.flatten(0, 1), head, state, seeds)
        stored = codec.decode(arrays, head, state, settings.temperature_of(head))
        faithful += faithfulness(live.flatten(0, 1), stored, head)
        drawn = isinstance(stored, Sparse) and stored.drawn is not None
        size += _bytes_on_disk(arrays)
        once += sum(part.nbytes for part in state.values())
    samples = len(next(iter(kept.values())))
    return Measured(
        codec=codec.name,
        options=dict(options),
        bytes_per_row=(size + _KEY_BYTES * samples) / faithful.rows + once / total,
        kl=faithful.mean_kl,
        squared_error=faithful.mean_squared,
        difference=faithful.difference,
        unbiased=drawn,
        rows=faithful.rows,
        rows_per_sample=faithful.rows // samples,
    )


def _frame_bytes(settings: Settings, kept: Mapping[str, Tensor]) -> int:
    """Of a shard without rows: schema, footer and metadata."""
    schema = shard_schema(settings, {name: rows.shape[1] for name, rows in kept.items()})
    nothing = {
        field.name: np.empty(0, dtype=_item_type(field.type).to_pandas_dtype()) for field in schema
    }
    batch, said = block_of(nothing, schema, Faithfulness())
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, schema) as writer:
        writer.write_batch(batch, custom_metadata=said)
    return len(sink.getvalue())


def _item_type(kind: pa.DataType) -> pa.DataType:
    return kind.value_type if pa.types.is_nested(kind) else kind


def _two_lots(
    teacher: Teacher, samples: Samples, compress: str, temperature: float
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Rows of samples drawn at random, by head, `(samples, rows, size)`: two halves."""
    order = torch.randperm(len(samples), generator=torch.Generator().manual_seed(0))
    one = teacher.answer(samples.fetch(order[:1]).inputs)
    rows = max(answer.numel() // answer.shape[-1] for answer in one.values())
    numbers = sum(answer.numel() for answer in one.values())
    count = max(2, 2 * min(_ROWS // rows, _NUMBERS // (2 * numbers)))
    found: dict[str, list[Tensor]] = {head.name: [] for head in teacher.heads}
    for index in torch.split(order[:count], max(1, _NUMBERS // (8 * numbers))):
        for name, answer in teacher.answer(samples.fetch(index).inputs).items():
            found[name].append(answer.reshape(len(index), -1, answer.shape[-1]))
    lots: tuple[dict[str, Tensor], dict[str, Tensor]] = ({}, {})
    for head in teacher.heads:
        values = compressed(
            torch.cat(found[head.name]), head, compress=compress, temperature=temperature
        )
        half = len(values) // 2
        # Of a single sample there is no other half.
        lots[0][head.name], lots[1][head.name] = values[:half] if half else values, values[half:]
    return lots


def _bytes_on_disk(arrays: Arrays) -> int:
    codec = pa.Codec("zstd", compression_level=ZSTD_LEVEL)
    return sum(
        len(codec.compress(np.ascontiguousarray(part).tobytes(), asbytes=True))
        for part in arrays.values()
    )
