"""The 8x8 handwritten digits that come with scikit-learn."""

import importlib.util
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from limbeck._errors import ExtraError, OptionError
from limbeck.data._data_set import DataSet
from limbeck.data._samples import ArraySamples
from limbeck.data._split import Cut
from limbeck.signals import Head


def digits(path: Path | None, cut: Cut) -> DataSet:
    """1797 images of 8x8 pixels in 0..1, float32 `(samples, 8, 8)`, 10 classes.

    With `test=0.3, validation=0.2` these are 1006 / 251 / 540.
    """
    if path is not None:
        raise OptionError(f"source digits is embedded and takes no path, got {path}. Leave it out.")
    raw = _raw()
    labels = torch.from_numpy(raw[:, 64].astype(np.int64))
    images = torch.from_numpy((raw[:, :64] / 16).astype(np.float32)).view(-1, 8, 8)
    train, validation, test = cut.three(
        ArraySamples(images, {"label": labels}), classes=labels, take=ArraySamples.subset
    )
    head = Head(space="categorical", size=10, classes=tuple("0123456789"))
    return DataSet(train=train, validation=validation, test=test, heads=(head,))


def _raw() -> NDArray[np.float64]:
    """`(samples, 65)`: pixels in 0..16 and the label, from the file that `load_digits` reads.

    It alone is read: to import scikit-learn takes as long as the rest of a short command.
    """
    found = importlib.util.find_spec("sklearn")
    if found is None or found.origin is None:
        raise ExtraError("source digits is in scikit-learn. pip install scikit-learn.")
    return np.loadtxt(Path(found.origin).parent / "datasets/data/digits.csv.gz", delimiter=",")
