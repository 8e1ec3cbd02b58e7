"""The rows of a transfer set as a Parquet file, for tools that know nothing of codecs."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from torch import Tensor

from limbeck._errors import OptionError, StorageError
from limbeck._files import write_atomically
from limbeck.signals import Rows, Sparse
from limbeck.targets.reading._transfer_set import TransferSet


def to_parquet(source: Path | str, file: Path | str) -> int:
    """Write decoded rows, one line for each (sample, view); returns how many lines.

    Columns: `key` and `view`; then for each head, "label", `label.values` of rows that hold every
    entry (log-probabilities or log-odds at the temperature, or numbers), or `label.ids`,
    `label.probabilities`, `label.tail` and, where entries were drawn, `label.drawn`. They are
    lists; of heads with several rows a sample, lists of lists. The settings stand in the metadata.

    Args:
        source: A transfer set, or its URL.
        file: A path. Is written whole or not at all; never over another.

    Raises:
        OptionError: `file` is a URL.
        StorageError: There is such a file already, or it cannot be written.
    """
    import pyarrow.parquet as pq

    if "://" in str(file):
        raise OptionError(
            f"file must be a path on this machine, got {file}. Write it here, and copy it there."
        )
    if Path(file).exists():
        raise StorageError(f"{file} is there already. Choose another name, or remove it first.")
    read = TransferSet(source)
    tables = _tables(read)
    first = next(tables)
    said = {"limbeck.settings": read.manifest.settings.model_dump_json()}
    lines = 0

    def write(beside: Path) -> None:
        nonlocal lines
        with pq.ParquetWriter(beside, first.schema.with_metadata(said), compression="zstd") as out:
            for table in (first, *tables):
                out.write_table(table.replace_schema_metadata(said))
                lines += len(table)

    write_atomically(Path(file), write)
    return lines


def _tables(read: TransferSet) -> Iterator[pa.Table]:
    for keys, views, rows in read.blocks():
        columns: dict[str, Any] = {"key": pa.array(keys), "view": pa.array(views)}
        for head in read.heads:
            for part, tensor in _parts(rows[head.name]).items():
                columns[f"{head.name}.{part}"] = _lists(tensor.numpy())
        yield pa.table(columns)


def _parts(rows: Rows) -> dict[str, Tensor]:
    if not isinstance(rows, Sparse):
        return {"values": rows.values}
    parts = {"ids": rows.ids, "probabilities": rows.probabilities, "tail": rows.tail}
    return parts if rows.drawn is None else parts | {"drawn": rows.drawn}


def _lists(array: NDArray[Any]) -> pa.Array:
    """`(samples, ...)` as lists; `(samples,)` as plain numbers."""
    whole = pa.array(np.ascontiguousarray(array).reshape(-1))
    for width in reversed(array.shape[1:]):
        whole = pa.FixedSizeListArray.from_arrays(whole, width).cast(pa.list_(whole.type))
    return whole
