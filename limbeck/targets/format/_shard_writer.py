"""Write shards: beside, synced, renamed to a name that carries the checksum."""

import secrets
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any

import pyarrow as pa
from numpy.typing import NDArray

from limbeck._errors import StorageError
from limbeck._files import file_hash, put_in_place, storage_errors
from limbeck.targets.format._blocks import (
    BLOCK_BYTES,
    BLOCK_ROWS,
    block_of,
    columns_of,
    whole_blocks,
)
from limbeck.targets.format._columns import joined
from limbeck.targets.format._faithfulness import Faithfulness
from limbeck.targets.format._index import KeyIndex
from limbeck.targets.format._shards import UNFINISHED, Shard

SHARD_BYTES = 64 << 20
"""A shard that is larger is closed."""
SHARD_SECONDS = 60.0
"""A shard that is older is closed: what a slow teacher said is soon safe."""
ZSTD_LEVEL = 3
"""Of every column of every block."""


class ShardWriter:
    """Rows into one shard after the other; a context manager.

    At its end the open shard is closed, after an error or Ctrl-C too, so that what the teacher
    has said is kept. When the disk fails the shard stays open, like a killed process's: `salvage`
    keeps its whole blocks when there is room again.

    Args:
        folder: Where shards go.
        schema: Of every shard.
        number: Of the first shard.
        step: From one shard's number to the next: as many as there are writers.
        closed: Is told the name of each shard that is whole.
    """

    def __init__(
        self,
        folder: Path,
        schema: pa.Schema,
        *,
        number: int,
        step: int = 1,
        closed: Callable[[str], None] = lambda name: None,
    ) -> None:
        self.written = 0
        """Bytes of all shards that are whole."""
        self.open_bytes = 0
        """Of the one that is not."""
        self._folder = folder
        self._schema = schema
        self._number = number
        self._step = step
        self._closed = closed
        self._mark = secrets.token_hex(8)
        self._file: Any = None
        self._buffer: list[Mapping[str, NDArray[Any]]] = []
        self._buffered = 0
        self._faithfulness = Faithfulness()
        self._writer: Any = None
        self._blocks = 0
        self._opened = 0.0

    def __enter__(self) -> "ShardWriter":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            if not isinstance(error, StorageError):
                self._close_shard()
        finally:
            self._give_up()

    def add(self, columns: Mapping[str, NDArray[Any]], faithfulness: Faithfulness) -> None:
        """Take some rows.

        Args:
            columns: The parts of the rows by column: `(samples, ...)`, or flat.
            faithfulness: What was measured of them.
        """
        if self._writer is None:
            self._open_shard()
        self._buffer.append(columns)
        self._faithfulness += faithfulness
        self._buffered += sum(part.nbytes for part in columns.values())
        if self._faithfulness.rows >= BLOCK_ROWS or self._buffered >= BLOCK_BYTES:
            self._write_block()
        with storage_errors(self._beside):
            self.open_bytes = self._beside.stat().st_size
        if self.open_bytes >= SHARD_BYTES or time.monotonic() - self._opened >= SHARD_SECONDS:
            self._close_shard()

    @property
    def room(self) -> int:
        """Rows that the open block still takes."""
        return BLOCK_ROWS - self._faithfulness.rows

    @property
    def _beside(self) -> Path:
        return self._folder / f".shard-{self._number:05d}.{self._mark}.part"

    def _open_shard(self) -> None:
        self._opened = time.monotonic()
        codec = pa.Codec("zstd", compression_level=ZSTD_LEVEL)
        self._blocks = 0
        with storage_errors(self._beside):
            self._file = pa.OSFile(str(self._beside), "wb")
            self._writer = pa.ipc.new_file(
                self._file, self._schema, options=pa.ipc.IpcWriteOptions(compression=codec)
            )

    def _write_block(self) -> None:
        # Taken out first: an interruption may cost this block, never write it twice.
        buffer, self._buffer = self._buffer, []
        faithfulness, self._faithfulness = self._faithfulness, Faithfulness()
        self._buffered = 0
        if not buffer:
            return
        batch, said = block_of(joined(buffer), self._schema, faithfulness)
        with storage_errors(self._beside):
            self._writer.write_batch(batch, custom_metadata=said)
        self._blocks += 1

    def _close_shard(self) -> None:
        if self._writer is None:
            return
        self._write_block()
        writer, self._writer = self._writer, None
        with storage_errors(self._beside):
            writer.close()
            self._file.close()
            name = f"shard-{self._number:05d}-{file_hash(self._beside)}.arrow"
            self.written += self._beside.stat().st_size
            put_in_place(self._beside, self._folder / name)
        self._blocks = self.open_bytes = 0
        self._closed(name)
        self._number += self._step

    def _give_up(self) -> None:
        """Let go of the open shard, and remove it if it holds no whole block."""
        with suppress(OSError):
            if self._file is not None:
                self._file.close()
            if self._blocks == 0:
                self._beside.unlink(missing_ok=True)


def salvage(folder: Path, schema: pa.Schema, shards: Sequence[Shard]) -> None:
    """Make shards of the whole blocks that killed processes left open.

    Args:
        folder: Where they are.
        schema: Blocks of another one are given up.
        shards: What is whole already; blocks that are in it too are not written twice.
    """
    leftovers = sorted(folder.glob(UNFINISHED))
    keys, views = [shard.keys for shard in shards], [shard.views for shard in shards]
    number = 1 + max((shard.number for shard in shards), default=-1)
    with _without_more_leftovers(folder), ShardWriter(folder, schema, number=number) as writer:
        for path in leftovers:
            known = KeyIndex.joined(keys, views)  # a salvage that was killed left blocks twice
            for batch, faithfulness in whole_blocks(path, schema):
                columns = columns_of(batch)
                if not known.contain(columns["key"], columns["view"]).any():
                    writer.add(columns, faithfulness)
                    keys.append(columns["key"])
                    views.append(columns["view"])
    remove_leftovers(folder)


@contextmanager
def _without_more_leftovers(folder: Path) -> Iterator[None]:
    """A disk that is full is not filled with copies of what is there."""
    before = set(folder.glob(UNFINISHED))
    try:
        yield
    except StorageError:
        for path in set(folder.glob(UNFINISHED)) - before:
            path.unlink(missing_ok=True)
        raise


def remove_leftovers(folder: Path) -> None:
    """Remove files that killed processes left half written; nobody else may be writing."""
    for path in folder.glob(".*.part"):
        if path.is_file():
            with storage_errors(path):
                path.unlink(missing_ok=True)
