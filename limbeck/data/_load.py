"""The one way in: a source's name to a data set that is checked and ready."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from limbeck._errors import DataError, OptionError, did_you_mean
from limbeck._lookup import call_function, check_options, import_function
from limbeck.data._characters import characters
from limbeck.data._data_set import DataSet, check_split
from limbeck.data._digits import digits
from limbeck.data._hub import hub
from limbeck.data._idx import idx
from limbeck.data._images import image_folder
from limbeck.data._own import classes_of, data_set_of
from limbeck.data._paths import find_path
from limbeck.data._samples import Samples
from limbeck.data._split import Cut, choose_labelled
from limbeck.data._table import table, trec
from limbeck.data._views import Views
from limbeck.signals import Head

Source = Callable[..., DataSet]

SOURCES: dict[str, Source] = {
    "digits": digits,
    "idx": idx,
    "table": table,
    "trec": trec,
    "characters": characters,
    "image_folder": image_folder,
    "hf": hub,
}
"""Each is called with a path or None, the `Cut`, and its options by keyword."""


def load(
    source: str,
    *,
    path: str | Path | None = None,
    validation: float = 0.1,
    test: float = 0.2,
    seed: int = 0,
    limit: int | None = None,
    labelled: float = 1.0,
    views: Views = Views(),  # noqa: B008  (frozen)
    options: Mapping[str, Any] = {},
) -> DataSet:
    """A data set from its source, cut into three splits, checked.

    Args:
        source: A name in `SOURCES`; or "hf:NAME", a data set on the Hugging Face Hub; or the
            user's own "package.module:function", which is called with the options (and with
            `path=` if there is one) and returns what `data_set_of` takes.
        path: File or folder: absolute, or below the working folder or `$LIMBECK_DATA`.
        validation: Fraction in (0, 1) of what is not test, to the nearest sample; or a count.
            Without effect where the source has validation data of its own.
        test: Fraction in (0, 1) of all samples, rounded up; or a count. Without effect where the
            source has test data of its own.
        seed: Of the splits, of `limit` and of `labelled`.
        limit: Learn from at most this many training samples, chosen at random; None means all.
        labelled: How many of these show their labels: a fraction in (0, 1], or, as an int, a
            count. 1.0 means all; the int 1 means one.
        views: How views of training samples are made.
        options: The source's own.

    Raises:
        OptionError: The source, or an option, does not exist or is out of range.
        DataError: Samples are missing, corrupt, not finite, or out of range.
        ExtraError: The source needs a library that is not installed.

    Example:
        >>> data = load("digits", validation=0.2, test=0.3)
        >>> len(data.train), len(data.validation), len(data.test)
        (1006, 251, 540)
    """
    cut = Cut(validation=validation, test=test, seed=seed)
    found = None if path is None else find_path(path)
    data = _call(source, found, cut, options)
    train = data.train
    if limit is not None:
        train = _limited(train, limit, seed)
    check_split("train", train, data.heads, labels=bool(train.labels))
    check_split("validation", data.validation, data.heads)
    check_split("test", data.test, data.heads)
    if labelled != 1.0 or isinstance(labelled, int):
        train = _with_some_labels(train, labelled, data.head, seed)
    if views != Views():
        train = train.with_views(views)
        train.fetch(torch.zeros(1, dtype=torch.int64), view=1)  # refuses what is no image
    return replace(data, train=train)


def _call(source: str, path: Path | None, cut: Cut, options: Mapping[str, Any]) -> DataSet:
    if not isinstance(source, str):
        raise OptionError(
            f"source must be the name of one, got {type(source).__name__}. Arrays, (inputs, "
            "labels), are given to supervise, capture and distil as they are; to be cut into "
            "splits, they are what a function of yours, package.module:function, returns."
        )
    if source.startswith("hf:"):
        source, options = "hf", {**options, "name": source.removeprefix("hf:")}
    if source in SOURCES:
        function = SOURCES[source]
        check_options(
            f"source {source}", function, options, section="data.options", given=("path", "cut")
        )
        return function(path, cut, **options)
    if ":" not in source:
        raise OptionError(
            f"no source is called {source!r}.{did_you_mean(source, SOURCES)} There are "
            f"{', '.join(SOURCES)}, hf:NAME, and your own package.module:function."
        )
    own = import_function("source", source, DataError)
    given = {} if path is None else {"path": path}
    everything = {**options, **given}
    check_options(f"source {source}", own, everything, section="data.options")
    return data_set_of(source, call_function("source", source, own, everything, DataError), cut)


def _limited(train: Samples, limit: int, seed: int) -> Samples:
    if limit < 1:
        raise OptionError(f"limit must be 1 sample or more, got {limit}.")
    chosen = np.random.default_rng(seed).permutation(len(train))[:limit]
    return train.subset(torch.from_numpy(np.sort(chosen)))


def _with_some_labels(train: Samples, amount: float, head: Head, seed: int) -> Samples:
    """Labels are chosen among the samples that show theirs already."""
    candidates = (
        torch.arange(len(train)) if train.labelled is None else train.labelled.nonzero()[:, 0]
    )
    classes = classes_of(train, head)
    chosen = choose_labelled(
        amount, len(candidates), None if classes is None else classes[candidates], seed=seed
    )
    labelled = torch.zeros(len(train), dtype=torch.bool)
    labelled[candidates[chosen]] = True
    return train.with_labels_of(labelled)
