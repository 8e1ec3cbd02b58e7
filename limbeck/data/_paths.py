"""Where data lies."""

import os
from contextlib import suppress
from pathlib import Path

from limbeck._errors import DataError
from limbeck._files import PICKLE_SUFFIXES, reading_errors


def find_path(path: str | Path, *, beside: Path | None = None) -> Path:
    """The file or folder at `path`.

    Args:
        path: Absolute, or below `beside`, the working folder, or `$LIMBECK_DATA`.
        beside: A file whose folder is looked in first.

    Raises:
        DataError: It is nowhere, or is a pickle.
        StorageError: It cannot be looked at.
    """
    wanted = Path(path).expanduser()
    if wanted.suffix in PICKLE_SUFFIXES:
        raise DataError(
            f"{path} looks like a pickle, which can run code when it is read, and is refused. "
            "Save it as Parquet, CSV or JSON lines."
        )
    roots = [] if beside is None else [beside.parent]
    roots.append(Path.cwd())
    if root := os.environ.get("LIMBECK_DATA"):
        roots.append(Path(root).expanduser())
    looked = [wanted] if wanted.is_absolute() else [folder / wanted for folder in roots]
    for place in looked:
        with suppress(FileNotFoundError, NotADirectoryError), reading_errors(place):
            place.stat()
            return place
    raise DataError(
        f"no data at {' nor at '.join(map(str, looked))}. Set data.path, or LIMBECK_DATA to the "
        "folder that holds it."
    )


def need_path(path: Path | None, source: str, what: str) -> Path:
    """`path`, or a `DataError` that says `what` the source needs one for."""
    if path is None:
        raise DataError(f"source {source} needs a path: {what}. Set data.path.")
    return path


def need_file(path: Path, what: str) -> Path:
    """`path`, or a `DataError` unless it is a file."""
    with reading_errors(path):
        if not path.is_file():
            raise DataError(f"no file {path}, expected {what}. Set data.path, or fetch the file.")
        path.open("rb").close()
    return path
