"""Shape contracts, checked once at the boundary of every loss."""

from numbers import Integral

from torch import Tensor

from limbeck._errors import OptionError, ShapeError


def check_same_shape(**tensors: Tensor) -> None:
    """Raise `ShapeError`, naming every tensor and its shape, unless all shapes are equal."""
    for name, tensor in tensors.items():
        if not isinstance(tensor, Tensor):
            raise ShapeError(
                f"{name} must be a tensor, got {type(tensor).__name__}. Of Dense rows take "
                ".logits; Sparse rows have losses of their own: limbeck.losses.sparse_soft_targets "
                "and others."
            )
    if len({tensor.shape for tensor in tensors.values()}) > 1:
        shapes = ", ".join(f"{name} {tuple(tensor.shape)}" for name, tensor in tensors.items())
        raise ShapeError(f"these must have one shape: {shapes}.")


def check_leading_shape(*, last: str, **tensors: Tensor) -> None:
    """Raise `ShapeError` unless every tensor has the first one's shape without its last axis.

    Args:
        last: What the first tensor's last axis holds, for the message: "classes".
        tensors: The first is `(..., last)`; each other one must be `(...)`.
    """
    (first_name, first), *others = tensors.items()
    for name, tensor in others:
        if tensor.shape != first.shape[:-1]:
            raise ShapeError(
                f"{name} must have the shape of {first_name} without its last axis ({last}): "
                f"expected {tuple(first.shape[:-1])}, got {tuple(tensor.shape)}."
            )


def check_positive(**numbers: float | Tensor) -> None:
    """Raise `OptionError`, naming the option, unless every number is above 0 and finite."""
    for name, number in numbers.items():
        try:
            fits = 0 < number < float("inf")
        except TypeError:  # it is no number
            raise OptionError(f"{name} must be above 0 and finite, got {number!r}.") from None
        if not fits:
            raise OptionError(f"{name} must be above 0 and finite, got {number}.")


def check_count(**numbers: int) -> None:
    """Raise `OptionError`, naming the option, unless every number is a whole one from 1."""
    for name, number in numbers.items():
        if not isinstance(number, Integral) or isinstance(number, bool) or number < 1:
            raise OptionError(f"{name} must be a whole number, 1 or more, got {number!r}.")
