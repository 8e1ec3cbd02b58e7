"""The teacher's rows as plain tensors of a batch, and back.

Loaders, collators and trainers move tensors about, whoever made them. So a batch carries what the
teacher said as `teacher_HEAD_PART`: `teacher_label_values` of dense rows; `teacher_label_ids`,
`_probabilities`, `_tail` and perhaps `_drawn`, `_own` and `_log_normalisers` of sparse ones. What
all rows share, the temperature and the shape of the tail, stays with the transfer set.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import default_collate

from limbeck._errors import TargetsError
from limbeck.signals import Rows
from limbeck.targets.reading._targets import Targets

PREFIX = "teacher_"
_PARTS = ("values", "ids", "probabilities", "tail", "drawn", "own", "log_normalisers")


def as_tensors(rows: Mapping[str, Rows]) -> dict[str, Tensor]:
    """The parts of these rows by name, ids in int64 and numbers in float32."""
    found: dict[str, Tensor] = {}
    for head, of_head in rows.items():
        parts = vars(of_head.to(torch.device("cpu")))
        found |= {
            f"{PREFIX}{head}_{part}": parts[part]
            for part in _PARTS
            if isinstance(parts.get(part), Tensor)
        }
    return found


def split_batch(
    batch: Mapping[str, Any], targets: Targets
) -> tuple[dict[str, Any], dict[str, Rows]]:
    """What is the model's in a batch, and what the teacher said of it, by head.

    Args:
        batch: Of a `TargetsDataset` or a `TargetsCollator`, on any device.
        targets: Where its rows came from.

    Raises:
        TargetsError: The batch brings no rows.

    Example:
        >>> inputs, taught = split_batch(batch, targets)
        >>> loss = soft_targets(model(**inputs).logits, taught["label"].logits, temperature=2.0)
    """
    inputs = {name: part for name, part in batch.items() if not name.startswith(PREFIX)}
    return inputs, {name: _rows(batch, name, like) for name, like in targets.like.items()}


def _rows(batch: Mapping[str, Any], head: str, like: Rows) -> Rows:
    """Rows that share with `like` what all rows of a transfer set do."""
    parts = {part: batch.get(f"{PREFIX}{head}_{part}") for part in _PARTS}
    there = {part: tensor for part, tensor in parts.items() if tensor is not None}
    needed = {part for part in _PARTS if getattr(like, part, None) is not None}
    if not needed <= there.keys():
        missing = ", ".join(sorted(f"{PREFIX}{head}_{part}" for part in needed - there.keys()))
        raise TargetsError(
            f"the batch must bring the teacher's rows of head {head}: {missing}, got "
            f"{', '.join(batch) or 'nothing'}. Read it through a TargetsDataset or with a "
            "TargetsCollator; transformers' Trainer drops columns that its model does not name "
            "unless remove_unused_columns=False."
        )
    shape = getattr(like, "tail_shape", None)
    if shape is not None:
        there["tail_shape"] = shape.to(there["tail"].device)
    return replace(like, **there)


class Items(Sequence[dict[str, Any]]):
    """The samples of a batch that was read at once, each by itself when it is asked for.

    Args:
        batch: Tensors `(batch, ...)` by name.
    """

    def __init__(self, batch: dict[str, Any]) -> None:
        self.batch = batch

    def __len__(self) -> int:
        return len(next(iter(self.batch.values())))

    def __getitem__(self, place: Any) -> Any:
        return self._items[place]

    @cached_property
    def _items(self) -> list[dict[str, Any]]:
        columns = [part.unbind() for part in self.batch.values()]
        return [dict(zip(self.batch, item, strict=True)) for item in zip(*columns, strict=True)]


def collate(items: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What torch's `default_collate` makes of these items, if sparse rows differ in length, too.

    The shorter ones are padded with entries of probability 0, which name nothing. What was read as
    a batch is one already.
    """
    if isinstance(items, Items):
        return items.batch
    padded: list[dict[str, Any]] = [dict(item) for item in items]
    for name in padded[0]:
        if name.startswith(PREFIX) and padded[0][name].dim():
            longest = max(item[name].shape[-1] for item in padded)
            for item in padded:
                item[name] = _padded(item[name], longest)
    collated: dict[str, Any] = default_collate(padded)
    return collated


def _padded(part: Tensor, length: int) -> Tensor:
    room = length - part.shape[-1]
    return torch.nn.functional.pad(part, (0, room)) if room else part
