"""Columns of a table: their numbers, texts and categories, checked."""

from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from limbeck._errors import DataError

Missing = Literal["error", "mean", "drop"]
MAX_CATEGORIES = 1000


def column_of(table: Any, name: str) -> Any:
    """One array, with NaN as missing and dictionaries as their values."""
    column = table.column(name).combine_chunks()
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if pa.types.is_floating(column.type):
        column = pc.if_else(pc.is_nan(column), None, column)
    return column


def refuse_missing(split: str, table: Any, name: str, way_out: str) -> None:
    """Raise `DataError`, naming column and row, if a value of the column is missing."""
    column = column_of(table, name)
    if column.null_count:
        raise DataError(
            f"column {name!r} of the {split} table has {column.null_count} missing values, the "
            f"first in row {_first(pc.is_null(column))}. {way_out}"
        )


def refuse_infinite(split: str, table: Any, name: str) -> None:
    """Raise `DataError`, naming column and row, if a number of the column is infinite."""
    column = column_of(table, name)
    if pa.types.is_floating(column.type) and pc.any(pc.is_inf(column)).as_py():
        raise DataError(
            f"column {name!r} of the {split} table has an infinite number in row "
            f"{_first(pc.is_inf(column).fill_null(False))}. Remove or fill in such rows."
        )


def _first(flags: Any) -> int:
    """Position of the first true flag, from 0."""
    return int(np.flatnonzero(flags.to_numpy(zero_copy_only=False))[0])


def is_text(column: Any) -> bool:
    """Whether the column holds text."""
    return bool(pa.types.is_string(column.type) or pa.types.is_large_string(column.type))


def numbers_of(split: str, name: str, column: Any) -> NDArray[np.float64]:
    """`(rows,)`, NaN where missing."""
    kind = column.type
    if pa.types.is_boolean(kind):
        column = column.cast(pa.int8())
    elif not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)):
        raise DataError(
            f"column {name!r} of the {split} split must hold numbers or text, got {kind}. Leave "
            "it out with `features`, or turn it into numbers."
        )
    numbers = column.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
    return np.asarray(numbers, dtype=np.float64)


def texts_of(split: str, table: Any, name: str) -> list[str]:
    """`(rows,)`.

    Raises:
        DataError: The column holds something else.
    """
    column = column_of(table, name)
    if not is_text(column):
        raise DataError(
            f"column {name!r} of the {split} table must hold text, got {column.type}. Set "
            "options.text, or mend the column."
        )
    return list(column.to_pylist())


class _Column(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    name: str


class Numbers(_Column):
    """A column of numbers, standardised; a missing one is the mean."""

    kind: Literal["numbers"] = "numbers"
    mean: float
    deviation: float

    def __call__(self, split: str, table: Any) -> NDArray[np.float32]:
        """`(rows, 1)`."""
        column = column_of(table, self.name)
        if is_text(column):
            raise DataError(
                f"column {self.name!r} holds numbers in the train split and text in the {split} "
                "split. Mend the files."
            )
        if pa.types.is_null(column.type):
            column = column.cast(pa.float64())
        scaled = (numbers_of(split, self.name, column) - self.mean) / self.deviation
        return np.nan_to_num(scaled, nan=0.0).astype(np.float32)[:, None]


class Categories(_Column):
    """A column of texts, as a 0 or 1 for each of its training rows' values."""

    kind: Literal["categories"] = "categories"
    values: tuple[str, ...]

    def __call__(self, split: str, table: Any) -> NDArray[np.float32]:
        """`(rows, values)`; all 0 for a value that is missing, or is none of them."""
        column = column_of(table, self.name).cast(pa.string())
        ids = pc.index_in(column, value_set=pa.array(self.values, pa.string()), skip_nulls=True)
        positions = ids.fill_null(-1).to_numpy(zero_copy_only=False)
        hits: NDArray[np.bool_] = positions[:, None] == np.arange(len(self.values))
        return hits.astype(np.float32)


def learned_from(train: Any, name: str) -> Numbers | Categories:
    """How a column of the training rows, and of any later ones, becomes numbers."""
    column = column_of(train, name)
    if is_text(column):
        values = pc.unique(column).drop_null().sort()
        if len(values) > MAX_CATEGORIES:
            raise DataError(
                f"column {name!r} has {len(values)} different texts, more than the "
                f"{MAX_CATEGORIES} that a category may have. Leave it out with `features`, or "
                "name it as `text`."
            )
        return Categories(name=name, values=tuple(values.to_pylist()))
    numbers = numbers_of("train", name, column)
    known = numbers[~np.isnan(numbers)]
    if len(known) == 0:
        raise DataError(f"column {name!r} holds no value. Leave it out with `features`.")
    with np.errstate(over="ignore"):
        mean, deviation = float(known.mean()), float(known.std()) or 1.0
    if not np.isfinite((mean, deviation)).all():
        raise DataError(
            f"column {name!r} holds numbers up to {np.abs(known).max():.3g}, too large for a mean "
            "and a deviation. Divide them, or leave it out with `features`."
        )
    return Numbers(name=name, mean=mean, deviation=deviation)
