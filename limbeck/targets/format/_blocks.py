"""Blocks of rows, as they lie in a shard: an Arrow IPC file of one record batch after another.

One Arrow row is one (sample, view). Columns: `key` and `view`, then the parts of each head,
`label.values`, as lists. A part of fixed width is a list of fixed size, in which the rows of a
sample follow each other. A part whose rows differ in length lies whole, all numbers of the block
one after the other, in the list of the block's first sample (the other lists are empty: offsets
would cost more than they tell, for another part counts the numbers of each row). One record batch
is a block of a few thousand rows, compressed by the format. Schema metadata holds the `Settings`;
metadata of each batch its `Faithfulness` and a checksum, so that the blocks of a shard that was
never finished can be kept.
"""

import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import xxhash
from numpy.typing import NDArray
from pydantic import TypeAdapter

from limbeck.targets.codecs import Column, make_codec
from limbeck.targets.format._announced import announced_at
from limbeck.targets.format._faithfulness import Faithfulness
from limbeck.targets.format._manifest import FORMAT, Settings, Size

BLOCK_ROWS = 8192
"""Rows in a block, about: what a reader must decompress at once, and a crash may cost."""
BLOCK_BYTES = 64 << 20
"""A block that is larger, unpacked, is closed, however few rows it has."""
LARGEST_BLOCK = 1 << 30
"""Bytes of a block, unpacked, beyond which it is refused, unless four samples take more."""
SAMPLES_PER_BYTE = 16
"""Samples that a shard may hold per byte; keys alone take more than that."""
FORMAT_KEY, SETTINGS_KEY = b"limbeck.format", b"limbeck.settings"
ROWS_KEY = b"limbeck.rows_per_sample"
"""Metadata of a shard."""
FAITHFULNESS = b"limbeck.faithfulness"
"""Metadata of a block: what was measured of its rows."""
CHECKSUM = b"limbeck.checksum"
"""Metadata of a block: XXH3-64 of its columns' bytes, uncompressed, and of its faithfulness."""
MAGIC_BYTES = 8
"""What a file begins with; then come the same messages as in a stream."""
RowsPerSample = Mapping[str, int | None]
"""By head; None where an answer has no axis for rows."""
ROWS_PER_SAMPLE = TypeAdapter(dict[str, Size | None])
_FAITHFULNESS = TypeAdapter(Faithfulness)


def shard_schema(settings: Settings, rows_per_sample: RowsPerSample) -> pa.Schema:
    """Columns and metadata of every shard of a transfer set."""
    fields = [pa.field("key", pa.uint64(), nullable=False)]
    fields += [pa.field("view", pa.int32(), nullable=False)]
    for name, column, rows in parts_of(settings, rows_per_sample):
        item = pa.field("item", pa.from_numpy_dtype(column.dtype), nullable=False)
        width = -1 if column.counted_by else rows * column.width
        fields.append(pa.field(name, pa.list_(item, width), nullable=False))
    metadata = {
        FORMAT_KEY: str(FORMAT),
        SETTINGS_KEY: settings.model_dump_json(),
        ROWS_KEY: json.dumps(dict(rows_per_sample)),
    }
    return pa.schema(fields, metadata=metadata)


def said_in(schema: pa.Schema) -> tuple[Settings, RowsPerSample]:
    """The settings and the rows of a sample that a shard of this schema says it has.

    Raises:
        KeyError: It says none.
        ValueError: It says what cannot be.
    """
    metadata = schema.metadata or {}
    settings = Settings.model_validate_json(metadata[SETTINGS_KEY])
    return settings, ROWS_PER_SAMPLE.validate_json(metadata[ROWS_KEY], strict=True)


def parts_of(
    settings: Settings, rows_per_sample: RowsPerSample
) -> Iterator[tuple[str, Column, int]]:
    """Every part that is stored: `head.part`, what it is, and the rows of a sample."""
    codec = make_codec(settings.codec, settings.codec_options)
    for record in settings.heads:
        for part, column in codec.columns(record.head).items():
            yield f"{record.name}.{part}", column, rows_per_sample[record.name] or 1


