"""A Hugging Face dataset and the rows of its samples: a column of content keys, and a collator.

A dataset of the library `datasets` is shuffled, filtered and cut after the teacher was asked. Its
column of keys goes along, and rows are found by it wherever a sample went.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch.utils.data import default_collate

from limbeck._errors import DataError, TargetsError
from limbeck.data import Keys
from limbeck.data import samples as as_samples
from limbeck.targets.reading._batch import as_tensors
from limbeck.targets.reading._targets import Targets

KEY = "limbeck_key"
"""What the column is called."""
_BLOCK = 1024


def add_keys(dataset: Any, columns: Sequence[str], *, column: str = KEY) -> Any:
    """The dataset with the content key of each sample as one more column.

    Keys are those of `limbeck.capture` over `dataset.with_format("torch", columns=columns)[:]`,
    which is what the teacher is to be asked about. They are stored as int64, of the same 64 bits,
    for torch cannot compute with uint64.

    Args:
        dataset: A `datasets.Dataset`, in any format.
        columns: The model's inputs, of one shape in all samples: pad texts to one length.
        column: The name of the new column.

    Raises:
        DataError: There are no such columns, or samples differ in shape.

    Example:
        >>> questions = add_keys(questions, ["input_ids", "attention_mask"])
        >>> questions = questions.shuffle(seed=0).filter(is_short)
        >>> Trainer(train_dataset=questions, data_collator=TargetsCollator(targets), ...)
    """
    known = getattr(dataset, "column_names", None) or []
    if missing := [name for name in columns if name not in known]:
        raise DataError(
            f"expected a datasets.Dataset with the columns {', '.join(columns)}, got a "
            f"{type(dataset).__name__} without {', '.join(missing)}. It has "
            f"{', '.join(known) or 'none'}; of a DatasetDict, give each split."
        )
    if column in known:
        raise DataError(
            f"the dataset has a column {column!r} already. Remove it, if samples changed since, "
            "or give another name as column=."
        )
    inputs = dataset.with_format("torch", columns=list(columns))
    keys: list[Keys] = []
    shape: dict[str, torch.Size] = {}
    for start in range(0, len(dataset), _BLOCK):
        block = inputs[start : start + _BLOCK]
        if not all(isinstance(part, torch.Tensor) for part in block.values()):
            raise _ragged(columns)
        shapes = {name: part.shape[1:] for name, part in block.items()}
        if (shape := shape or shapes) != shapes:
            raise _ragged(columns)
        keys.append(as_samples(block).keys)
    every = np.concatenate(keys) if keys else np.empty(0, dtype=np.uint64)
    return dataset.add_column(column, every.view(np.int64))


def _ragged(columns: Sequence[str]) -> DataError:
    return DataError(
        f"the columns {', '.join(columns)} must hold numbers, in one shape in all samples. Pad "
        'texts to one length (padding="max_length") before the teacher is asked.'
    )


class TargetsCollator:
    """Collates samples, and adds what the teacher said of each: `teacher_HEAD_PART`.

    `split_batch` makes rows of these again. transformers' Trainer needs
    `remove_unused_columns=False`, or it drops the keys before they are seen.

    Args:
        targets: A transfer set, or an `Ensemble` of several.
        base: What collates everything but the key: torch's `default_collate`, or
            `transformers.DataCollatorWithPadding(tokenizer)`, ...
        column: Where the keys are, see `add_keys`.
        view: Which view of the samples.

    Raises:
        TargetsError: An item has no key, or the targets have no row for it.
    """

    def __init__(
        self,
        targets: Targets,
        base: Callable[[list[dict[str, Any]]], Mapping[str, Any]] = default_collate,
        *,
        column: str = KEY,
        view: int = 0,
    ) -> None:
        self._targets = targets
        self._base = base
        self._column = column
        self._view = view

    def __call__(self, items: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        if any(self._column not in item for item in items):
            raise TargetsError(
                f"every sample must bring its key in the column {self._column!r}, got "
                f"{', '.join(items[0])}. Add it with add_keys; transformers' Trainer drops it "
                "unless remove_unused_columns=False."
            )
        keys = np.array([int(item[self._column]) for item in items], dtype=np.int64)
        rows = self._targets.read(self._targets.positions(keys.view(np.uint64), self._view))
        others = [
            {name: part for name, part in item.items() if name != self._column} for item in items
        ]
        return {**self._base(others), **as_tensors(rows)}
