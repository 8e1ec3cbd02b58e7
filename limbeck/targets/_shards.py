"""Shards: Arrow IPC files of rows, which carry in themselves all that the manifest needs.

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
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import xxhash
from numpy.typing import NDArray
from pydantic import TypeAdapter

from limbeck._errors import StorageError, TargetsError
from limbeck._files import file_hash
from limbeck._lookup import first_line
from limbeck.targets._announced import announced
from limbeck.targets._index import KeyIndex, data_fingerprint
from limbeck.targets._manifest import (
    FORMAT,
    SHARD_NAME,
    Card,
    Manifest,
    Nearness,
    Origin,
    Settings,
    ShardRecord,
    Size,
)
from limbeck.targets._measure import Faithfulness
from limbeck.targets._state_file import state_path
from limbeck.targets.codecs import Column, make_codec

BLOCK_ROWS = 8192
"""Rows in a block, about: what a reader must decompress at once, and a crash may cost."""
BLOCK_BYTES = 64 << 20
"""A block that is larger, unpacked, is closed, however few rows it has."""
LARGEST_BLOCK = 1 << 30
"""Bytes of a block, unpacked, beyond which it is refused, unless four samples take more."""
_SAMPLES_PER_BYTE = 16
"""Samples that a shard may hold per byte; keys alone take more than that."""
_FORMAT, _SETTINGS, _ROWS = b"limbeck.format", b"limbeck.settings", b"limbeck.rows_per_sample"
FAITHFULNESS = b"limbeck.faithfulness"
"""Metadata of a block: what was measured of its rows."""
CHECKSUM = b"limbeck.checksum"
"""Metadata of a block: XXH3-64 of its columns' bytes, uncompressed, and of its faithfulness."""
UNFINISHED = ".shard-*.part"
"""What open shards are called, beside the whole ones; no two writers' alike."""
_MAGIC_BYTES = 8
RowsPerSample = Mapping[str, int | None]
_ROWS_PER_SAMPLE = TypeAdapter(dict[str, Size | None])
_FAITHFULNESS = TypeAdapter(Faithfulness)


@dataclass(frozen=True, kw_only=True)
class Shard:
    """A shard whose bytes are what was written."""

    path: Path
    checksum: str
    bytes: int
    settings: Settings
    rows_per_sample: RowsPerSample
    keys: NDArray[np.uint64]
    """`(samples,)`: content keys."""
    views: NDArray[np.int32]
    """`(samples,)`: which view of it each is."""
    faithfulness: Faithfulness
    """Of all its rows."""

    @property
    def number(self) -> int:
        """Its place among the shards."""
        return int(self.path.name.split("-")[1])

    @property
    def record(self) -> ShardRecord:
        """What the manifest says of it."""
        return ShardRecord(
            file=self.path.name,
            samples=len(self.keys),
            rows=self.faithfulness.rows,
            bytes=self.bytes,
            checksum=self.checksum,
        )


def shard_schema(settings: Settings, rows_per_sample: RowsPerSample) -> pa.Schema:
    """Columns and metadata of every shard of a transfer set."""
    fields = [pa.field("key", pa.uint64(), nullable=False)]
    fields += [pa.field("view", pa.int32(), nullable=False)]
    for name, column, rows in parts_of(settings, rows_per_sample):
        item = pa.field("item", pa.from_numpy_dtype(column.dtype), nullable=False)
        width = -1 if column.counted_by else rows * column.width
        fields.append(pa.field(name, pa.list_(item, width), nullable=False))
    metadata = {
        _FORMAT: str(FORMAT),
        _SETTINGS: settings.model_dump_json(),
        _ROWS: json.dumps(dict(rows_per_sample)),
    }
    return pa.schema(fields, metadata=metadata)


def parts_of(
    settings: Settings, rows_per_sample: RowsPerSample
) -> Iterator[tuple[str, Column, int]]:
    """Every part that is stored: `head.part`, what it is, and the rows of a sample."""
    codec = make_codec(settings.codec, settings.codec_options)
    for record in settings.heads:
        for part, column in codec.columns(record.head).items():
            yield f"{record.name}.{part}", column, rows_per_sample[record.name] or 1


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


def _measured(said: str | bytes) -> Faithfulness:
    """What was measured of a block; ValueError if that cannot be."""
    found = _FAITHFULNESS.validate_json(said, strict=True)
    sums = (found.kl, found.agreement, found.squared, found.difference)
    possible = 0 <= found.compared <= found.rows and all(map(math.isfinite, sums))
    if not (possible and 0 <= found.agreement <= found.compared and found.squared >= 0):
        raise ValueError(f"what was measured of a block cannot be: {found}")
    return found


def whole_shards(folder: Path) -> list[Shard]:
    """Every shard in `folder`, in order; what has not a shard's name is no shard."""
    paths = sorted(folder.glob("shard-*.arrow"))
    return [open_shard(path) for path in paths if re.match(SHARD_NAME, path.name)]


