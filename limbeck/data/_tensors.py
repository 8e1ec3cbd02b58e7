"""What inputs and labels are, as tensors: their types, and the keys of their content."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import torch
import xxhash
from numpy.typing import NDArray
from torch import Tensor

from limbeck._devices import sent
from limbeck._errors import DataError
from limbeck._lookup import first_line
from limbeck.signals import Inputs

Keys = NDArray[np.uint64]
_WIDE_INTEGERS = (torch.uint16, torch.uint32, torch.uint64)  # torch can hardly compute with them


def as_tensor(what: str, value: Any) -> Tensor:
    """`value` as a tensor, `what` is its name for the error.

    Raises:
        DataError: It holds no numbers. Python objects, which come from pickles, are refused.
    """
    if isinstance(value, Tensor):
        return value.detach()
    try:
        array = np.asarray(value)
    except ValueError as error:
        raise DataError(
            f"{what} must be one array of numbers: {first_line(error)}. Pad or cut its parts."
        ) from None
    if array.dtype.kind not in "biuf":
        raise DataError(
            f"{what} must be numbers, got an array of {array.dtype}. Turn text into class ids "
            "(numpy.unique with return_inverse) and Python objects into one array of numbers."
        )
    native = array.astype(array.dtype.newbyteorder("="), copy=False)
    return torch.from_numpy(np.require(native, requirements=["C", "W"]))


def as_inputs(what: str, value: Any) -> Tensor:
    """Raw inputs: floats as float32; whole numbers stay, 8-bit ones are images."""
    tensor = as_tensor(what, value)
    if tensor.is_floating_point():
        return tensor.float()
    return tensor.long() if tensor.dtype in _WIDE_INTEGERS else tensor


def as_labels(what: str, value: Any) -> Tensor:
    """Labels: whole numbers as int64, floats as float32 `(samples, size)`.

    Whole numbers `(samples, 1)` are one class a sample, `(samples,)`.
    Booleans are class 0 or 1 if there is one for each sample, and a float32 0 or 1 for each class
    if there are several.
    """
    tensor = as_tensor(what, value)
    if tensor.is_floating_point() or (tensor.dtype == torch.bool and tensor.dim() > 1):
        return tensor.float() if tensor.dim() > 1 else tensor.float()[:, None]
    return tensor.long() if tensor.shape[1:] != (1,) else tensor.long()[:, 0]


def as_model_input(raw: Tensor) -> Tensor:
    """What a model is given: images of 8-bit integers as float32 in 0..1, all else as it is."""
    return raw.float().div_(255) if raw.dtype == torch.uint8 else raw


def stack(what: str, values: Iterable[Any]) -> Tensor:
    """One tensor of these, `(batch, ...)`.

    Raises:
        DataError: They are not of one shape.
    """
    tensors = [as_tensor(what, value) for value in values]
    shapes = list(dict.fromkeys(tuple(tensor.shape) for tensor in tensors))
    if len(shapes) > 1:
        raise DataError(
            f"{what} must have one shape in all samples, got {shapes[0]} and {shapes[1]}. "
            "Pad or resize them in the dataset."
        )
    return torch.stack(tensors)


def parts_of(inputs: Inputs) -> list[tuple[str, Tensor]]:
    """Names and tensors; a lone tensor's name is ""."""
    return list(inputs.items()) if isinstance(inputs, dict) else [("", inputs)]


def take(inputs: Inputs, index: Tensor) -> Inputs:
    """The inputs of these samples, `index` is `(batch,)`, on their device."""
    # Not `inputs[index]`, which takes ten times as long for a batch of images.
    if isinstance(inputs, dict):
        return {
            name: part.index_select(0, sent(index, part.device)) for name, part in inputs.items()
        }
    return inputs.index_select(0, sent(index, inputs.device))


def take_each(tensors: Mapping[str, Tensor], index: Tensor) -> dict[str, Tensor]:
    """The labels of these samples, by head."""
    return {name: tensor.index_select(0, index) for name, tensor in tensors.items()}


def content_keys(inputs: Inputs) -> Keys:
    """XXH3-64 of each sample's raw bytes, `(samples,)`; a dict's tensors in the order of its names.

    A key depends on the content alone: not on position, batch, shuffle or process.
    """
    parts = [part.detach().cpu() for _, part in sorted(parts_of(inputs))]
    if len(parts[0]) == 0:
        return np.empty(0, dtype=np.uint64)
    flat = [part.reshape(len(part), -1).contiguous().view(torch.uint8) for part in parts]
    # One tensor is not copied: it may be all of the data.
    rows = (flat[0] if len(flat) == 1 else torch.cat(flat, dim=1)).numpy()  # (samples, bytes)
    return np.fromiter(map(xxhash.xxh3_64_intdigest, rows), dtype=np.uint64, count=len(rows))


def first_not_finite(tensor: Tensor) -> int | None:
    """Position of the first sample that holds NaN or infinity; None if all are finite."""
    if not tensor.is_floating_point() or bool(torch.isfinite(tensor).all()):
        return None
    return int((~torch.isfinite(tensor.reshape(len(tensor), -1))).any(1).nonzero()[0])
