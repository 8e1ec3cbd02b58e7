"""Samples from what users have at hand: arrays, tensors, torch datasets."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset, TensorDataset

from limbeck._errors import DataError
from limbeck._lookup import first_line
from limbeck.data._dataset_samples import DatasetSamples, item_of
from limbeck.data._heads import infer_head, refuse_mistaken
from limbeck.data._samples import ArraySamples, Samples
from limbeck.data._tensors import as_inputs, as_labels, as_tensor
from limbeck.data._views import Views
from limbeck.signals import Head


def samples(
    data: Any,
    labels: Any = None,
    *,
    head: str = "label",
    views: Views = Views(),  # noqa: B008  (frozen)
) -> Samples:
    """Samples of arrays, of a torch dataset, or as they are.

    Args:
        data: Inputs, as an array or tensor `(samples, ...)` or a dict of them by keyword; or the
            pair `(inputs, labels)`; or a map-style torch dataset of `(input, label)` or dicts;
            or samples.
        labels: `(samples,)`, `(samples, rows)` or `(samples, size)`, or a dict of these by head;
            None for samples without labels, or where `data` brings them.
        head: The head's name, where `labels` does not say it.
        views: How views are made, see `Views`.

    Raises:
        DataError: It is none of these, or holds something other than numbers.
        ShapeError: Inputs and labels differ in length.

    Example:
        >>> len(samples((torch.zeros(3, 28, 28), torch.tensor([7, 2, 1]))))
        3
    """
    if labels is None and _is_pair(data):
        data, labels = data
    if isinstance(data, (ArraySamples, DatasetSamples)):
        made: Samples = data
    elif isinstance(data, Dataset):
        made = _of_dataset(data, head)
    elif isinstance(data, (Mapping, Tensor, np.ndarray)):
        inputs = (
            {str(name): as_inputs(f"inputs {name}", part) for name, part in data.items()}
            if isinstance(data, Mapping)
            else as_inputs("inputs", data)
        )
        return ArraySamples(inputs, _labels_by_head(labels, head), views=views)
    elif isinstance(data, Samples):
        made = data
    else:
        way_out = "Wrap it in a torch.utils.data.Dataset."
        if isinstance(data, (list, tuple)):
            way_out = (
                "Make one array of its numbers, numpy.asarray(...); give arrays as the tuple "
                "(inputs, labels), and a list of such pairs as limbeck.data.DatasetSamples(pairs)."
            )
        raise DataError(
            "samples must be arrays, (inputs, labels), a torch dataset or Samples, got "
            f"{type(data).__name__}. {way_out}"
        )
    if labels is not None:
        raise DataError(
            f"{type(data).__name__} brings its own labels, got another {type(labels).__name__} "
            "of them. Leave one out."
        )
    return made if views == Views() else made.with_views(views)


def samples_and_heads(data: Any, *, head: str = "label") -> tuple[Samples, tuple[Head, ...]]:
    """The samples, and the heads that their labels belong to, see `infer_head`.

    Raises:
        DataError: As `samples` does; or the labels look like another kind than they would be.
    """
    made = samples(data, head=head)
    raw = dict(made.labels)
    if _is_pair(data):
        raw = _by_head(data[1], head)
    elif isinstance(data, TensorDataset):
        raw = {head: data.tensors[1]}
    elif isinstance(data, Dataset) and raw:
        # An item says whether numbers were booleans, which the tidy labels no longer show.
        item = item_of(data, 0)
        first = item.get(head, item.get("label")) if isinstance(item, dict) else item[1]
        if as_tensor("labels", first).dtype == torch.bool:
            raw = {head: raw[head].bool()}
    for name, labels in raw.items():
        refuse_mistaken(labels, name=name)
    return made, tuple(infer_head(labels, name=name) for name, labels in raw.items())


def _of_dataset(dataset: Dataset[Any], head: str) -> Samples:
    if isinstance(dataset, TensorDataset) and len(dataset.tensors) == 2:
        inputs, labels = dataset.tensors
        return ArraySamples(as_inputs("inputs", inputs), {head: as_labels("labels", labels)})
    try:
        return DatasetSamples(dataset, head=head)
    except TypeError:
        raise DataError(
            f"a dataset must have a length and items by position, got {type(dataset).__name__}. "
            "Turn an iterable dataset into a map-style one, with the items in a list."
        ) from None
    except Exception as failure:
        raise DataError(
            f"the dataset {type(dataset).__qualname__} raised {type(failure).__name__} when it was "
            f"asked for its length: {first_line(failure)}. Mend its __len__."
        ) from failure


def _labels_by_head(labels: Any, head: str) -> dict[str, Tensor]:
    return {
        name: as_labels(f"labels {name}", part) for name, part in _by_head(labels, head).items()
    }


def _by_head(labels: Any, head: str) -> dict[str, Tensor]:
    """Labels as they came, by head."""
    if labels is None:
        return {}
    by_head = labels if isinstance(labels, Mapping) else {head: labels}
    return {str(name): as_tensor(f"labels {name}", part) for name, part in by_head.items()}


def _is_pair(data: Any) -> bool:
    return isinstance(data, tuple) and len(data) == 2
