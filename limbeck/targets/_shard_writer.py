"""Write shards: beside, synced, renamed to a name that carries the checksum."""

import json
import os
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from limbeck._files import file_hash, storage_errors
from limbeck.targets._measure import Faithfulness
from limbeck.targets._shards import FAITHFULNESS

BLOCK_ROWS = 4096
"""Rows in a block, about: what a reader must decompress at once."""
SHARD_BYTES = 64 << 20
"""A shard that is larger is closed."""
SHARD_SECONDS = 60.0
"""A shard that is older is closed: what a slow teacher said is soon safe."""


class ShardWriter:
    """Rows into one shard after the other; a context manager.

    At its end the open shard is closed, after an error or Ctrl-C too, so that what the teacher
    has said is kept. Only when the disk fails is the open shard given up.

    Args:
        folder: Where shards go.
        number: Of the first shard.
    """

    def __init__(self, folder: Path, *, number: int) -> None:
        self._folder = folder
        self._number = number
        self._schema: Any = None
        self._file: Any = None
        self._buffer: list[Mapping[str, NDArray[Any]]] = []
        self._faithfulness = Faithfulness()
        self._writer: Any = None
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
            if not isinstance(error, OSError):
                self._close_shard()
        finally:
            self._give_up()

    def add(
        self,
        schema: pa.Schema,
        columns: Mapping[str, NDArray[Any]],
        faithfulness: Faithfulness,
    ) -> None:
        """Take some rows.

        Args:
            schema: Of every shard; the same each time.
            columns: The parts of the rows by column, `(samples, ...)`.
            faithfulness: What was measured of them.
        """
        if self._writer is None:
            self._open_shard(schema)
        self._buffer.append(columns)
        self._faithfulness += faithfulness
        if self._faithfulness.rows >= BLOCK_ROWS:
            self._write_block()
        large = self._beside.stat().st_size >= SHARD_BYTES
        if large or time.monotonic() - self._opened >= SHARD_SECONDS:
            self._close_shard()

    @property
    def _beside(self) -> Path:
        return self._folder / f".shard-{self._number:05d}.{os.getpid()}.part"

    def _open_shard(self, schema: pa.Schema) -> None:
        self._schema, self._opened = schema, time.monotonic()
        options = pa.ipc.IpcWriteOptions(compression="zstd")
        with storage_errors(self._beside):
            self._file = pa.OSFile(str(self._beside), "wb")
            self._writer = pa.ipc.new_file(self._file, schema, options=options)

    def _write_block(self) -> None:
        # Taken out first: an interruption may cost this block, never write it twice.
        buffer, self._buffer = self._buffer, []
        faithfulness, self._faithfulness = self._faithfulness, Faithfulness()
        if not buffer:
            return
        arrays = [
            _as_arrow(np.concatenate([columns[field.name] for columns in buffer]), field.type)
            for field in self._schema
        ]
        batch = pa.record_batch(arrays, schema=self._schema)
        said = {FAITHFULNESS: json.dumps(asdict(faithfulness))}
        with storage_errors(self._beside):
            self._writer.write_batch(batch, custom_metadata=said)

    def _close_shard(self) -> None:
        if self._writer is None:
            return
        self._write_block()
        writer, self._writer = self._writer, None
        with storage_errors(self._beside):
            writer.close()
            self._file.close()
            with self._beside.open("rb+") as file:
                os.fsync(file.fileno())
            checksum = file_hash(self._beside)
            self._beside.replace(self._folder / f"shard-{self._number:05d}-{checksum}.arrow")
        self._number += 1

    def _give_up(self) -> None:
        with suppress(OSError):
            self._beside.unlink(missing_ok=True)


def _as_arrow(values: NDArray[Any], kind: pa.DataType) -> pa.Array:
    if pa.types.is_fixed_size_list(kind):
        return pa.FixedSizeListArray.from_arrays(pa.array(values.reshape(-1)), type=kind)
    return pa.array(values, type=kind)
