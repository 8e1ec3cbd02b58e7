"""Table files of the user's own, and TREC's questions, which are a table in another spelling."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from limbeck._errors import DataError
from limbeck.data._columns import Missing
from limbeck.data._data_set import DataSet
from limbeck.data._encode_table import Columns, Task, encode_tables
from limbeck.data._paths import find_path, need_file, need_path
from limbeck.data._read_table import is_delimited, read_table
from limbeck.data._split import Cut

COARSE = ("ABBR", "DESC", "ENTY", "HUM", "LOC", "NUM")


def table(
    path: Path | None,
    cut: Cut,
    *,
    target: str | Sequence[str],
    features: Sequence[str] = (),
    text: str = "",
    task: Task = "",
    classes: Sequence[str] = (),
    missing: Missing = "error",
    target_scale: float = 1.0,
    min_count: int = 2,
    max_length: int = 64,
    separator: str = "",
    header: Sequence[str] = (),
    validation_path: str = "",
    test_path: str = "",
) -> DataSet:
    """Rows of a CSV, TSV, JSON lines or Parquet file, plain or `.gz`.

    Numbers are standardised by the mean and deviation of the training rows. Categories become a 0
    or 1 for each value of the training rows; a value met later is all 0. A text becomes the ids of
    its words, split at blanks, in a vocabulary of the training texts, and a model is called with
    `input_ids` and `attention_mask`. A teacher that is loaded must have been trained on the same:
    look at `limbeck.data.load(...).train.fetch(index).inputs`.

    Args:
        path: The file.
        cut: Of the splits that have no file.
        target: The column with the class, or those with the numbers.
        features: The columns that are inputs; empty means all but the target.
        text: The column with the text that is the input, in place of features.
        task: "classification" or "regression"; empty lets the target column say it.
        classes: The classes' names in order; empty means the training file's, sorted.
        missing: "error", "mean" or "drop": what is done about missing values.
        target_scale: Numbers of a regression are divided by this, above 0.
        min_count: Words that appear less often in the training texts are unknown.
        max_length: Words; longer texts lose their end.
        separator: One character between the fields of a CSV; empty means as the suffix says.
        header: The columns' names, for a CSV whose first line holds data already.
        validation_path: A file with the validation rows, found as `path` is or beside it.
        test_path: The same for the test rows.
    """
    file = need_path(path, "table", "a file")
    columns = Columns(
        target=[target] if isinstance(target, str) else list(target),
        features=[features] if isinstance(features, str) else list(features),
        text=text,
        task=task,
        classes=classes,
        missing=missing,
        target_scale=target_scale,
        min_count=min_count,
        max_length=max_length,
        named_by_first_line=is_delimited(file) and not header,
    )
    train = read_table(file, separator=separator, header=header)
    validation, test = (
        read_table(find_path(other, beside=file), separator=separator, header=header)
        if other
        else None
        for other in (validation_path, test_path)
    )
    return encode_tables(train, validation, test, cut, columns)


def trec(path: Path | None, cut: Cut, *, min_count: int = 2, max_length: int = 32) -> DataSet:
    """TREC's questions and their 6 coarse classes (Li and Roth, 2002).

    Args:
        path: The folder of `TREC.train` and `TREC.test`: latin-1, "COARSE:fine question" a line.
        cut: Of the validation split.
        min_count: Words that appear less often in the training questions are unknown.
        max_length: Words; longer questions lose their end.
    """
    folder = need_path(path, "trec", "the folder of TREC.train and TREC.test")
    columns = Columns(
        target=["class"],
        text="question",
        classes=COARSE,
        min_count=min_count,
        max_length=max_length,
    )
    train, test = (_read_trec(folder / name) for name in ("TREC.train", "TREC.test"))
    return encode_tables(train, None, test, cut, columns)


def _read_trec(path: Path) -> Any:
    questions, classes = [], []
    text = need_file(path, "TREC's questions").read_text(encoding="latin-1").rstrip("\n")
    for number, line in enumerate(text.split("\n"), start=1):
        label, _, question = line.partition(" ")
        coarse, colon, _ = label.partition(":")
        if not colon or not question:
            raise DataError(
                f'line {number} of {path} must be "COARSE:fine question", got {line[:60]!r}. '
                "Fetch the file again."
            )
        questions.append(question)
        classes.append(coarse)
    return pa.table({"question": questions, "class": classes})
