"""Transfer sets behind an fsspec URL: a remote folder, and the local one that mirrors it.

Everything is written and read in the local folder. A file goes to the remote folder when it is
whole, what the codec learned first, the manifest last; it is fetched when it is not here, or not
what was put there. The remote folder is the truth: whatever machine goes on from it sees the same.
"""

import os
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Protocol

from limbeck._errors import ExtraError, OptionError, StorageError, TargetsError
from limbeck._files import bytes_hash, file_hash, storage_errors, write_atomically
from limbeck._lookup import first_line
from limbeck.targets.format._manifest import MANIFEST, SHARD_NAME, read_manifest
from limbeck.targets.format._shards import UNFINISHED
from limbeck.targets.format._state_file import STATE_NAME, state_path

_WHOLE = re.compile(f"{SHARD_NAME}|{STATE_NAME}")


class Place(Protocol):
    """Where a transfer set lies."""

    @property
    def folder(self) -> Path:
        """The local folder that is written to and read from."""

    def open(self) -> bool:
        """Have everything that the manifest names here; False if there is no manifest."""

    def begin(self) -> None:
        """Find out whether it can be written to, before a teacher is asked for days."""

    @property
    def address(self) -> str:
        """What names it on another machine."""

    def names(self) -> set[str]:
        """The whole shards and learned states that the place holds."""

    def fetch(self, names: set[str]) -> None:
        """Have these here."""

    def pull(self) -> None:
        """Have here what the place holds, and nothing else; for its only writer."""

    def put(self, name: str) -> None:
        """Keep the file of this name, which is whole in `folder`."""

    def remove(self, name: str) -> None:
        """Have no file of this name."""


def place_of(folder: Path | str) -> Place:
    """The place that a path or an fsspec URL names: "s3://bucket/folder".

    Raises:
        ExtraError: The library for such URLs is not installed.
        OptionError: There is no such protocol.
    """
    said = str(folder)
    if "://" not in said or said.startswith("file://"):
        return _Local(Path(said.removeprefix("file://")))
    return _Mirror(said.rstrip("/"))


def brought_here(folder: Path | str) -> Path:
    """The local folder of a transfer set; of a URL, with what was not here yet.

    Raises:
        TargetsError: It is not whole over there.
        StorageError: It cannot be fetched.
    """
    place = place_of(folder)
    if isinstance(place, _Mirror) and not place.open():
        raise TargetsError(
            f"{folder} holds no whole transfer set: there is no {MANIFEST}. Capture it, or "
            "capture it again with the same settings if that was interrupted."
        )
    return place.folder