def index_of(shards: Sequence[Shard]) -> KeyIndex:
    """Where the rows of each sample are, among those of all shards."""
    return KeyIndex.joined([shard.keys for shard in shards], [shard.views for shard in shards])


def begun(folder: Path, shards: Sequence[Shard], settings: Settings) -> pa.Schema | None:
    """The schema of what an interrupted capture of `settings` left, whole or not; None of nothing.

    What the codec learned is in it, and must be there still.
    """
    if shards:
        return shard_schema(shards[0].settings, shards[0].rows_per_sample)
    for path in sorted(folder.glob(UNFINISHED)):
        try:
            with pa.memory_map(str(path)) as source:
                source.seek(_MAGIC_BYTES)
                schema = pa.ipc.open_stream(source).schema
            said = Settings.model_validate_json(schema.metadata[_SETTINGS])
        except (pa.ArrowException, OSError, ValueError, KeyError, TypeError):
            continue
        state_is_there = not said.state or state_path(folder, said.state).is_file()
        if settings in (said, said.model_copy(update={"state": ""})) and state_is_there:
            return schema
    return None


def whole_blocks(path: Path, schema: pa.Schema) -> Iterator[tuple[pa.RecordBatch, Faithfulness]]:
    """The blocks that were written whole of a shard that was not; none of another schema."""
    try:
        with pa.memory_map(str(path)) as source:
            source.seek(_MAGIC_BYTES)  # then come the same messages as in a stream
            reader = pa.ipc.open_stream(source)
            while reader.schema.equals(schema, check_metadata=True):
                block = reader.read_next_batch_with_custom_metadata()
                block.batch.validate(full=True)
                metadata = block.custom_metadata or {}
                said = metadata[FAITHFULNESS].decode()
                if metadata[CHECKSUM].decode() != _checksum(block.batch, said):
                    return
                yield block.batch, _measured(said)
    except (StopIteration, pa.ArrowException, OSError, ValueError, KeyError):
        return  # where it was torn


def manifest_of(shards: Sequence[Shard]) -> Manifest:
    """The manifest of a transfer set that is these shards."""
    settings, rows_per_sample = _settings_of(shards), shards[0].rows_per_sample
    records = tuple(shard.record for shard in shards)
    learned = _learned_bytes(shards[0])
    rows = sum(record.rows for record in records)
    size = learned + sum(record.bytes for record in records)
    measured = sum((shard.faithfulness for shard in shards), Faithfulness())
    numbers = sum((rows_per_sample[head.name] or 1) * head.size for head in settings.heads)
    asked = settings.origin is None
    codec = make_codec(settings.codec, settings.codec_options)
    return Manifest(
        settings=settings,
        rows_per_sample=dict(rows_per_sample),
        shards=records,
        card=Card(
            rows=rows,
            bytes=size,
            learned_bytes=learned,
            bytes_per_row=size / rows,
            dense_bytes_per_row=4 * numbers / rows_of_a_sample(rows_per_sample),
            rows_measured=measured.compared,
            kl_to_teacher=measured.mean_kl if asked else None,
            agreement_with_teacher=measured.mean_agreement if asked else None,
            squared_error=measured.mean_squared if asked else None,
            biased=codec.biased or (settings.origin is not None and settings.origin.biased),
            to_origin=None if asked else _nearness(measured),
        ),
    )


def _learned_bytes(shard: Shard) -> int:
    """The size of the file of what its codec learned, beside it; 0 if it learned nothing."""
    path = state_path(shard.path.parent, shard.settings.state)
    return path.stat().st_size if shard.settings.state and path.is_file() else 0


def _settings_of(shards: Sequence[Shard]) -> Settings:
    """Those of every shard; of several that were merged, with the samples of all."""
    settings = shards[0].settings
    if all(shard.settings.data == settings.data for shard in shards):
        return settings
    keys = np.concatenate([shard.keys for shard in shards])
    return settings.model_copy(
        update={
            "data": data_fingerprint(keys),
            "chosen_by": "",
            "origin": _origin_of(shards),
        }
    )


def _origin_of(shards: Sequence[Shard]) -> Origin | None:
    """Where the rows of all these shards were read: by the same path, from several sets."""
    origin = shards[0].settings.origin
    if origin is None:
        return None
    known, rows = 0.0, 0
    for shard in shards:
        one = shard.settings.origin
        if one is None or one.kl_to_teacher is None:
            return origin.model_copy(update={"kl_to_teacher": None})
        known += one.kl_to_teacher * shard.faithfulness.rows
        rows += shard.faithfulness.rows
    return origin.model_copy(update={"kl_to_teacher": known / rows})


def _nearness(measured: Faithfulness) -> Nearness | None:
    kl, agreement, squared = measured.mean_kl, measured.mean_agreement, measured.mean_squared
    if kl is None or agreement is None or squared is None:
        return None
    return Nearness(kl=kl, agreement=agreement, squared_error=squared)


