"""From an epoch's order to what each process learns from, step by step."""

import math
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor
from torch.utils.data import DataLoader

from limbeck._errors import LimbeckError
from limbeck.data import Samples
from limbeck.recipe import Train
from limbeck.signals import Batch
from limbeck.train._lane import Part
from limbeck.train._learner import Learner, Teach


class _Batches:
    """A dataset whose items are whole batches, for a DataLoader to read ahead.

    What reading raises is an item too: a worker's own way to raise adds a traceback to the words.
    """

    def __init__(self, samples: Samples, view: int) -> None:
        self._samples = samples
        self._view = view

    def __getitem__(self, index: Tensor) -> Batch | LimbeckError:
        try:
            return self._samples.fetch(index, self._view)
        except LimbeckError as error:
            return error


def batches(
    samples: Samples,
    index: Tensor,
    view: int,
    skip: int,
    settings: Train,
    accelerator: Accelerator,
) -> Iterator[Batch]:
    """This process's part of each batch of an epoch, from batch number `skip` on.

    Args:
        samples: What is read.
        index: `(length,)`: the epoch's samples, in order.
        view: Which view of them.
        skip: How many batches are over already.
        settings: With `batch_size` and `workers`.
        accelerator: It knows which process this is.

    Raises:
        DataError: A sample cannot be read, or a worker ended.
    """
    share = slice(accelerator.process_index, None, accelerator.num_processes)
    loader: DataLoader[Any] = DataLoader(
        _Batches(samples, view),  # type: ignore[arg-type]
        batch_size=None,
        sampler=[part[share] for part in torch.split(index, settings.batch_size)[skip:]],
        num_workers=settings.workers,
        collate_fn=_as_it_is,
    )
    for batch in loader:
        if isinstance(batch, LimbeckError):
            raise batch
        yield batch


def _as_it_is(batch: Any) -> Any:
    return batch


def parts_of(
    batch: Batch,
    learners: Sequence[Learner],
    teach: Teach | None,
    accelerator: Accelerator,
    *,
    accumulate: int,
) -> list[Part]:
    """`batch` in at most `accumulate` parts, on the device, with what the teacher says of each.

    Each part's loss is a mean over what counts in it; its shares turn the sum of these into the
    mean over the whole batch, over all processes, whose gradients are averaged.
    """
    kinds = {term.with_labels for learner in learners for term in learner.objective}
    kinds |= {False}  # of what a model adds to its loss itself
    totals = _totals(batch, kinds, accelerator)
    parts = []
    for micro in _cut(batch, accumulate):
        shares = {
            labels: micro.count(with_labels=labels) * accelerator.num_processes / max(total, 1)
            for labels, total in totals.items()
        }
        moved = micro.to(accelerator.device)
        parts.append(
            Part(batch=moved, taught=None if teach is None else teach(moved), shares=shares)
        )
    return parts


def _cut(batch: Batch, accumulate: int) -> list[Batch]:
    if accumulate == 1 or len(batch) == 0:
        return [batch]
    size = math.ceil(len(batch) / accumulate)
    return [batch.slice(start, start + size) for start in range(0, len(batch), size)]


def _totals(batch: Batch, kinds: set[bool], accelerator: Accelerator) -> dict[bool, int]:
    """How much of the whole batch, over all processes, a loss with or without labels counts."""
    counts = {labels: batch.count(with_labels=labels) for labels in sorted(kinds)}
    if accelerator.num_processes == 1:
        return counts
    summed = accelerator.reduce(
        torch.tensor(list(counts.values()), device=accelerator.device), reduction="sum"
    )
    return dict(zip(counts, summed.tolist(), strict=True))
