"""A torch dataset of samples and what a teacher said of them, for any DataLoader and trainer."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset

from limbeck.data import samples as as_samples
from limbeck.signals import Batch
from limbeck.targets.reading._batch import Items, as_tensors
from limbeck.targets.reading._targets import Targets

_NO_CLASS = -100
"""What torch's losses and transformers' models ignore."""


class TargetsDataset(Dataset[dict[str, Tensor]]):
    """Samples and what a teacher said of them: `dataset[7]` is one, `dataset[[7, 1]]` a batch.

    An item holds the model's keyword arguments, or `inputs` where that is one tensor; `labels`, or
    `labels_HEAD` of several heads; `teacher_HEAD_PART`, which `split_batch` makes rows of again;
    and `mask`, the rows that count, where not all do. A label that may not be used, or whose row
    does not count, is -100 if it is a class, else NaN.

    A DataLoader reads a whole batch with one look-up, whatever collates it. It is fastest with
    `collate_fn=limbeck.targets.collate`, which also pads sparse rows that differ in length. For
    workers, open the transfer set with `reading="mapped"`: they all share one copy of the rows.

    Args:
        samples: Samples, arrays `(inputs, labels)`, or a torch dataset of `(input, label)`.
        targets: A transfer set, or an `Ensemble` of several.
        view: Which view of the samples, 0 for the samples as they came.

    Raises:
        TargetsError: The targets have no row for some of the samples, or are of other views.
    """

    def __init__(self, samples: Any, targets: Targets, *, view: int = 0) -> None:
        self._samples = as_samples(samples)
        targets.expect(transform=str(self._samples.views), views=view + 1)
        self._aligned = targets.aligned(self._samples)
        self._view = view

    def __len__(self) -> int:
        return len(self._samples)

    def __getitem__(self, index: int | Sequence[int] | Tensor) -> dict[str, Tensor]:
        asked = torch.as_tensor(index, dtype=torch.int64)
        batch = self._batch(asked.reshape(-1))
        return {name: part[0] for name, part in batch.items()} if asked.dim() == 0 else batch

    def __getitems__(self, index: Sequence[int]) -> Items:
        """The items of a batch, which a DataLoader asks for at once and then collates."""
        return Items(self[index])

    def _batch(self, index: Tensor) -> dict[str, Tensor]:
        beyond = (index < -len(self)) | (index >= len(self))
        if beyond.any():  # an IndexError, which ends a loop over a sequence
            raise IndexError(
                f"expected places among {len(self)} samples, got {int(index[beyond][0])}."
            )
        index = index % len(self)  # -1 is the last
        batch = self._samples.fetch(index, self._view)
        inputs: Mapping[str, Tensor] = (
            batch.inputs if isinstance(batch.inputs, dict) else {"inputs": batch.inputs}
        )
        mask = {} if batch.mask is None else {"mask": batch.mask}
        rows = as_tensors(self._aligned.rows(index, self._view))
        return {**inputs, **_labels(batch), **mask, **rows}


def _labels(batch: Batch) -> dict[str, Tensor]:
    """The labels that may be used."""
    usable = batch.rows_that_count(with_labels=True)
    one = len(batch.labels) == 1
    return {
        "labels" if one else f"labels_{head}": labels if usable is None else _hide(labels, ~usable)
        for head, labels in batch.labels.items()
    }


def _hide(labels: Tensor, hidden: Tensor) -> Tensor:
    for _ in range(labels.dim() - hidden.dim()):
        hidden = hidden[..., None]
    return labels.masked_fill(hidden, float("nan") if labels.is_floating_point() else _NO_CLASS)
