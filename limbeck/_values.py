"""What a user's loss gives back: one value for each row, or one for all."""

from torch import Tensor

from limbeck._errors import LossError


def as_tensor(values: object, name: str) -> Tensor:
    """What a loss gave, if it is a tensor.

    Raises:
        LossError: It is not.
    """
    if isinstance(values, Tensor):
        return values
    raise LossError(
        f"{name} must return a tensor, got {type(values).__name__}. Return the loss alone: one "
        "value for each row, or one for all."
    )


def check_values(values: Tensor, rows: Tensor, name: str) -> None:
    """Refuse what are not the values of a loss.

    Args:
        values: What the loss gave.
        rows: `(rows, size)`: what of the student it was given.
        name: The loss's, for the message.

    Raises:
        LossError: They are not `(rows,)` or `()` floating-point numbers.
    """
    if not values.is_floating_point():
        raise LossError(
            f"{name} must return floating-point numbers, got {values.dtype}. Return the loss, not "
            "a count or a mask."
        )
    shape, each = tuple(values.shape), (len(rows),)
    if shape in ((), each):
        return
    if shape in ((1,), (*each, 1)):
        way_out = ". Take the last axis away: squeeze(-1)."
    else:
        sums = " Sum over classes." if len(shape) > 1 else ""
        way_out = f" for logits of {tuple(rows.shape)}.{sums}"
    raise LossError(
        f"{name} must return one value for each row, {each}, or one for all, (), got {shape}"
        f"{way_out}"
    )
