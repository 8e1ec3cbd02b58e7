"""TinyViT's saved logits: Wu et al., 2022, https://arxiv.org/abs/2207.10666.

A folder `logits_topK_epochE` holds, for each process R, `rankR-keys.txt`, a key a line, and
`rankR-values.bin`, of each key 4 + 4 K bytes: int32 seed of the augmentation, K int16 classes, K
float16 probabilities. A key is the sample's number, or a name of the data set's own.
"""

import re
from pathlib import Path

import numpy as np

from limbeck._errors import TargetsError
from limbeck.targets.importers._cache import Cache, Entries, damaged_cache

_FOLDER = re.compile(r"logits_top(\d+)_epoch(\d+)")


def tinyvit(path: Path) -> Cache:
    """The rows of one epoch.

    Samples come in the order of their keys where these are numbers, else as they lie: rank by
    rank, line by line. The seeds are not kept: rows are of images that only TinyViT's own
    augmentation makes again, which is why `transform` names it.

    Args:
        path: A folder `logits_topK_epochE`.
    """
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
        names = values.with_name(values.name.replace("-values.bin", "-keys.txt"))
        if not names.is_file():
            raise damaged_cache(values, f"{names.name} is missing beside it")
        of_rank = names.read_text(encoding="utf-8").split()
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
    rows = np.concatenate(pieces)
    if all(key.isdecimal() for key in keys):
        rows = rows[np.argsort(np.array(keys, dtype=np.int64), kind="stable")]

    def entries(number: int) -> Entries:
        row = rows[number]
        return row["ids"].astype(np.int64)[None], row["values"].astype(np.float64)[None]

    return Cache(
        kept=kept,
        samples=map(entries, range(len(rows))),
        transform=f"TinyViT's augmentation, epoch {epoch}",
    )


def _rank(path: Path) -> int:
    return int(re.sub(r"\D", "", path.name) or 0)
