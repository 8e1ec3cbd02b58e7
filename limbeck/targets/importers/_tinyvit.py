"""TinyViT's saved logits: Wu et al., 2022, https://arxiv.org/abs/2207.10666.

A folder `logits_topK_epochE` holds, for each process R, `rankR-keys.txt`, a key a line, and
`rankR-values.bin`, of each key 4 + 4 K bytes: int32 seed of the augmentation, K int16 classes, K
float16 probabilities. A key is the sample's number, or a name of the data set's own.
"""

import re
from collections import Counter
from pathlib import Path

import numpy as np

from limbeck._errors import TargetsError
from limbeck._lookup import first_line
from limbeck.targets.importers._cache import (
    Cache,
    Entries,
    Importer,
    damaged_cache,
    most_if_rounded,
)

_FOLDER = re.compile(r"logits_top([1-9]\d{0,4})_epoch(\d+)")
_DIGITS = 18
"""Of a sample's number, at most; it fits in 64 bits."""


class TinyViT(Importer):
    """A folder `logits_topK_epochE`: the rows of one epoch.

    Samples come in the order of their keys where these are numbers, else as they lie: rank by
    rank, line by line. The seeds are not kept: rows are of images that only TinyViT's own
    augmentation makes again, which is why `transform` names it.
    """

    def read(self, path: Path, rows: int) -> Cache:
        """See `Importer`."""
        named = _FOLDER.fullmatch(path.name)
        if not named or not path.is_dir():
            raise TargetsError(
                f"{path} is no folder of saved logits of TinyViT: expected one that is called "
                "logits_topK_epochE. Name that folder."
            )
        kept, epoch = int(named[1]), int(named[2])
        record = np.dtype([("seed", "<i4"), ("ids", "<i2", (kept,)), ("values", "<f2", (kept,))])
        keys: list[str] = []
        pieces = []
        for values in sorted(path.glob("rank*-values.bin"), key=_rank):
            of_rank = _keys(values)
            if values.stat().st_size != len(of_rank) * record.itemsize:
                raise damaged_cache(
                    values,
                    f"expected {record.itemsize} bytes for each of {len(of_rank)} keys, got "
                    f"{values.stat().st_size}",
                )
            keys += of_rank
            pieces.append(np.fromfile(values, dtype=record))
        if not pieces:
            raise damaged_cache(path, "it holds no rank*-values.bin")
        found = np.concatenate(pieces)

        def entries(number: int) -> Entries:
            row = found[number]
            return row["ids"].astype(np.int64)[None], row["values"].astype(np.float64)[None]

        return Cache(
            kept=kept,
            most=most_if_rounded(kept),
            samples=map(entries, _order(keys, path)),
            transform=f"TinyViT's augmentation, epoch {epoch}",
        )


def _rank(path: Path) -> int:
    return int(re.sub(r"\D", "", path.name) or 0)


def _keys(values: Path) -> list[str]:
    file = values.with_name(values.name.replace("-values.bin", "-keys.txt"))
    if not file.is_file():
        raise damaged_cache(values, f"{file.name} is missing beside it")
    try:
        return file.read_text(encoding="utf-8").split()
    except (UnicodeDecodeError, OSError) as error:
        raise damaged_cache(file, first_line(error)) from error


def _order(keys: list[str], path: Path) -> list[int]:
    """Where the row of the first sample lies, of the second, ..."""
    numbered = all(key.isdecimal() for key in keys)
    for key in keys if numbered else []:
        if len(key) > _DIGITS:
            raise damaged_cache(path, f"key {key[:40]} is no sample's number")
    numbers: list[int] | list[str] = list(map(int, keys)) if numbered else keys
    twice = [key for key, times in Counter(numbers).items() if times > 1]
    if twice:
        raise damaged_cache(path, f"key {twice[0]} is there twice")
    lying = range(len(keys))
    return sorted(lying, key=numbers.__getitem__) if numbered else list(lying)
