"""Where the parts of a transfer set lie while it is read: in memory, or mapped from a file.

Shards are compressed in blocks, so to read one row of them is to unpack a block. They are unpacked
once, into arrays in which every row is found at once: in memory, or in a copy on disk beside the
shards, which any number of processes map.
"""

import secrets
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import numpy as np
import xxhash
from numpy.typing import NDArray

from limbeck._errors import StorageError, TargetsError
from limbeck._files import (
    file_hash,
    only_writer,
    parse_json,
    reading_errors,
    storage_errors,
    write_json,
)
from limbeck.targets.codecs import Arrays, Codec, Column, make_codec
from limbeck.targets.format._blocks import parts_of
from limbeck.targets.format._columns import Columns
from limbeck.targets.format._manifest import HeadRecord, Manifest
from limbeck.targets.format._shards import Shard, damaged_shard, read_blocks

_CONTENTS = "contents.json"
_SOON = 60.0
"""Seconds after which a copy that is being made surely has its writer."""


def in_memory(shards: Sequence[Shard], manifest: Manifest) -> dict[str, Columns]:
    """The parts of each head, unpacked into memory.

    Raises:
        TargetsError: A row holds what its codec never wrote.
    """
    found: dict[str, list[NDArray[Any]]] = {name: [] for name, _, _ in _parts(manifest)}
    for block in checked_blocks(shards, manifest):
        for name, pieces in found.items():
            pieces.append(block[name])
    return _columns(manifest, {name: np.concatenate(pieces) for name, pieces in found.items()})


def first_of(shards: Sequence[Shard], manifest: Manifest) -> dict[str, Arrays]:
    """The parts of each head of the first sample.

    Raises:
        TargetsError: The first block holds what its codec never wrote.
    """
    block = next(block for block in checked_blocks(shards, manifest) if len(block["key"]))
    first = np.zeros(1, dtype=np.int64)
    return {name: columns.take(first) for name, columns in _columns(manifest, block).items()}


def mapped(
    shards: Sequence[Shard], manifest: Manifest, folder: Path, fingerprint: str
) -> dict[str, Columns]:
    """The parts of each head, mapped from an unpacked copy in `folder`, made if it is not there.

    Args:
        shards: What is unpacked.
        manifest: Of the shards.
        folder: Where the copy lies, as `.unpacked-FINGERPRINT`. It may be removed at any time.
        fingerprint: Of the transfer set.

    Raises:
        TargetsError: A row holds what its codec never wrote, or the copy is damaged.
        StorageError: There is no room for the copy.
    """
    copy = _copy_in(folder, fingerprint)
    if not (copy / _CONTENTS).is_file():
        _unpack(shards, manifest, copy)
    _check_copy(copy, [f"{number}.bin" for number, _ in enumerate(_parts(manifest))])
    try:
        parts = {
            name: _mapped(copy / f"{number}.bin", column)
            for number, (name, column, _) in enumerate(_parts(manifest))
        }
    except (OSError, ValueError) as error:
        raise _damaged(copy) from error
    samples = sum(shard.samples for shard in manifest.shards)
    for name, column, rows in _parts(manifest):
        expected = samples * rows * column.width
        if column.counted_by:
            counts = parts[f"{name.rpartition('.')[0]}.{column.counted_by}"]
            expected = int(counts.sum(dtype=np.int64))
        if len(parts[name]) != expected:
            raise _damaged(copy)
    return _columns(manifest, parts)


def check_unpacked(
    shards: Sequence[Shard], manifest: Manifest, folder: Path, fingerprint: str
) -> None:
    """Refuse an unpacked copy in `folder` that is not what the shards hold; there need be none.

    Raises:
        TargetsError: It is another.
    """
    copy = _copy_in(folder, fingerprint)
    if not (copy / _CONTENTS).is_file():
        return
    digests = {name: xxhash.xxh3_64() for name, _, _ in _parts(manifest)}
    for block in checked_blocks(shards, manifest):
        for name, digest in digests.items():
            digest.update(np.ascontiguousarray(block[name]).view(np.uint8).data)
    files = [copy / f"{number}.bin" for number in range(len(digests))]
    with reading_errors(copy):
        try:
            found = [file_hash(path) for path in files]
        except FileNotFoundError as error:
            raise _damaged(copy) from error
    if found != [digest.hexdigest() for digest in digests.values()]:
        raise _damaged(copy)


