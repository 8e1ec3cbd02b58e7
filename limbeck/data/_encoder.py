"""What turns raw rows into a model's inputs, kept beside the student that was trained on it.

An encoder says what the training samples said: means and deviations, categories, a vocabulary. The
samples that a model learns from are made by the same encoder that later reads new ones.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import pyarrow as pa
import torch
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter
from torch import Tensor

from limbeck._errors import DataError, did_you_mean
from limbeck._files import parse_json, reading_errors, write_json
from limbeck._lookup import first_line
from limbeck.data._columns import (
    Categories,
    Missing,
    Numbers,
    refuse_infinite,
    refuse_missing,
    texts_of,
)
from limbeck.data._text import encode_texts

FILE = "encoder.json"
"""Its name, in the folder of a student."""


class _Encoder(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    format: Literal[1] = 1
    target_scale: float = 1.0
    """What a regression's answers are multiplied by to be in the target's own unit."""

    def save(self, folder: str | Path) -> Path:
        """Write it below `folder`, and give the file's path; `load_encoder` reads it back."""
        path = Path(folder) / FILE
        write_json(path, self.model_dump(mode="json"))
        return path


class TableEncoder(_Encoder):
    """Columns of a table as numbers: standardised, or a 0 or 1 for each category."""

    kind: Literal["table"] = "table"
    columns: tuple[Annotated[Numbers | Categories, Field(discriminator="kind")], ...]
    """In the order of a model's inputs."""
    missing: Missing = "error"
    """"mean" takes the training rows' mean, and no category, for a missing value."""

    def __call__(self, rows: Any) -> Tensor:
        """New rows as inputs, `(rows, numbers)` float32.

        Args:
            rows: A list of dicts by column, a dict of columns, a pyarrow table, or a data frame.
                Columns that are no inputs are not looked at.

        Raises:
            DataError: A column is not there, or of another kind; or a value is missing or infinite.
        """
        table = _as_table(rows)
        for column in self.columns:
            _need_column(table, column.name)
            refuse_infinite("new", table, column.name)
            if self.missing != "mean":
                refuse_missing("new", table, column.name, "Fill them in.")
        return self.encode("new", table)

    def encode(self, split: str, table: Any) -> Tensor:
        """As a call, of a pyarrow table that was checked; `split` is its name for errors."""
        parts = [column(split, table) for column in self.columns]
        return torch.from_numpy(np.concatenate(parts, axis=1))


class TextEncoder(_Encoder):
    """Texts as the ids of their words."""

    kind: Literal["text"] = "text"
    column: str
    """The column that held the training texts."""
    vocabulary: tuple[str, ...]
    """The words, by id."""
    length: int
    """Words of a text, at most; the rest is cut off, and a shorter text is padded."""

    def __call__(self, rows: Any) -> dict[str, Tensor]:
        """New texts as `input_ids` and `attention_mask`, each `(texts, length)`.

        Args:
            rows: A list of strings; or rows with the column, as `TableEncoder` takes them.

        Raises:
            DataError: It is neither.
        """
        if _are_strings(rows):
            return encode_texts(rows, self.vocabulary, length=self.length)
        table = _as_table(rows)
        _need_column(table, self.column)
        refuse_missing("new", table, self.column, "Fill them in.")
        return self.encode("new", table)

    def encode(self, split: str, table: Any) -> dict[str, Tensor]:
        """As a call, of a pyarrow table that was checked."""
        texts = texts_of(split, table, self.column)
        return encode_texts(texts, self.vocabulary, length=self.length)


class CharacterEncoder(_Encoder):
    """Texts as the ids of their characters."""

    kind: Literal["characters"] = "characters"
    characters: str
    """All of them, by id."""

    def __call__(self, texts: Sequence[str]) -> dict[str, Tensor]:
        """New texts of one length as `input_ids`, `(texts, length)`.

        Raises:
            DataError: They are of several lengths, or hold a character that training texts do not.
        """
        if not _are_strings(texts):
            raise DataError(
                f"texts must be a list of strings, got {type(texts).__name__}. Put it in one."
            )
        if len(lengths := sorted({len(text) for text in texts})) > 1:
            raise DataError(
                f"texts must be of one length, got {lengths[0]} and {lengths[-1]} characters. Ask "
                "about them one by one, or cut them."
            )
        ids = {character: place for place, character in enumerate(self.characters)}
        if unknown := sorted(set("".join(texts)) - set(ids)):
            raise DataError(
                f"texts must be of the {len(ids)} characters of the training text, got "
                f"{unknown[0]!r}. Leave it out, or take another in its place."
            )
        return {"input_ids": torch.tensor([[ids[one] for one in text] for text in texts])}


Encoder = TableEncoder | TextEncoder | CharacterEncoder
_ANY: TypeAdapter[Encoder] = TypeAdapter(Annotated[Encoder, Field(discriminator="kind")])


def load_encoder(folder: str | Path) -> Encoder:
    """The encoder of the student in `folder`: called with raw rows, it gives the model's inputs.

    Raises:
        DataError: There is none, or it is damaged.

    Example:
        >>> encode = load_encoder("runs/housing/students/small")
        >>> limbeck.load("runs/housing/students/small")(encode(rows)) * encode.target_scale
    """
    path = Path(folder) / FILE
    try:
        with reading_errors(path):
            return _ANY.validate_python(parse_json(path.read_bytes().decode()))
    except (FileNotFoundError, NotADirectoryError):
        raise DataError(
            f"there is no encoder in {folder}: no {FILE} there. A run keeps one beside students of "
            "a table or of texts, in students/NAME; other students take their inputs as they are."
        ) from None
    except ValueError as error:  # of JSON, of UTF-8, and pydantic's
        raise DataError(f"{path} is damaged ({first_line(error)}). Run the recipe again.") from None


def _are_strings(rows: Any) -> bool:
    return isinstance(rows, (list, tuple)) and all(isinstance(row, str) for row in rows)


def _as_table(rows: Any) -> Any:
    try:
        if isinstance(rows, pa.Table):
            return rows
        if isinstance(rows, (list, tuple)):
            return pa.Table.from_pylist(list(rows))
        return pa.table(dict(rows) if isinstance(rows, Mapping) else rows)
    except (pa.ArrowException, TypeError, ValueError, AttributeError) as error:
        raise DataError(
            "rows must be a list of dicts, a dict of columns, a pyarrow table or a data frame, got "
            f"{type(rows).__name__}: {first_line(error)}. One row is a list of one dict."
        ) from None


def _need_column(table: Any, name: str) -> None:
    if name not in table.column_names:
        raise DataError(
            f"new rows must have the column {name!r}, got {', '.join(table.column_names)}."
            f"{did_you_mean(name, table.column_names)} Give it to each row."
        )
