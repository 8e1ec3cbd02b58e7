"""Hugging Face data sets: a local folder, or a name on the Hub (extra `hf`)."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from numpy.typing import NDArray

from limbeck._errors import DataError, ExtraError, OptionError, did_you_mean
from limbeck._lookup import first_line
from limbeck.data._columns import Missing
from limbeck.data._data_set import DataSet
from limbeck.data._dataset_samples import DatasetSamples
from limbeck.data._encode_table import Columns, Task, encode_tables
from limbeck.data._images import ImageShape, open_image
from limbeck.data._split import Cut
from limbeck.signals import Head

if TYPE_CHECKING:
    from PIL.Image import Image as Picture


def hub(
    path: Path | None,
    cut: Cut,
    *,
    target: str | Sequence[str],
    name: str = "",
    subset: str = "",
    features: Sequence[str] = (),
    text: str = "",
    image: str = "",
    task: Task = "",
    missing: Missing = "error",
    target_scale: float = 1.0,
    min_count: int = 2,
    max_length: int = 64,
    size: Sequence[int] = (),
    channels: int = 3,
    train_split: str = "train",
    validation_split: str = "validation",
    test_split: str = "test",
) -> DataSet:
    """A data set of the library `datasets`, encoded as a table's rows or an image folder's files.

    Args:
        path: A folder that `save_to_disk` made.
        cut: Of the splits that it does not have.
        target: The column with the class, or those with the numbers.
        name: What `load_dataset` calls it, where there is no path: "hf:NAME" as the source.
        subset: Its configuration, if it has several.
        features: The columns that are inputs; empty means all but the target.
        text: The column with the text that is the input, in place of features.
        image: The column with the images that are the input, in place of features or text.
        task: "classification" or "regression"; empty lets the target column say it.
        missing: "error", "mean" or "drop": what is done about missing values.
        target_scale: Numbers of a regression are divided by this, above 0.
        min_count: Words that appear less often in the training texts are unknown.
        max_length: Words; longer texts lose their end.
        size: Height and width that images are resized to; empty if all are of one size.
        channels: 1 for grey images, 3 for colour.
        train_split: Its name for the training samples.
        validation_split: Its name for the validation samples, if it has any.
        test_split: The same for the test samples. Where their labels are hidden, name another.
    """
    splits = _splits(path, name, subset)
    if train_split not in splits:
        raise DataError(
            f"{path or name} has no split {train_split!r}, only {', '.join(splits)}. Set "
            "options.train_split."
        )
    train = splits[train_split]
    test = splits.get(test_split)
    validation = splits.get(validation_split) if validation_split != test_split else None
    targets = [target] if isinstance(target, str) else list(target)
    for column in (*targets, *([image] if image else [])):
        if column not in train.column_names:
            raise DataError(
                f"{path or name} has no column {column!r}."
                f"{did_you_mean(column, train.column_names)} It has "
                f"{', '.join(train.column_names)}. Set options.target, or options.image."
            )
    classes = tuple(getattr(train.features[targets[0]], "names", None) or ())
    if image:
        return _of_images(
            train, validation, test, cut, image, targets[0], classes, size=size, channels=channels
        )
    columns = Columns(
        target=targets,
        features=[features] if isinstance(features, str) else list(features),
        text=text,
        task=task,
        classes=classes,
        missing=missing,
        target_scale=target_scale,
        min_count=min_count,
        max_length=max_length,
    )
    tables = (
        None if split is None else _table(split, targets[0], classes)
        for split in (train, validation, test)
    )
    whole, validation, test = tables
    return encode_tables(whole, validation, test, cut, columns)


def _splits(path: Path | None, name: str, subset: str) -> dict[str, Any]:
    try:
        import datasets
    except ImportError:
        raise ExtraError("source hf needs datasets. pip install 'limbeck[hf]'.") from None
    if path is None and not name:
        raise DataError(
            "source hf needs a folder that save_to_disk made, or a name. Set data.path, or "
            'data.source = "hf:NAME".'
        )
    try:
        loaded = (
            datasets.load_from_disk(str(path))
            if path is not None
            else datasets.load_dataset(name, subset or None)
        )
    except (OSError, ValueError, pa.ArrowException) as error:
        raise DataError(
            f"cannot load the data set {path or name}: {first_line(error)}. Check the name, "
            "the network, or the folder."
        ) from None
    return dict(loaded) if isinstance(loaded, dict) else {"train": loaded}


def _table(split: Any, target: str, classes: Sequence[str]) -> Any:
    """The split's columns as pyarrow has them, class ids as the classes' names."""
    table = split.with_format("arrow")[:]
    if not classes:
        return table
    _refuse_hidden(table.column(target).to_numpy(), target)
    names = pc.take(pa.array(classes), table.column(target))
    return table.set_column(table.column_names.index(target), target, names)


def _of_images(
    train: Any,
    validation: Any,
    test: Any,
    cut: Cut,
    image: str,
    target: str,
    classes: tuple[str, ...],
    *,
    size: Sequence[int],
    channels: int,
) -> DataSet:
    if not classes:
        raise OptionError(
            f"the target of images must be a ClassLabel column, {target!r} is none. Cast it with "
            "class_encode_column before save_to_disk."
        )
    from datasets import Image

    def plain(part: Any) -> Any:
        if part is None:
            return None
        _refuse_hidden(_class_ids(part, target), target)
        return part.select_columns([image, target]).cast_column(image, Image(decode=False))

    whole = plain(train)
    splits = cut.three(
        whole,
        plain(validation),
        plain(test),
        classes=torch.from_numpy(_class_ids(whole, target)),
        take=lambda part, index: part.select(index.tolist()),
    )
    first = _open(whole[0][image], "row 0")
    shape = ImageShape.of(first, size=size, channels=channels)
    train, validation, test = (
        DatasetSamples(HubImages(split, image, target, shape)) for split in splits
    )
    head = Head(space="categorical", size=len(classes), classes=classes)
    return DataSet(train=train, validation=validation, test=test, heads=(head,))


class HubImages:
    """The images and class ids of a split, as a map-style dataset."""

    def __init__(self, split: Any, image: str, target: str, shape: ImageShape) -> None:
        self._split = split
        self._image = image
        self._target = target
        self._shape = shape

    def __len__(self) -> int:
        return len(self._split)

    def __getitem__(self, position: int) -> tuple[NDArray[np.uint8], int]:
        row = self._split[position]
        name = f"row {position}"
        return self._shape.array(_open(row[self._image], name), name), row[self._target]


def _open(cell: dict[str, Any], name: str) -> "Picture":
    """The image of a cell: its bytes, or else the path of its file."""
    if cell["bytes"] is None:
        return open_image(cell["path"], cell["path"])
    return open_image(io.BytesIO(cell["bytes"]), name)


def _class_ids(split: Any, target: str) -> NDArray[np.int64]:
    column = split.select_columns([target]).with_format("arrow")[:].column(target)
    return np.array(column.to_numpy(), dtype=np.int64)


def _refuse_hidden(ids: NDArray[np.int64], target: str) -> None:
    if len(ids) and ids.min() < 0:
        raise DataError(
            f"column {target!r} has the label {ids.min()} in one split: its labels are hidden. "
            "Name another split with options.test_split, for example the validation split."
        )
