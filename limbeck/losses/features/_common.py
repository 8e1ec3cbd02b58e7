"""What feature losses share: checks of shapes, precision, and the directions of vectors."""

import torch
from torch import Tensor

from limbeck._errors import ShapeError
from limbeck.losses._soft_targets import at_least_float32

MAPS = "batch, channels, height, width"
VECTORS = "batch, features"
POOL = "Pool the larger one first, as torch.nn.functional.adaptive_avg_pool2d does."


def check_axes(axes: str, **tensors: Tensor) -> None:
    """Raise `ShapeError` unless every tensor has as many axes as are named, with commas."""
    for name, tensor in tensors.items():
        if tensor.dim() != axes.count(",") + 1:
            raise ShapeError(f"{name} must be ({axes}), got shape {tuple(tensor.shape)}.")


def check_batch(**tensors: Tensor) -> None:
    """Raise `ShapeError` unless every tensor has a batch and at least one axis of features."""
    for name, tensor in tensors.items():
        if tensor.dim() < 2:
            raise ShapeError(f"{name} must be (batch, features, ...), got {tuple(tensor.shape)}.")


def check_agree(what: str, axes: tuple[int, ...], way_out: str = "", **tensors: Tensor) -> None:
    """Raise `ShapeError` unless the sizes of these axes are the same in every tensor.

    Args:
        what: Their names, for the message: "batch, height and width".
        axes: Which they are.
        way_out: A last sentence.
        tensors: At least two, which have these axes.
    """
    if len({tuple(tensor.shape[axis] for axis in axes) for tensor in tensors.values()}) > 1:
        shapes = ", ".join(f"{name} {tuple(tensor.shape)}" for name, tensor in tensors.items())
        raise ShapeError(f"these must have one {what}: {shapes}. {way_out}".rstrip())


def check_per_channel(student: Tensor, **tensors: Tensor) -> None:
    """Raise `ShapeError` unless every tensor has one number for each channel of the student."""
    for name, tensor in tensors.items():
        if tensor.shape != student.shape[1:2]:
            raise ShapeError(
                f"{name} must have one number for each channel, expected shape "
                f"{tuple(student.shape[1:2])}, got {tuple(tensor.shape)}."
            )


def both(student: Tensor, teacher: Tensor) -> tuple[Tensor, Tensor]:
    """Both in one precision, float32 or better; the teacher without gradient."""
    student, teacher = at_least_float32(student), at_least_float32(teacher.detach())
    dtype = torch.promote_types(student.dtype, teacher.dtype)
    return student.to(dtype), teacher.to(dtype)


def unit(vectors: Tensor) -> Tensor:
    """Vectors `(..., features)` at length 1; one of zeros stays so, and has no gradient."""
    if not vectors.numel():
        return vectors
    largest = vectors.detach().abs().amax(dim=-1, keepdim=True)
    # Of the largest size 1, so that no square is lost; a length does not change a direction.
    vectors = vectors / largest.masked_fill(largest == 0, 1.0)
    square = vectors.square().sum(dim=-1, keepdim=True)
    return vectors * square.masked_fill(square == 0, 1.0).rsqrt().masked_fill(square == 0, 0.0)
