"""Tables to samples: what numbers, categories, texts and targets become."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from torch import Tensor

from limbeck._errors import DataError, OptionError, did_you_mean
from limbeck._lookup import check_choice, first_line
from limbeck._shapes import check_positive
from limbeck.data._columns import (
    Missing,
    column_of,
    is_text,
    learned_from,
    numbers_of,
    refuse_infinite,
    refuse_missing,
    texts_of,
)
from limbeck.data._data_set import DataSet
from limbeck.data._encoder import TableEncoder, TextEncoder
from limbeck.data._samples import ArraySamples
from limbeck.data._split import Cut
from limbeck.data._text import build_vocabulary, longest
from limbeck.signals import Head

Task = Literal["", "classification", "regression"]


@dataclass(frozen=True, kw_only=True)
class Columns:
    """What the columns of a table are for."""

    target: Sequence[str]
    """The column with the class, or those with the numbers."""
    features: Sequence[str] = ()
    """The columns that are inputs; empty means all but the target."""
    text: str = ""
    """The column with the text that is the input, in place of features."""
    task: Task = ""
    """Empty: text is classes, fractions are numbers; whole numbers could be either, so say it."""
    classes: Sequence[str] = ()
    """The classes' names in order; empty means the training file's, sorted."""
    missing: Missing = "error"
    """What is done about missing values: refuse them; put the training rows' mean (and no
    category); or drop the rows."""
    target_scale: float = 1.0
    """Numbers of a regression are divided by this."""
    min_count: int = 2
    """Words that appear less often in the training texts are unknown."""
    max_length: int = 64
    """Longer texts lose their end."""
    named_by_first_line: bool = False
    """Whether the tables' columns are called as a file's first line says, which may be data."""

    def __post_init__(self) -> None:
        check_choice("task", self.task, get_args(Task))
        check_choice("missing", self.missing, get_args(Missing))
        check_positive(target_scale=self.target_scale)
        if self.text and self.features:
            raise OptionError("inputs are one text column or features, got both. Leave one out.")
        if not self.target:
            raise OptionError("target must name a column, got none.")
        if told := {*self.features, self.text} & set(self.target):
            raise OptionError(
                f"{', '.join(told)} is a target and cannot be an input too. Leave it out of one."
            )


def encode_tables(train: Any, validation: Any, test: Any, cut: Cut, columns: Columns) -> DataSet:
    """Samples of pyarrow tables; of validation and test, those that are None are cut off `train`.

    Numbers are standardised by the mean and deviation of the training rows. Categories have one
    0 or 1 for each value of the training rows: a value met later is all 0. Vocabularies are those
    of the training texts.
    """
    inputs = (
        [columns.text]
        if columns.text
        else list(columns.features)
        or [name for name in train.column_names if name not in columns.target]
    )
    if not inputs:
        raise DataError(
            f"the train table has no column but the target {', '.join(columns.target)}. Give it "
            "columns to tell the target from."
        )
    tables = {"train": train, "validation": validation, "test": test}
    whole = {
        name: None if table is None else _chosen(name, table, inputs, columns)
        for name, table in tables.items()
    }
    head, values = _read_head(whole["train"], columns)
    classes = (
        _class_ids("train", whole["train"], columns.target[0], values)
        if head.space == "categorical"
        else None
    )
    splits = cut.three(
        whole["train"],
        whole["validation"],
        whole["test"],
        classes=classes,
        take=lambda table, index: table.take(pa.array(index.numpy())),
    )
    named = dict(zip(tables, splits, strict=True))
    labels = {name: _labels(name, table, head, values, columns) for name, table in named.items()}
    encoder = _learned_from(named["train"], inputs, columns)
    samples = {
        name: ArraySamples(encoder.encode(name, table), {"label": labels[name]})
        for name, table in named.items()
    }
    vocabulary = encoder.vocabulary if isinstance(encoder, TextEncoder) else ()
    return DataSet(**samples, heads=(head,), vocabulary=vocabulary, encoder=encoder)


def _learned_from(
    train: Any, inputs: Sequence[str], columns: Columns
) -> TableEncoder | TextEncoder:
    if not columns.text:
        return TableEncoder(
            columns=tuple(learned_from(train, name) for name in inputs),
            missing=columns.missing,
            target_scale=columns.target_scale,
        )
    texts = texts_of("train", train, columns.text)
    return TextEncoder(
        column=columns.text,
        vocabulary=build_vocabulary(texts, min_count=columns.min_count),
        length=longest(texts, max_length=columns.max_length),
        target_scale=columns.target_scale,
    )


def _chosen(split: str, table: Any, inputs: Sequence[str], columns: Columns) -> Any:
    """The columns that are used alone; rows with a missing value are refused or dropped."""
    names = [*inputs, *columns.target]
    for name in names:
        if name not in table.column_names:
            near = did_you_mean(name, table.column_names)
            it_has = "It has"
            way_out = "Set options.target, features or text."
            if columns.named_by_first_line and not near:
                it_has = "Its first line was taken for the header:"
                way_out += " If that is data, list all columns' names in options.header."
            raise DataError(
                f"the {split} table has no column {name!r}.{near} {it_has} "
                f"{', '.join(table.column_names)}. {way_out}"
            )
    table = table.select(names)
    if columns.missing == "drop":
        for name in names:
            table = table.filter(pc.is_valid(column_of(table, name)))
        if len(table) == 0:
            raise DataError(
                f"every row of the {split} table has a missing value, so dropping leaves none. "
                'Set missing = "mean", or leave out the emptiest column with `features`.'
            )
    for name in names:
        refuse_infinite(split, table, name)
        if name in columns.target or columns.text:
            refuse_missing(split, table, name, 'Fill them in, or set missing = "drop".')
        elif columns.missing == "error":
            way_out = 'Fill them in, or set missing = "mean" or "drop".'
            refuse_missing(split, table, name, way_out)
    return table


def _read_head(train: Any, columns: Columns) -> tuple[Head, Any]:
    """The head, and its classes' values as they stand in the target column (None for numbers)."""
    kinds = [column_of(train, name) for name in columns.target]
    task = columns.task or _guess_task(columns.target, kinds)
    if task == "regression":
        return Head(space="real", size=len(kinds)), None
    if len(kinds) > 1:
        raise OptionError(
            f"classification has one target column, got {', '.join(columns.target)}. Name one, or "
            'set task = "regression".'
        )
    if columns.classes:
        values = pa.array([str(name) for name in columns.classes])
    else:
        values = pa.array(sorted(pc.unique(kinds[0]).drop_null().to_pylist()), kinds[0].type)
    names = tuple(str(value) for value in values.to_pylist())
    return Head(space="categorical", size=len(names), classes=names), values


