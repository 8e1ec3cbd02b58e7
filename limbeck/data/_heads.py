"""Heads, told from labels."""

import torch
from torch import Tensor

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

    Multi-label data given as whole numbers would look like rows: give booleans.

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