def damaged_copy(folder: Path, fingerprint: str) -> TargetsError:
    """The error that says so of the unpacked copy in `folder`."""
    return _damaged(_copy_in(folder, fingerprint))


def _copy_in(folder: Path, fingerprint: str) -> Path:
    return folder / f".unpacked-{fingerprint}"


def _mapped(path: Path, column: Column) -> NDArray[Any]:
    if path.stat().st_size == 0:  # which cannot be mapped
        return np.empty(0, dtype=column.dtype)
    return np.asarray(np.memmap(path, dtype=column.dtype, mode="r"))


def _parts(manifest: Manifest) -> Iterator[tuple[str, Column, int]]:
    return parts_of(manifest.settings, manifest.rows_per_sample)


def _unpack(shards: Sequence[Shard], manifest: Manifest, copy: Path) -> None:
    """Write every part into one file, beside, and rename the folder when all are whole."""
    beside = copy.with_name(f"{copy.name}.{secrets.token_hex(8)}.part")
    names = [name for name, _, _ in _parts(manifest)]
    with storage_errors(copy):
        _remove_others(copy)
        beside.mkdir(parents=True)
        try:
            paths = [beside / f"{number}.bin" for number in range(len(names))]
            with only_writer(beside), ExitStack() as stack:
                files = [stack.enter_context(path.open("wb")) for path in paths]
                for block in checked_blocks(shards, manifest):
                    for name, file in zip(names, files, strict=True):
                        file.write(np.ascontiguousarray(block[name]).view(np.uint8).data)
            checksums = {path.name: file_hash(path) for path in paths}
            write_json(beside / _CONTENTS, checksums)
            try:
                beside.rename(copy)
            except OSError:
                if not copy.exists():  # else another process was faster
                    raise
        finally:
            shutil.rmtree(beside, ignore_errors=True)


def _remove_others(copy: Path) -> None:
    """Remove copies of what the folder held before, and what killed processes left of copies.

    One that is being made has its writer.
    """
    for path in copy.parent.glob(".unpacked-*"):
        if not path.name.endswith(".part"):
            if path != copy:
                shutil.rmtree(path, ignore_errors=True)
            continue
        with suppress(FileNotFoundError, StorageError):  # its writer was done, or is at work
            if time.time() - path.stat().st_mtime > _SOON:
                with only_writer(path):
                    shutil.rmtree(path, ignore_errors=True)


def _check_copy(copy: Path, names: Sequence[str]) -> None:
    try:
        with reading_errors(copy):
            said = parse_json((copy / _CONTENTS).read_bytes())
            whole = said == {name: file_hash(copy / name) for name in names}
    except (FileNotFoundError, NotADirectoryError, ValueError) as error:
        raise _damaged(copy) from error
    if not whole:
        raise _damaged(copy)


def _damaged(copy: Path) -> TargetsError:
    return TargetsError(
        f"{copy}, an unpacked copy of the shards beside it, is damaged. Delete it: it is made "
        "again from the shards."
    )


def checked_blocks(
    shards: Sequence[Shard], manifest: Manifest
) -> Iterator[Mapping[str, NDArray[Any]]]:
    """The columns of each block, flat, of which every row is one that its codec may have written.

    Raises:
        TargetsError: One is not.
    """
    settings = manifest.settings
    codec = make_codec(settings.codec, settings.codec_options)
    for shard in shards:
        for read in read_blocks(shard):
            block = {name: part.copy() for name, part in read.items()}  # torch wants to own them
            for record in settings.heads:
                if fault := codec.fault(arrays_of(block, record, codec), record.head):
                    raise damaged_shard(shard.path, f"head {record.name} holds {fault}")
            yield block


def arrays_of(block: Mapping[str, NDArray[Any]], record: HeadRecord, codec: Codec) -> Arrays:
    """The parts of one head in a block, as its codec takes them."""
    found = {}
    for part, column in codec.columns(record.head).items():
        flat = block[f"{record.name}.{part}"]
        found[part] = flat if column.counted_by else flat.reshape(-1, column.width)
    return found


def _columns(manifest: Manifest, parts: Mapping[str, NDArray[Any]]) -> dict[str, Columns]:
    settings = manifest.settings
    codec = make_codec(settings.codec, settings.codec_options)
    return {
        record.name: Columns(
            codec.columns(record.head),
            arrays_of(parts, record, codec),
            manifest.rows_per_sample[record.name] or 1,
        )
        for record in settings.heads
    }
