"""The user's own data: what a function of theirs returns."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from limbeck._errors import DataError, did_you_mean
from limbeck.data._arrays import samples, samples_and_heads
from limbeck.data._data_set import DataSet, check_split
from limbeck.data._samples import Samples
from limbeck.data._split import Cut
from limbeck.signals import Head

_SPLITS = ("train", "validation", "test")


def data_set_of(source: str, returned: Any, cut: Cut) -> DataSet:
    """The data set that a function returned.

    Args:
        source: Its name, for errors.
        returned: A `DataSet`; or the splits, as (train, test) or as a dict with "train" and maybe
            "validation" and "test". A split is whatever `samples` takes; the heads are those that
            `infer_head` tells from the training labels, so return a `DataSet` to say others.
        cut: Of the splits that are not there.
    """
    if isinstance(returned, DataSet):
        return returned
    splits = _by_name(source, returned)
    train, heads = samples_and_heads(splits["train"])
    if len(train) == 0:
        raise DataError(f"source {source!r}: the training split is empty. Return some samples.")
    if not heads:
        raise DataError(f"source {source!r}: the training split has no labels. Return some.")
    validation, test = (
        samples(splits[name]) if name in splits else None for name in ("validation", "test")
    )
    check_split("train", train, heads)  # before it is cut: errors name samples by their place here
    train, validation, test = cut.three(
        train, validation, test, classes=classes_of(train, heads[0]), take=_subset
    )
    return DataSet(train=train, validation=validation, test=test, heads=heads)


def classes_of(split: Samples, head: Head) -> Tensor | None:
    """`(samples,)` class ids, to keep their proportions; None for rows, numbers and no labels."""
    labels = split.labels.get(head.name)
    if labels is None or head.space != "categorical" or labels.dim() > 1:
        return None
    return labels


def _by_name(source: str, returned: Any) -> dict[str, Any]:
    if isinstance(returned, tuple) and len(returned) == 2:
        returned = dict(zip(("train", "test"), returned, strict=True))
    if not isinstance(returned, Mapping) or "train" not in returned:
        raise DataError(
            f"source {source!r} must return (train, test), a dict of splits with train, or a "
            f"DataSet, got {type(returned).__name__}. Each split is (inputs, labels) or a torch "
            "dataset."
        )
    for name, split in returned.items():
        if name not in _SPLITS:
            raise DataError(
                f"source {source!r}: splits are {', '.join(_SPLITS)}, got {name!r}."
                f"{did_you_mean(str(name), _SPLITS)} Rename it."
            )
        if isinstance(split, Tensor) or type(split).__module__ == "numpy":
            raise DataError(
                f"source {source!r}: the {name} split must be (inputs, labels) or a torch "
                f"dataset, got {type(split).__name__}. Return ((inputs, labels), (inputs, "
                "labels)): train, then test."
            )
    return dict(returned)


def _subset(split: Samples, index: Tensor) -> Samples:
    return split.subset(index)
