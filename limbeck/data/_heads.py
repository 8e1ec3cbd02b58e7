"""Heads, told from labels."""

import torch
from torch import Tensor

from limbeck._errors import DataError
from limbeck.data._tensors import as_labels
from limbeck.signals import Head, Space


def infer_head(labels: Tensor, *, name: str = "label", classes: tuple[str, ...] = ()) -> Head:
    """The head that these labels belong to, by their type and shape alone.

    | labels | head |
    |---|---|
    | whole numbers `(samples,)` | categorical, one row a sample |
    | whole numbers `(samples, rows)` | categorical, many rows a sample: one for each token, ... |
    | booleans `(samples,)` | categorical, two classes |
    | booleans `(samples, size)` | binary: yes or no for each class |
    | floats `(samples,)` or `(samples, size)` | real |

    Whole numbers `(samples, 1)` are `(samples,)`. Multi-label data given as whole numbers would
    look like rows: give booleans.

    Args:
        labels: As they came, of training samples.
        name: The head's name.
        classes: The classes' names; a categorical head without names has as many classes as its
            largest label says.
    """
    tidy = as_labels("labels", labels)
    if not tidy.is_floating_point():
        largest = int(tidy.max()) if tidy.numel() else -1
        size = len(classes) or (2 if labels.dtype == torch.bool else largest + 1)
        return Head(name=name, space="categorical", size=size, classes=classes)
    space: Space = "binary" if labels.dtype == torch.bool else "real"
    return Head(name=name, space=space, size=int(tidy.shape[-1]), classes=classes)


def refuse_mistaken(labels: Tensor, *, name: str) -> None:
    """Refuse labels that `infer_head` would take for something that they hardly are.

    Raises:
        DataError: They are one-hot, or classes that are counted from 1.
    """
    tidy = as_labels("labels", labels)
    if labels.is_floating_point():
        if _is_one_hot(tidy):
            raise DataError(
                f"labels {name} must be class ids for classes, or any numbers for a regression, "
                f"got one-hot floats {tuple(tidy.shape)}, which would be learned as numbers. Give "
                "labels.argmax(1); if numbers are meant, a limbeck.data.DataSet says so in its "
                "heads."
            )
    elif labels.dtype != torch.bool and _is_one_hot(tidy):
        raise DataError(
            f"labels {name} must be class ids, got one-hot ones {tuple(tidy.shape)}, which would "
            f"be a class for each of {tidy.shape[1]} tokens. Give labels.argmax(1); if tokens are "
            "meant, a limbeck.data.DataSet says so in its heads."
        )
    elif labels.dtype != torch.bool and tidy.dim() == 1:
        there = set(tidy.tolist())
        if len(there) > 1 and there == set(range(1, len(there) + 1)):
            raise DataError(
                f"labels {name} must count classes from 0, got all of 1..{len(there)} and no 0. "
                "Give labels - 1; if class 0 has no sample, a limbeck.data.DataSet says so in its "
                "heads."
            )


def _is_one_hot(rows: Tensor) -> bool:
    if rows.dim() != 2 or rows.shape[1] < 2 or not len(rows):
        return False
    ones, zeros = (rows == 1).sum(1), (rows == 0).sum(1)  # (samples,)
    return bool(((ones == 1) & (zeros == rows.shape[1] - 1)).all())