class _Local:
    """A folder of this machine, which needs nothing done."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def open(self) -> bool:
        with storage_errors(self.folder):
            return (self.folder / MANIFEST).exists()

    def begin(self) -> None:
        with storage_errors(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)

    @property
    def address(self) -> str:
        return str(self.folder.absolute())

    def names(self) -> set[str]:
        if not self.folder.is_dir():
            return set()
        return {path.name for path in self.folder.iterdir() if _WHOLE.match(path.name)}

    def fetch(self, names: set[str]) -> None: ...

    def pull(self) -> None: ...

    def put(self, name: str) -> None: ...

    def remove(self, name: str) -> None:
        with storage_errors(self.folder):
            (self.folder / name).unlink(missing_ok=True)


class _Mirror:
    """A remote folder, mirrored by one below `cache_folder()`.

    Args:
        url: Of the remote folder, without a slash at its end.
    """

    def __init__(self, url: str) -> None:
        self.address = url
        self._remote, self._path, self._errors = _file_system(url)
        readable = re.sub(r"[^A-Za-z0-9]+", "-", url).strip("-")[-80:]
        self.folder = cache_folder() / f"{readable}-{bytes_hash(url.encode())}"

    def open(self) -> bool:
        self._make_folder()
        if not self._fetch_manifest():
            self._forget(MANIFEST)
            return False
        try:
            manifest = read_manifest(self.folder)
        except TargetsError as error:
            raise self._damaged(MANIFEST, "it does not say what was written") from error
        if state := manifest.settings.state:
            self._fetch(state_path(self.folder, state).name)
        for shard in manifest.shards:
            self._fetch(shard.file)
        return True

    def begin(self) -> None:
        """Put an empty file there, and take it away."""
        self._make_folder()
        probe = f"{self._path}/.limbeck-{secrets.token_hex(8)}"
        with self._at_remote("write", self.address):
            self._remote.pipe_file(probe, b"")
        with suppress(OSError):  # who may write may not always remove
            self._remote.rm_file(probe)

    def fetch(self, names: set[str]) -> None:
        self._make_folder()
        for name in sorted(names):
            self._fetch(name)

    def pull(self) -> None:
        there = self.names()
        self.fetch(there)
        for pattern in ("shard-*.arrow", "state-*.safetensors", UNFINISHED, MANIFEST):
            for path in self.folder.glob(pattern):
                if path.name not in there:
                    self._forget(path.name)

    def put(self, name: str) -> None:
        with self._at_remote("write", f"{self.address}/{name}"):
            self._remote.put_file(str(self.folder / name), f"{self._path}/{name}")

    def remove(self, name: str) -> None:
        with self._at_remote("write", f"{self.address}/{name}"), suppress(FileNotFoundError):
            self._remote.rm_file(f"{self._path}/{name}")
        self._forget(name)

    def names(self) -> set[str]:
        with self._at_remote("read", self.address):
            self._remote.invalidate_cache()
            try:
                found = self._remote.ls(self._path, detail=False)
            except FileNotFoundError:  # of nothing in it there is no folder
                return set()
        names = {str(path).rpartition("/")[2] for path in found}
        return {name for name in names if _WHOLE.match(name)}

    def _fetch_manifest(self) -> bool:
        with self._at_remote("read", f"{self.address}/{MANIFEST}"):
            self._remote.invalidate_cache()
            try:
                raw = self._remote.cat_file(f"{self._path}/{MANIFEST}")
            except FileNotFoundError:
                return False

        def write(beside: Path) -> None:
            beside.write_bytes(raw)

        write_atomically(self.folder / MANIFEST, write)
        return True

    def _fetch(self, name: str) -> None:
        """Have a file here that carries its checksum in its name."""
        path = self.folder / name
        expected = path.stem.rpartition("-")[2]
        if path.is_file() and file_hash(path) == expected:
            return

        def write(beside: Path) -> None:
            with self._at_remote("read", f"{self.address}/{name}"):
                try:
                    self._remote.get_file(f"{self._path}/{name}", str(beside))
                except FileNotFoundError as error:
                    raise self._damaged(name, "it is missing") from error
            if (found := file_hash(beside)) != expected:
                raise self._damaged(name, f"expected checksum {expected}, got {found}")

        write_atomically(path, write)

    def _damaged(self, name: str, why: str) -> TargetsError:
        return TargetsError(
            f"{self.address}/{name} is damaged: {why}. Delete it and {MANIFEST} there, and capture "
            "again with the same settings: only what was in it is asked again."
        )

    def _make_folder(self) -> None:
        with storage_errors(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)

    def _forget(self, name: str) -> None:
        with storage_errors(self.folder):
            (self.folder / name).unlink(missing_ok=True)

    @contextmanager
    def _at_remote(self, doing: str, url: str) -> Iterator[None]:
        """Turn what goes wrong over there into a `StorageError` that names the way out."""
        try:
            yield
        except StorageError:
            raise
        except FileNotFoundError as error:
            raise StorageError(
                f"cannot {doing} {url}: there is no such bucket, folder or file. Make it, or "
                "correct the URL."
            ) from error
        except PermissionError as error:
            raise StorageError(
                f"cannot {doing} {url}: there is no permission. Look at your credentials and at "
                "the rights they give."
            ) from error
        except self._errors as error:
            raise StorageError(
                f"cannot {doing} {url}: {first_line(error)}. Mend that, and run the same command "
                "again: it goes on from what is there."
            ) from error


def cache_folder() -> Path:
    """Where remote folders are mirrored: $LIMBECK_CACHE, or `limbeck` in the user's cache."""
    if said := os.environ.get("LIMBECK_CACHE"):
        return Path(said)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "limbeck"


def _file_system(url: str) -> tuple[Any, str, tuple[type[Exception], ...]]:
    """The file system of a URL, the path in it, and the errors that it raises."""
    try:
        from fsspec.core import url_to_fs
    except ImportError:
        raise ExtraError(f"{url} needs fsspec. pip install 'limbeck[remote]'.") from None
    protocol = url.partition("://")[0]
    try:
        remote, path = url_to_fs(url)
    except ImportError as error:
        raise ExtraError(
            f"{url} needs a library that is not installed: {first_line(error)}. For S3, pip "
            "install 'limbeck[remote]'."
        ) from None
    except ValueError as error:
        raise OptionError(
            f"{url} is no folder that can be reached: {first_line(error)}. Give a path, or a URL "
            "that fsspec knows, such as s3://bucket/folder."
        ) from error
    if protocol in ("s3", "s3a"):
        from botocore.exceptions import BotoCoreError

        return remote, str(path), (OSError, BotoCoreError)
    return remote, str(path), (OSError,)
