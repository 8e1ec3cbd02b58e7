"""Samples of one split: inputs, labels, content keys, and batches of them.

Two kinds, one interface: `ArraySamples` holds its inputs in memory; `DatasetSamples` reads them
one by one from any map-style torch dataset when they are asked for.
"""

from collections.abc import Mapping
from functools import cached_property
from typing import Any, Protocol, runtime_checkable

import torch
import xxhash
from torch import Tensor

from limbeck._errors import ShapeError
from limbeck.data._tensors import Keys, as_model_input, content_keys, parts_of, take, take_each
from limbeck.data._views import Views
from limbeck.signals import Batch, Inputs


@runtime_checkable
class Samples(Protocol):
    """Some samples, in a fixed order."""

    @property
    def labels(self) -> Mapping[str, Tensor]:
        """By head: `(samples,)` or `(samples, rows)` class ids, or `(samples, size)` numbers."""

    @property
    def labelled(self) -> Tensor | None:
        """`(samples,)` bool: whose labels may be used; None when all may."""

    @property
    def keys(self) -> Keys:
        """`(samples,)`: 64-bit hash of each sample's raw input, before any view."""

    @property
    def views(self) -> Views:
        """How view 1, 2, ... of a sample are made."""

    def __len__(self) -> int: ...

    def fetch(self, index: Tensor, view: int = 0) -> Batch:
        """These samples, `index` is `(batch,)`, as one batch of one view."""

    def subset(self, index: Tensor) -> "Samples":
        """These samples alone, in this order."""

    def with_labels_of(self, labelled: Tensor) -> "Samples":
        """The same samples; only those where `labelled`, `(samples,)` bool, show labels."""

    def with_views(self, views: Views) -> "Samples":
        """The same samples, whose views are made so."""


def content_fingerprint(samples: Samples) -> str:
    """16 hex digits of every input and label, in their order; not of views, or of who is shown."""
    digest = xxhash.xxh3_64(samples.keys.tobytes())
    for name in sorted(samples.labels):
        digest.update(samples.labels[name].contiguous().numpy().tobytes())
    return digest.hexdigest()


class ArraySamples:
    """Samples whose inputs lie in memory.

    Args:
        inputs: One tensor `(samples, ...)`, or a dict of them (keyword arguments of the model).
            8-bit integers are images: a batch of them is float32 in 0..1.
        labels: By head. Empty for samples without any.
        mask: `(samples, rows)` bool, the rows that count; None when all do.
        labelled: `(samples,)` bool, whose labels may be used; None when all may.
        views: How views are made.
        keys: Content keys, where they are known already.
    """

    def __init__(
        self,
        inputs: Inputs,
        labels: Mapping[str, Tensor],
        *,
        mask: Tensor | None = None,
        labelled: Tensor | None = None,
        views: Views = Views(),  # noqa: B008  (frozen)
        keys: Keys | None = None,
    ) -> None:
        self._inputs = inputs
        self._labels = dict(labels)
        self._mask = mask
        self._labelled = labelled
        self._views = views
        if keys is not None:
            self.keys = keys
        sizes = {f"inputs {name}".strip(): len(part) for name, part in parts_of(inputs)}
        sizes |= {f"labels {name}": len(part) for name, part in self._labels.items()}
        if len(set(sizes.values())) > 1:
            listed = ", ".join(f"{name} {size}" for name, size in sizes.items())
            raise ShapeError(f"these must have one length: {listed}.")

    @property
    def labels(self) -> Mapping[str, Tensor]:
        """By head."""
        return self._labels

    @property
    def labelled(self) -> Tensor | None:
        """Whose labels may be used."""
        return self._labelled

    @property
    def views(self) -> Views:
        """How views are made."""
        return self._views

    @property
    def inputs(self) -> Inputs:
        """The raw inputs, `(samples, ...)`."""
        return self._inputs

    @cached_property
    def keys(self) -> Keys:
        """Content keys, computed once."""
        return content_keys(self._inputs)

    def __len__(self) -> int:
        return len(parts_of(self._inputs)[0][1])

    def fetch(self, index: Tensor, view: int = 0) -> Batch:
        """These samples as one batch of one view."""
        raw = take(self._inputs, index)
        if view:
            raw = self._views.of(raw, self.keys[index.numpy()], view)
        return Batch(
            inputs=raw if isinstance(raw, dict) else as_model_input(raw),
            labels=take_each(self._labels, index),
            index=index,
            labelled=None if self._labelled is None else self._labelled[index],
            mask=None if self._mask is None else self._mask[index],
            view=view,
        )

    def subset(self, index: Tensor) -> "ArraySamples":
        """These samples alone, in this order."""
        return ArraySamples(
            take(self._inputs, index),
            take_each(self._labels, index),
            mask=None if self._mask is None else self._mask[index],
            labelled=None if self._labelled is None else self._labelled[index],
            views=self._views,
            keys=self.keys[index.numpy()] if "keys" in self.__dict__ else None,
        )

    def with_labels_of(self, labelled: Tensor) -> "ArraySamples":
        """The same samples, of which only those where `labelled` show their labels."""
        return self._but(labelled=labelled)

    def with_views(self, views: Views) -> "ArraySamples":
        """The same samples, whose views are made so."""
        return self._but(views=views)

    def on(self, device: torch.device) -> "ArraySamples":
        """The same samples, whose inputs lie on `device`: batches and views are made there."""
        inputs = self._inputs
        moved: Inputs = (
            {name: part.to(device) for name, part in inputs.items()}
            if isinstance(inputs, dict)
            else inputs.to(device)
        )
        return ArraySamples(
            moved,
            self._labels,
            keys=self.keys,
            mask=self._mask,
            labelled=self._labelled,
            views=self._views,
        )

    def _but(self, **changed: Any) -> "ArraySamples":
        same = {"mask": self._mask, "labelled": self._labelled, "views": self._views}
        same["keys"] = self.__dict__.get("keys")
        return ArraySamples(self._inputs, self._labels, **(same | changed))