def largest_block(settings: Settings, rows_per_sample: RowsPerSample) -> int:
    """Bytes that a block may take, unpacked."""
    sample = sum(
        rows * column.width * column.dtype.itemsize
        for _, column, rows in parts_of(settings, rows_per_sample)
    )
    return max(LARGEST_BLOCK, 4 * sample)


def block_of(
    columns: Mapping[str, NDArray[Any]], schema: pa.Schema, faithfulness: Faithfulness
) -> tuple[pa.RecordBatch, dict[bytes, str]]:
    """The record batch of some columns, and its metadata."""
    samples = len(columns["key"])
    arrays = [_as_arrow(columns[field.name], field.type, samples) for field in schema]
    said = _FAITHFULNESS.dump_json(faithfulness).decode()
    batch = pa.record_batch(arrays, schema=schema)
    return batch, {FAITHFULNESS: said, CHECKSUM: _checksum(batch, said)}


def _as_arrow(values: NDArray[Any], kind: pa.DataType, samples: int) -> pa.Array:
    if pa.types.is_fixed_size_list(kind):
        return pa.FixedSizeListArray.from_arrays(pa.array(values.reshape(-1)), type=kind)
    if pa.types.is_list(kind):
        ends = np.full(samples + 1, len(values), dtype=np.int32)
        ends[0] = 0
        return pa.ListArray.from_arrays(pa.array(ends), pa.array(values), type=kind)
    return pa.array(values, type=kind)


def columns_of(batch: pa.RecordBatch) -> dict[str, NDArray[Any]]:
    """The columns of a block as flat arrays, as `block_of` was given them."""
    found = {}
    for name, column in zip(batch.schema.names, batch.columns, strict=True):
        flat = column.flatten() if pa.types.is_nested(column.type) else column
        found[name] = flat.to_numpy()
    return found


def _checksum(batch: pa.RecordBatch, said: str) -> str:
    digest = xxhash.xxh3_64(said.encode())
    for column in columns_of(batch).values():
        digest.update(np.ascontiguousarray(column).view(np.uint8).data)
    return digest.hexdigest()


def measured_in(said: str | bytes) -> Faithfulness:
    """What was measured of a block; ValueError if that cannot be."""
    found = _FAITHFULNESS.validate_json(said, strict=True)
    sums = (found.kl, found.agreement, found.squared, found.difference)
    possible = 0 <= found.compared <= found.rows and all(map(math.isfinite, sums))
    if not (possible and 0 <= found.agreement <= found.compared and found.squared >= 0):
        raise ValueError(f"what was measured of a block cannot be: {found}")
    return found


def whole_blocks(path: Path, schema: pa.Schema) -> Iterator[tuple[pa.RecordBatch, Faithfulness]]:
    """The blocks that were written whole of a shard that was not; none of another schema.

    None is unpacked that would take more than a shard's may.
    """
    largest, samples = largest_block(*said_in(schema)), 0
    try:
        with pa.memory_map(str(path)) as source:
            raw = memoryview(source.read_buffer())
            source.seek(MAGIC_BYTES)
            reader = pa.ipc.open_stream(source)
            while reader.schema.equals(schema, check_metadata=True):
                next_one = announced_at(raw, source.tell())
                samples += next_one.rows
                if next_one.bytes > largest or samples > SAMPLES_PER_BYTE * len(raw):
                    return
                block = reader.read_next_batch_with_custom_metadata()
                block.batch.validate(full=True)
                metadata = block.custom_metadata or {}
                said = metadata[FAITHFULNESS].decode()
                if metadata[CHECKSUM].decode() != _checksum(block.batch, said):
                    return
                yield block.batch, measured_in(said)
    except (StopIteration, pa.ArrowException, OSError, ValueError, KeyError):
        return  # where it was torn


def rows_of_a_sample(rows_per_sample: RowsPerSample) -> int:
    """Rows of one (sample, view) over all heads."""
    return sum(rows or 1 for rows in rows_per_sample.values())
