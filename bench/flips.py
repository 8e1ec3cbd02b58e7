"""Flip one bit of a transfer set, some thousand times, and look whether that is found, by name.

python bench/flips.py
"""

import random
import tempfile
from collections.abc import Iterator
from pathlib import Path

import torch
from _killing import Counted, samples
from _results import bar, write

from limbeck._errors import TargetsError
from limbeck.signals import Head
from limbeck.targets import TransferSet, capture
from limbeck.teachers import Teacher

FLIPS = {
    "shard": 1200,
    "manifest": 800,
    "state": 400,
    "unpacked copy": 400,
    "contents of the unpacked copy": 200,
}
"""How many bits are flipped in which place."""
PLACES = {
    "shard": "shard-*.arrow",
    "manifest": "manifest.json",
    "state": "state-*.safetensors",
    "unpacked copy": ".unpacked-*/*.bin",
    "contents of the unpacked copy": ".unpacked-*/contents.json",
}
"""The files of each place."""


def flips(folder: Path, place: str, count: int, seed: int = 0) -> Iterator[str | None]:
    """What was said of each flip: the error's text if it named the file or its folder, else None.

    Args:
        folder: A transfer set with a state and an unpacked copy; the same again afterwards.
        place: A key of `PLACES`.
        count: How many bits are flipped, one at a time.
        seed: Of which.
    """
    draw = random.Random(seed)
    paths = [path for path in sorted(folder.glob(PLACES[place])) if path.stat().st_size]
    sizes = [path.stat().st_size for path in paths]
    for _ in range(count):
        (path,) = draw.choices(paths, sizes)
        whole = path.read_bytes()
        flipped, bit = bytearray(whole), draw.randrange(8 * len(whole))
        flipped[bit // 8] ^= 1 << bit % 8
        path.write_bytes(flipped)
        yield _said(folder, path)
        path.write_bytes(whole)


def _said(folder: Path, path: Path) -> str | None:
    try:
        TransferSet(folder, reading="mapped").read(torch.arange(1))
    except TargetsError as error:
        named = path.name if path.parent == folder else path.parent.name
        return str(error) if named in str(error) and "damaged" in str(error) else None
    return None


def captured(folder: Path) -> None:
    """A transfer set of all files there can be, into `folder`."""
    teacher = Teacher(Counted(folder.with_name("notes")), [Head(space="categorical", size=10)])
    options = {"codec": "threshold", "codec_options": {"tau": 0.1}}
    capture(teacher, samples(), folder, **options)
    TransferSet(folder, reading="mapped").read(torch.arange(1))


def main() -> None:
    rows = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "set"
        captured(folder)
        for place, count in FLIPS.items():
            found = list(flips(folder, place, count))
            missed = sum(said is None for said in found)
            rows.append({"flipped in": place, "flips": len(found), "not found": missed})
        TransferSet(folder, reading="mapped").verify()
    write(
        "flips",
        rows,
        [
            bar("single bits flipped", sum(row["flips"] for row in rows), ">=", 2000),
            bar("flips that were not found", sum(row["not found"] for row in rows), "==", 0),
        ],
    )


if __name__ == "__main__":
    main()
