"""The four idx files of MNIST and of those that took its layout.

The format: http://yann.lecun.com/exdb/mnist/ (LeCun et al., 1998). Two zero bytes, a type (8 is
unsigned bytes), the number of axes, each axis as a big-endian 32-bit integer, then the bytes.
"""

import gzip
import math
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from limbeck._errors import DataError
from limbeck._lookup import first_line
from limbeck.data._data_set import DataSet
from limbeck.data._heads import infer_head
from limbeck.data._paths import need_path
from limbeck.data._samples import ArraySamples
from limbeck.data._split import Cut

_UNSIGNED_BYTE = 8


def idx(path: Path | None, cut: Cut, *, class_names: Sequence[str] = ()) -> DataSet:
    """Images of 8-bit integers, `(samples, height, width)`, and their classes.

    Args:
        path: The folder of `train-images-idx3-ubyte`, `train-labels-idx1-ubyte` and the two of
            `t10k`, each plain or `.gz`.
        cut: Of the validation split; the test split is `t10k`.
        class_names: The classes' names, in order.
    """
    folder = need_path(path, "idx", "the folder of the four idx files")
    whole, test = (_split(folder, prefix) for prefix in ("train", "t10k"))
    labels = whole.labels["label"]
    train, validation, test = cut.three(whole, test=test, classes=labels, take=ArraySamples.subset)
    head = infer_head(labels, classes=tuple(class_names))
    return DataSet(train=train, validation=validation, test=test, heads=(head,))


def _split(folder: Path, prefix: str) -> ArraySamples:
    images = read_idx(_find(folder, f"{prefix}-images", 3), num_axes=3)
    labels = read_idx(_find(folder, f"{prefix}-labels", 1), num_axes=1)
    if len(images) != len(labels):
        raise DataError(
            f"{folder} must hold a label for each image, got {len(images)} {prefix}-images and "
            f"{len(labels)} {prefix}-labels. Fetch the files again."
        )
    return ArraySamples(images, {"label": labels.long()})


def _find(folder: Path, name: str, num_axes: int) -> Path:
    names = [f"{name}{dash}idx{num_axes}-ubyte{end}" for dash in "-." for end in ("", ".gz")]
    for candidate in names:
        if (folder / candidate).is_file():
            return folder / candidate
    raise DataError(
        f"no file {folder / names[0]}, plain or .gz. Set data.path to the folder of the four files."
    )


def read_idx(path: Path, *, num_axes: int) -> Tensor:
    """The uint8 tensor of an idx file, plain or `.gz`.

    Raises:
        DataError: The file is corrupt, truncated, or holds something else.
    """
    try:
        raw = path.read_bytes()
        raw = gzip.decompress(raw) if path.suffix == ".gz" else raw
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"cannot read {path}: {first_line(error)}. Fetch the file again.") from None
    header = 4 + 4 * num_axes
    magic = bytes((0, 0, _UNSIGNED_BYTE, num_axes))
    if raw[:4] != magic or len(raw) < header:
        raise DataError(
            f"{path} must begin with the idx magic number {magic.hex()}, got {raw[:4].hex()}. "
            "Fetch the file again."
        )
    shape = tuple(int(size) for size in np.frombuffer(raw, ">u4", num_axes, offset=4))
    if len(raw) - header != math.prod(shape):
        raise DataError(
            f"{path} must hold {math.prod(shape)} bytes for the shape {shape}, got "
            f"{len(raw) - header}. Fetch the file again."
        )
    return torch.frombuffer(bytearray(raw), dtype=torch.uint8, offset=header).reshape(shape)
