"""Files that are whole or not there: atomic writes, hashes, and errors that say what to do."""

import errno
import fcntl
import hashlib
import json
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import xxhash
from safetensors import SafetensorError

from limbeck._errors import StorageError

PICKLE_SUFFIXES = (".pkl", ".pickle", ".pt", ".pth", ".bin", ".ckpt", ".joblib")
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


@contextmanager
def storage_errors(path: Path) -> Iterator[None]:
    """Turn an error met while writing `path` into a `StorageError` that names the way out."""
    try:
        yield
    except StorageError:
        raise
    except OSError as error:
        raise _cannot_write(path, error) from error
    except SafetensorError as error:
        # What the system said is only in its text.
        number = re.search(r"\(os error (\d+)\)", str(error))
        if number is None:
            raise
        code = int(number[1])
        raise _cannot_write(path, OSError(code, os.strerror(code))) from error


@contextmanager
def reading_errors(path: Path) -> Iterator[None]:
    """Turn an error met while reading `path`, but that it is not there, into a `StorageError`."""
    try:
        yield
    except (StorageError, FileNotFoundError, NotADirectoryError):
        raise
    except OSError as error:
        raise StorageError(
            f"cannot read {error.filename or path}: {error.strerror or error}. Mend that, or "
            "choose another."
        ) from error


def _cannot_write(path: Path, error: OSError) -> StorageError:
    if error.errno in _FULL:
        why = "there is no room left. Free some space"
    elif error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        why = "there is no permission to write. Choose another folder with --out"
    elif error.errno == errno.ENOENT:
        why = f"{error.strerror}. Choose another folder with --out"
    elif error.errno in (errno.ENOTDIR, errno.EEXIST, errno.EISDIR):
        why = "a file or folder of that name is in the way. Choose another folder with --out"
    else:
        why = f"{error.strerror or error}. Mend that"
    return StorageError(
        f"cannot write {path}: {why}, and run the same command again: it goes on from the "
        "last file that is whole."
    )


@contextmanager
def only_writer(folder: Path) -> Iterator[Callable[[], None]]:
    """Keep every other process from doing the same with this folder; a killed one lets go of it.

    Gives a function that lets in fellows, processes that `write_along`. As long as one of them
    lives, nobody else becomes the only writer.

    Raises:
        StorageError: Another process is at it.
    """
    with _open_folder(folder) as handle:
        _lock(folder, handle, fcntl.LOCK_EX)
        yield lambda: _lock(folder, handle, fcntl.LOCK_SH)


@contextmanager
def write_along(folder: Path) -> Iterator[None]:
    """Write to a folder as the fellow of the process that is its `only_writer`.

    Raises:
        StorageError: That lets nobody in.
    """
    with _open_folder(folder) as handle:
        _lock(folder, handle, fcntl.LOCK_SH)
        yield


@contextmanager
def _open_folder(folder: Path) -> Iterator[int]:
    with storage_errors(folder):
        handle = os.open(folder, os.O_RDONLY)
    try:
        yield handle
    finally:
        os.close(handle)


def _lock(folder: Path, handle: int, how: int) -> None:
    try:
        fcntl.flock(handle, how | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise StorageError(
            f"another process is writing to {folder}. Wait for its end, or choose another folder."
        ) from error


def put_in_place(beside: Path, path: Path) -> None:
    """Rename a file that is whole to `path`, so that neither is lost with the power."""
    with beside.open("rb+") as file:
        os.fsync(file.fileno())
    beside.replace(path)
    with suppress(OSError):  # some file systems have folders that cannot be synced
        handle = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def write_atomically(path: Path, write: Callable[[Path], None]) -> None:
    """Let `write` fill a file beside `path`, sync it, and rename it to `path`.

    A reader sees the old file or the new one, never half of one; a failure leaves the old one.
    """
    beside = path.with_name(f".{path.name}.{os.getpid()}.part")
    with storage_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            write(beside)
            beside.chmod(0o666 & ~_umask())  # whoever may read what is made here may read this
            put_in_place(beside, path)
        finally:
            with suppress(OSError):
                beside.unlink(missing_ok=True)


def _umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


def write_text(path: Path, text: str) -> None:
    """Write `text` as UTF-8, whole or not at all."""

    def write(beside: Path) -> None:
        beside.write_text(text, encoding="utf-8")

    write_atomically(path, write)


def write_json(path: Path, value: Any) -> None:
    """Write `value` as indented JSON, whole or not at all; NaN is refused."""
    write_text(path, json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def parse_json(text: str | bytes) -> Any:
    """What JSON says.

    Raises:
        ValueError: It is none; it is nested too deeply, or has a number of thousands of digits.
    """
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def file_hash(path: Path) -> str:
    """64-bit xxHash of a file's bytes, 16 hex digits. It finds damage, not malice."""
    digest = xxhash.xxh3_64()
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def bytes_hash(raw: bytes | memoryview) -> str:
    """`file_hash` of a file that holds these bytes."""
    return xxhash.xxh3_64(raw).hexdigest()


def fingerprint(value: Any) -> str:
    """16 hex digits that change when `value`, anything JSON can hold, changes."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, allow_nan=False, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
