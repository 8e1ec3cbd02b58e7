"""Shards: Arrow IPC files of rows, which carry in themselves all that the manifest needs.

One Arrow row is one (sample, view). Columns: `key` and `view`, then the parts of each head as
lists of fixed size, `label.values`, in which the rows of a sample follow each other. One record
batch is a block of a few thousand rows, compressed by the format. Schema metadata holds the
`Settings`; metadata of each batch its `Faithfulness`.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import TypeAdapter

from limbeck._errors import StorageError, TargetsError
from limbeck._files import file_hash
from limbeck._lookup import first_line
from limbeck.targets._manifest import (
    FORMAT,
    SHARD_NAME,
    Card,
    Manifest,
    Settings,
    ShardRecord,
    Size,
)
from limbeck.targets._measure import Faithfulness
from limbeck.targets.codecs import make_codec

_FORMAT, _SETTINGS, _ROWS = b"limbeck.format", b"limbeck.settings", b"limbeck.rows_per_sample"
FAITHFULNESS = b"limbeck.faithfulness"
"""Metadata of a block: what was measured of its rows."""
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
    codec = make_codec(settings.codec, settings.codec_options)
    fields = [pa.field("key", pa.uint64(), nullable=False)]
    fields += [pa.field("view", pa.int32(), nullable=False)]
    for record in settings.heads:
        rows = rows_per_sample[record.name] or 1
        fields += [
            pa.field(
                f"{record.name}.{part}",
                pa.list_(
                    pa.field("item", pa.from_numpy_dtype(column.dtype), nullable=False),
                    rows * column.width,
                ),
                nullable=False,
            )
            for part, column in codec.columns(record.head).items()
        ]
    metadata = {
        _FORMAT: str(FORMAT),
        _SETTINGS: settings.model_dump_json(),
        _ROWS: json.dumps(dict(rows_per_sample)),
    }
    return pa.schema(fields, metadata=metadata)


def whole_shards(folder: Path) -> list[Shard]:
    """Every shard in `folder`, in order; what has not a shard's name is no shard."""
    paths = sorted(folder.glob("shard-*.arrow"))
    return [open_shard(path) for path in paths if re.match(SHARD_NAME, path.name)]


def manifest_of(shards: Sequence[Shard]) -> Manifest:
    """The manifest of a transfer set that is these shards."""
    settings, rows_per_sample = shards[0].settings, shards[0].rows_per_sample
    records = tuple(shard.record for shard in shards)
    rows, size = sum(record.rows for record in records), sum(record.bytes for record in records)
    measured = sum((shard.faithfulness for shard in shards), Faithfulness())
    numbers = sum((rows_per_sample[head.name] or 1) * head.size for head in settings.heads)
    return Manifest(
        settings=settings,
        rows_per_sample=dict(rows_per_sample),
        shards=records,
        card=Card(
            rows=rows,
            bytes=size,
            bytes_per_row=size / rows,
            dense_bytes_per_row=4 * numbers / rows_of_a_sample(rows_per_sample),
            kl_to_teacher=measured.mean_kl,
            agreement_with_teacher=measured.mean_agreement,
            biased=make_codec(settings.codec, settings.codec_options).biased,
        ),
    )


def open_shard(path: Path, *, expected_bytes: int | None = None) -> Shard:
    """Check a shard against the checksum in its name, and read all but its rows.

    Raises:
        TargetsError: It is missing, truncated or damaged, or is no shard at all.
        StorageError: There is no permission to read it.
    """
    try:
        size = path.stat().st_size
        if expected_bytes not in (None, size):
            raise _damaged(path, f"expected {expected_bytes} bytes, got {size}")
        named, found = path.stem.rpartition("-")[2], file_hash(path)
    except PermissionError as error:
        raise StorageError(f"cannot read {path}: {error.strerror}. Mend that.") from error
    except OSError as error:
        raise _damaged(path, f"it cannot be read: {error.strerror}") from error
    if named != found:
        raise _damaged(path, f"expected checksum {named}, got {found}")
    try:
        return _read_head(path, found, size)
    except (pa.ArrowException, OSError, ValueError, KeyError, OverflowError) as error:
        if isinstance(error, TargetsError):
            raise
        raise _damaged(path, f"it is no shard of a transfer set: {first_line(error)}") from error


def _read_head(path: Path, checksum: str, size: int) -> Shard:
    with pa.memory_map(str(path)) as source:
        schema = pa.ipc.open_file(source).schema
        metadata = schema.metadata or {}
        if metadata[_FORMAT] != str(FORMAT).encode():
            raise _damaged(path, f"expected format {FORMAT}, got {metadata[_FORMAT]!r}")
        settings = Settings.model_validate_json(metadata[_SETTINGS])
        rows_per_sample = _ROWS_PER_SAMPLE.validate_json(metadata[_ROWS], strict=True)
        if not schema.equals(shard_schema(settings, rows_per_sample)):
            raise _damaged(path, "its columns are not those of its settings")
        keys, views, faithfulness = [], [], Faithfulness()
        only_names = pa.ipc.IpcReadOptions(included_fields=[0, 1])
        reader = pa.ipc.open_file(source, options=only_names)
        for number in range(reader.num_record_batches):
            block = reader.get_batch_with_custom_metadata(number)
            block.batch.validate(full=True)
            keys.append(np.array(block.batch.column(0)))
            views.append(np.array(block.batch.column(1)))
            said = (block.custom_metadata or {})[FAITHFULNESS]
            faithfulness += _FAITHFULNESS.validate_json(said, strict=True)
    joined = np.concatenate(keys)
    if faithfulness.rows != rows_of_a_sample(rows_per_sample) * len(joined):
        raise _damaged(path, "it does not hold the rows that it says")
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


def rows_of_a_sample(rows_per_sample: RowsPerSample) -> int:
    """Rows of one (sample, view) over all heads."""
    return sum(rows or 1 for rows in rows_per_sample.values())


def read_blocks(shard: Shard) -> Iterator[dict[str, NDArray[Any]]]:
    """The parts of each block by column name, each `(samples of the block, width)`.

    Raises:
        TargetsError: The blocks do not decompress to what the schema says.
    """
    try:
        with pa.memory_map(str(shard.path)) as source:
            reader = pa.ipc.open_file(source)
            for number in range(reader.num_record_batches):
                batch = reader.get_batch(number)
                batch.validate(full=True)
                yield {
                    name: batch.column(name).flatten().to_numpy().reshape(batch.num_rows, -1)
                    for name in batch.schema.names[2:]
                }
    except (pa.ArrowException, OSError) as error:
        raise _damaged(shard.path, f"it cannot be read: {first_line(error)}") from error


def _damaged(path: Path, why: str) -> TargetsError:
    return TargetsError(
        f"{path.name} in {path.parent} is damaged: {why}. Delete it and manifest.json, and capture "
        "again with the same settings: only what was in it is asked again."
    )
