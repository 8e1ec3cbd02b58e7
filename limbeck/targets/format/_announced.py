"""What the blocks of an Arrow file say of their sizes, before any of them is unpacked.

A few bytes, compressed, may stand for terabytes. Arrow unpacks what a file says, so it is asked
first; the layout is that of `File.fbs` and `Message.fbs` of the Arrow format, version 5, whose
tables are FlatBuffers.
"""

import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

Bytes = bytes | memoryview
_MAGIC = b"ARROW1"
_RECORD_BATCHES, _KIND, _HEADER, _LENGTH, _BUFFERS, _COMPRESSION = 3, 1, 2, 0, 2, 3
"""Places of fields: of `Footer`, twice of `Message`, and of `RecordBatch`."""
_IS_RECORD_BATCH = 3
"""What a `Message` says of its kind if it is a block."""


@dataclass(frozen=True)
class Announced:
    """What one block says."""

    rows: int
    bytes: int
    """Of all its columns, unpacked."""


def announced(raw: Bytes) -> Iterator[Announced]:
    """What each block of an Arrow IPC file says of itself.

    Raises:
        ValueError: It is no such file.
    """
    with _pointing_inside():
        yield from _blocks(raw)


def announced_at(raw: Bytes, offset: int) -> Announced:
    """What the block whose message begins there says of itself, in a stream of messages.

    Raises:
        ValueError: There is no block.
    """
    with _pointing_inside():
        _, length = _read("<ii", raw, offset)
        return _block(raw, offset, offset + 8 + length)


@contextmanager
def _pointing_inside() -> Iterator[None]:
    try:
        yield
    except struct.error as error:
        raise ValueError(f"it points to what it does not hold: {error}") from error


def _blocks(raw: Bytes) -> Iterator[Announced]:
    end = len(raw) - len(_MAGIC)
    if raw[end:] != _MAGIC:
        raise ValueError("it has no end")
    (length,) = _read("<i", raw, end - 4)
    footer = _table(raw, end - 4 - length)
    for offset, metadata_length, _ in _structs("<qi4xq", raw, footer, _RECORD_BATCHES):
        yield _block(raw, offset, offset + metadata_length)


def _block(raw: Bytes, offset: int, body: int) -> Announced:
    """The block whose message begins at `offset`, and whose columns at `body`."""
    prefix, _ = _read("<ii", raw, offset)
    if prefix != -1:
        raise ValueError("a block is of an older version of the format")
    message = _table(raw, offset + 8)
    if _read("<B", raw, _needed(raw, message, _KIND)) != (_IS_RECORD_BATCH,):
        raise ValueError("a block is none")
    batch = _table(raw, _needed(raw, message, _HEADER))
    (rows,) = _read("<q", raw, _needed(raw, batch, _LENGTH))
    compressed = _field(raw, batch, _COMPRESSION) is not None
    size = 0
    for start, stored in _structs("<qq", raw, batch, _BUFFERS):
        unpacked = stored
        if compressed and stored > 0:
            (unpacked,) = _read("<q", raw, body + start)
            unpacked = stored - 8 if unpacked == -1 else unpacked  # -1: as it is
        if unpacked < 0:
            raise ValueError(f"a column of {unpacked} bytes")
        size += unpacked
    return Announced(rows, size)


def _read(layout: str, raw: Bytes, at: int) -> tuple[int, ...]:
    if at < 0:
        raise ValueError("it points to before its beginning")
    return struct.unpack_from(layout, raw, at)


def _table(raw: Bytes, at: int) -> int:
    """Where the table is that is pointed to from `at`."""
    return at + _read("<I", raw, at)[0]


def _field(raw: Bytes, table: int, place: int) -> int | None:
    """Where a field of a table is; None if it is left out."""
    places = table - _read("<i", raw, table)[0]
    (size,) = _read("<H", raw, places)
    at = 4 + 2 * place
    offset = _read("<H", raw, places + at)[0] if at < size else 0
    return table + offset if offset else None


def _needed(raw: Bytes, table: int, place: int) -> int:
    found = _field(raw, table, place)
    if found is None:
        raise ValueError("a block does not say what it must")
    return found


def _structs(layout: str, raw: Bytes, table: int, place: int) -> Iterator[tuple[int, ...]]:
    """The structs of a vector, one after the other."""
    found = _field(raw, table, place)
    if found is not None:
        vector = _table(raw, found)
        for number in range(_read("<I", raw, vector)[0]):
            yield _read(layout, raw, vector + 4 + number * struct.calcsize(layout))