def open_shard(path: Path, *, expected_bytes: int | None = None) -> Shard:
    """Check a shard against the checksum in its name, and read all but its rows.

    Raises:
        TargetsError: It is missing, truncated or damaged, or is no shard at all.
        StorageError: There is no permission to read it.
    """
    try:
        size = path.stat().st_size
        if expected_bytes not in (None, size):
            raise damaged_shard(path, f"expected {expected_bytes} bytes, got {size}")
        named, found = path.stem.rpartition("-")[2], file_hash(path)
    except PermissionError as error:
        raise StorageError(f"cannot read {path}: {error.strerror}. Mend that.") from error
    except FileNotFoundError as error:
        raise TargetsError(
            f"{path.name} is missing from {path.parent}. Delete manifest.json, and capture again "
            "with the same settings: only what was in it is asked again."
        ) from error
    except OSError as error:
        raise damaged_shard(path, f"it cannot be read: {error.strerror}") from error
    if named != found:
        raise damaged_shard(path, f"expected checksum {named}, got {found}")
    try:
        return _read_head(path, found, size)
    except (pa.ArrowException, OSError, ValueError, KeyError, OverflowError) as error:
        if isinstance(error, TargetsError):
            raise
        raise damaged_shard(
            path, f"it is no shard of a transfer set: {first_line(error)}"
        ) from error


def _read_head(path: Path, checksum: str, size: int) -> Shard:
    with pa.memory_map(str(path)) as source:
        schema = pa.ipc.open_file(source).schema
        metadata = schema.metadata or {}
        if metadata[_FORMAT] != str(FORMAT).encode():
            raise damaged_shard(path, f"expected format {FORMAT}, got {metadata[_FORMAT]!r}")
        settings = Settings.model_validate_json(metadata[_SETTINGS])
        rows_per_sample = _ROWS_PER_SAMPLE.validate_json(metadata[_ROWS], strict=True)
        if not schema.equals(shard_schema(settings, rows_per_sample)):
            raise damaged_shard(path, "its columns are not those of its settings")
        source.seek(0)
        _refuse_bombs(path, memoryview(source.read_buffer()), settings, rows_per_sample)
        keys, views, faithfulness = [], [], Faithfulness()
        only_names = pa.ipc.IpcReadOptions(included_fields=[0, 1])
        reader = pa.ipc.open_file(source, options=only_names)
        for number in range(reader.num_record_batches):
            block = reader.get_batch_with_custom_metadata(number)
            block.batch.validate(full=True)
            keys.append(np.array(block.batch.column(0)))
            views.append(np.array(block.batch.column(1)))
            said = (block.custom_metadata or {})[FAITHFULNESS]
            faithfulness += _measured(said)
    joined = np.concatenate(keys)
    if faithfulness.rows != rows_of_a_sample(rows_per_sample) * len(joined):
        raise damaged_shard(path, "it does not hold the rows that it says")
    return Shard(
        path=path,
        checksum=checksum,
        bytes=size,
        settings=settings,
        rows_per_sample=rows_per_sample,
        keys=joined,
        views=np.concatenate(views),
        faithfulness=faithfulness,
    )


def _refuse_bombs(
    path: Path, raw: memoryview, settings: Settings, rows_per_sample: RowsPerSample
) -> None:
    """Before anything is unpacked: what a shard may say of its sizes, `ShardWriter` being true."""
    sample = sum(
        rows * column.width * column.dtype.itemsize
        for _, column, rows in parts_of(settings, rows_per_sample)
    )
    samples = 0
    for block in announced(raw):
        samples += block.rows
        if not 0 <= block.bytes <= max(LARGEST_BLOCK, 4 * sample):
            raise damaged_shard(path, f"a block of it would take {block.bytes} bytes unpacked")
    if not 0 < samples <= _SAMPLES_PER_BYTE * len(raw):
        raise damaged_shard(path, f"it says that it holds {samples} samples in {len(raw)} bytes")


def rows_of_a_sample(rows_per_sample: RowsPerSample) -> int:
    """Rows of one (sample, view) over all heads."""
    return sum(rows or 1 for rows in rows_per_sample.values())


def read_blocks(shard: Shard) -> Iterator[dict[str, NDArray[Any]]]:
    """The columns of each block by name, flat.

    Raises:
        TargetsError: The blocks do not decompress to what the schema says.
    """
    try:
        with pa.memory_map(str(shard.path)) as source:
            reader = pa.ipc.open_file(source)
            for number in range(reader.num_record_batches):
                batch = reader.get_batch(number)
                batch.validate(full=True)
                yield columns_of(batch)
    except (pa.ArrowException, OSError) as error:
        raise damaged_shard(shard.path, f"it cannot be read: {first_line(error)}") from error


def damaged_shard(path: Path, why: str) -> TargetsError:
    """The error that says so, and what to do."""
    return TargetsError(
        f"{path.name} in {path.parent} is damaged: {why}. Delete it and manifest.json, and capture "
        "again with the same settings: only what was in it is asked again."
    )
