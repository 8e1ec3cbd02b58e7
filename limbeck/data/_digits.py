"""The 8x8 handwritten digits that come with scikit-learn."""

from pathlib import Path

import numpy as np
import torch

from limbeck._errors import OptionError
from limbeck.data._data_set import DataSet
from limbeck.data._samples import ArraySamples
from limbeck.data._split import Cut
from limbeck.signals import Head


def digits(path: Path | None, cut: Cut) -> DataSet:
    """1797 images of 8x8 pixels in 0..1, float32 `(samples, 8, 8)`, 10 classes.

    With `test=0.3, validation=0.2` these are 1006 / 251 / 540.
    """
    from sklearn.datasets import load_digits

    if path is not None:
        raise OptionError(f"source digits is embedded and takes no path, got {path}. Leave it out.")
    raw = load_digits()
    labels = torch.from_numpy(raw.target.astype(np.int64))
    images = torch.from_numpy((raw.images / 16).astype(np.float32))  # (samples, 8, 8)
    train, validation, test = cut.three(
        ArraySamples(images, {"label": labels}), classes=labels, take=ArraySamples.subset
    )
    head = Head(space="categorical", size=10, classes=tuple("0123456789"))
    return DataSet(train=train, validation=validation, test=test, heads=(head,))
