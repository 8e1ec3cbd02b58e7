"""Samples of a map-style torch dataset, read when they are asked for."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from limbeck._errors import DataError, LimbeckError
from limbeck._lookup import first_line, place_of
from limbeck.data._tensors import (
    Keys,
    as_inputs,
    as_labels,
    as_model_input,
    content_keys,
    first_not_finite,
    parts_of,
    stack,
    take_each,
)
from limbeck.data._views import Views
from limbeck.signals import Batch, Inputs

_BLOCK = 256


class DatasetSamples:
    """Samples of a map-style torch dataset, read when they are asked for.

    Each item is `(input, label)`, or a dict with the key "label" beside the model's keyword
    arguments. Labels and keys are read once, in one pass over the data; inputs never stay.

    Args:
        dataset: Anything with `__len__` and `__getitem__`.
        head: The name of the head that the labels belong to.
        labelled: `(samples,)` bool, whose labels may be used; None when all may.
        views: How views are made.
        positions: `(samples,)`, which items of the dataset these are; None means all.
    """

    def __init__(
        self,
        dataset: Any,
        *,
        head: str = "label",
        labelled: Tensor | None = None,
        views: Views = Views(),  # noqa: B008  (frozen)
        positions: Tensor | None = None,
    ) -> None:
        self._dataset = dataset
        self._head = head
        self._labelled = labelled
        self._views = views
        self._positions = torch.arange(len(dataset)) if positions is None else positions

    @cached_property
    def _read_once(self) -> tuple[dict[str, Tensor], Keys]:
        labels: list[Tensor] = []
        keys = np.empty(len(self), dtype=np.uint64)
        first: dict[str, torch.Size] = {}
        for start in range(0, len(self), _BLOCK):
            index = torch.arange(start, min(start + _BLOCK, len(self)))
            inputs, batch_labels = self._collate(index)
            shapes = {name: part.shape[1:] for name, part in parts_of(inputs)}
            if (first := first or shapes) != shapes:
                raise DataError(
                    f"inputs must have one shape in all samples, got {_listed(first)} and "
                    f"{_listed(shapes)}. Pad or resize them in the dataset."
                )
            self._check_finite(inputs, index)
            keys[index.numpy()] = content_keys(inputs)
            if batch_labels is not None:
                labels.append(batch_labels)
        return ({self._head: torch.cat(labels)} if labels else {}), keys

    def _collate(self, index: Tensor) -> tuple[Inputs, Tensor | None]:
        positions = self._positions[index].tolist()
        items = [item_of(self._dataset, position) for position in positions]
        self._check_one_form(items, positions)
        if isinstance(items[0], dict):
            columns = {name: stack(name, (item[name] for item in items)) for name in items[0]}
            labels = columns.pop(self._head if self._head in columns else "label", None)
            inputs: Inputs = {name: as_inputs(name, part) for name, part in columns.items()}
        elif isinstance(items[0], (tuple, list)) and len(items[0]) == 2:
            inputs = as_inputs("inputs", stack("inputs", (item[0] for item in items)))
            labels = stack("labels", (item[1] for item in items))
        else:
            raise DataError(
                "a dataset's item must be (input, label) or a dict with the key "
                f'"{self._head}", got {type(items[0]).__name__}. Wrap the dataset in one that '
                "returns such items."
            )
        return inputs, None if labels is None else as_labels("labels", labels)

    def _check_one_form(self, items: Sequence[Any], positions: Sequence[int]) -> None:
        first, where = _form(items[0]), positions[0]
        for item, position in zip(items, positions, strict=True):
            if (form := _form(item)) != first:
                raise DataError(
                    f"items of the dataset {_name(self._dataset)} must be of one form, got {first} "
                    f"at sample {where} and {form} at sample {position}. Mend its __getitem__."
                )

    def _check_finite(self, inputs: Inputs, index: Tensor) -> None:
        for name, part in parts_of(inputs):
            if (bad := first_not_finite(part)) is not None:
                raise DataError(
                    f"{f'the input {name}' if name else 'the input'} of item "
                    f"{int(self._positions[index[bad]])} of the dataset holds a number that is "
                    "not finite. Remove or fill in such samples."
                )

    @property
    def labels(self) -> Mapping[str, Tensor]:
        """By head."""
        return self._read_once[0]

    @property
    def labelled(self) -> Tensor | None:
        """Whose labels may be used."""
        return self._labelled

    @property
    def views(self) -> Views:
        """How views are made."""
        return self._views

    @property
    def keys(self) -> Keys:
        """Content keys, computed once."""
        return self._read_once[1]

    def __len__(self) -> int:
        return len(self._positions)

    def fetch(self, index: Tensor, view: int = 0) -> Batch:
        """These samples as one batch of one view."""
        if len(index) == 0:  # what a process gets of a batch smaller than their number
            return self.fetch(torch.zeros(1, dtype=torch.int64), view).slice(0, 0)
        raw, labels = self._collate(index)
        if view:
            raw = self._views.of(raw, content_keys(raw), view)
        return Batch(
            inputs=raw if isinstance(raw, dict) else as_model_input(raw),
            labels={} if labels is None else {self._head: labels},
            index=index,
            labelled=None if self._labelled is None else self._labelled[index],
            view=view,
        )

    def subset(self, index: Tensor) -> "DatasetSamples":
        """These samples alone, in this order."""
        chosen = DatasetSamples(
            self._dataset,
            head=self._head,
            labelled=None if self._labelled is None else self._labelled[index],
            views=self._views,
            positions=self._positions[index],
        )
        if "_read_once" in self.__dict__:
            labels, keys = self._read_once
            chosen._read_once = take_each(labels, index), keys[index.numpy()]
        return chosen

    def with_labels_of(self, labelled: Tensor) -> "DatasetSamples":
        """The same samples, of which only those where `labelled` show their labels."""
        same = self.subset(torch.arange(len(self)))
        same._labelled = labelled
        return same

    def with_views(self, views: Views) -> "DatasetSamples":
        """The same samples, whose views are made so."""
        same = self.subset(torch.arange(len(self)))
        same._views = views
        return same


def _listed(shapes: Mapping[str, torch.Size]) -> str:
    return ", ".join(f"{name} {tuple(shape)}".strip() for name, shape in shapes.items())


def item_of(dataset: Any, position: int) -> Any:
    """What a dataset gives at `position`; a `DataError` that names both, if it raises."""
    try:
        return dataset[position]
    except LimbeckError:
        raise
    except Exception as failure:
        raise DataError(
            f"the dataset {_name(dataset)} raised {type(failure).__name__} at sample {position}"
            f"{place_of(failure)}: {first_line(failure)}. Mend its __getitem__, or leave that "
            "sample out."
        ) from failure


def _name(dataset: Any) -> str:
    return type(dataset).__qualname__


def _form(item: Any) -> str:
    if isinstance(item, dict):
        return f"a dict with the keys {', '.join(sorted(map(str, item)))}"
    is_pair = isinstance(item, (tuple, list)) and len(item) == 2
    return "(input, label)" if is_pair else type(item).__name__