def _guess_task(names: Sequence[str], kinds: Sequence[Any]) -> Task:
    if len(kinds) > 1 or pa.types.is_floating(kinds[0].type) or pa.types.is_decimal(kinds[0].type):
        return "regression"
    if is_text(kinds[0]) or pa.types.is_boolean(kinds[0].type):
        return "classification"
    raise OptionError(
        f"column {names[0]!r} holds whole numbers ({len(pc.unique(kinds[0]))} different), which "
        'can be classes or amounts. Set task = "classification" or task = "regression".'
    )


def _class_ids(split: str, table: Any, name: str, values: Any) -> Tensor:
    column = column_of(table, name)
    try:
        column = column.cast(values.type)
    except pa.ArrowInvalid as error:
        raise DataError(
            f"column {name!r} of the {split} split: {first_line(error)}. Mend the file."
        ) from None
    ids = pc.index_in(column, value_set=values)
    if ids.null_count:
        row = int(np.flatnonzero(pc.is_null(ids).to_numpy(zero_copy_only=False))[0])
        known = ", ".join(str(value) for value in values.to_pylist()[:20])
        raise DataError(
            f"labels of the {split} split must be classes of the training samples ({known}), got "
            f"{column[row]} in row {row} of column {name!r}. Mend the labels, or list all of them "
            "in options.classes."
        )
    return torch.from_numpy(ids.to_numpy(zero_copy_only=False).astype(np.int64))


def _labels(split: str, table: Any, head: Head, values: Any, columns: Columns) -> Tensor:
    if head.space == "categorical":
        return _class_ids(split, table, columns.target[0], values)
    numbers = []
    for name in columns.target:
        column = column_of(table, name)
        if is_text(column):
            raise DataError(f"target column {name!r} must hold numbers, got text. Mend the file.")
        numbers.append(numbers_of(split, name, column) / columns.target_scale)
    return torch.from_numpy(np.stack(numbers, axis=1).astype(np.float32))
