"""Shards: files of blocks, which carry in themselves all that the manifest needs.

A shard is written beside, synced and renamed, and named by its checksum: what has a shard's name
was written whole. Nothing that one says of its sizes is believed before it is checked.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from limbeck._errors import StorageError, TargetsError
from limbeck._files import file_hash
from limbeck._lookup import first_line
from limbeck.targets.format._announced import announced
from limbeck.targets.format._blocks import (
    FAITHFULNESS,
    FORMAT_KEY,
    MAGIC_BYTES,
    SAMPLES_PER_BYTE,
    RowsPerSample,
    columns_of,
    largest_block,
    measured_in,
    rows_of_a_sample,
    said_in,
    shard_schema,
)
from limbeck.targets.format._faithfulness import Faithfulness
from limbeck.targets.format._index import KeyIndex
from limbeck.targets.format._manifest import FORMAT, SHARD_NAME, Settings, ShardRecord
from limbeck.targets.format._state_file import state_path

UNFINISHED = ".shard-*.part"
"""What open shards are called, beside the whole ones; no two writers' alike."""


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
                source.seek(MAGIC_BYTES)
                schema = pa.ipc.open_stream(source).schema
            said, rows_per_sample = said_in(schema)
            true = shard_schema(said, rows_per_sample)
        except (pa.ArrowException, OSError, ValueError, KeyError, OverflowError):
            continue
        state_is_there = not said.state or state_path(folder, said.state).is_file()
        ours = settings in (said, said.model_copy(update={"state": ""}))
        if ours and state_is_there and schema.equals(true):
            return schema
    return None


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
        if metadata[FORMAT_KEY] != str(FORMAT).encode():
            raise damaged_shard(path, f"expected format {FORMAT}, got {metadata[FORMAT_KEY]!r}")
        settings, rows_per_sample = said_in(schema)
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
            faithfulness += measured_in(said)
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
    largest, samples = largest_block(settings, rows_per_sample), 0
    for block in announced(raw):
        samples += block.rows
        if block.bytes > largest:
            raise damaged_shard(path, f"a block of it would take {block.bytes} bytes unpacked")
    if not 0 < samples <= SAMPLES_PER_BYTE * len(raw):
        raise damaged_shard(path, f"it says that it holds {samples} samples in {len(raw)} bytes")


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
