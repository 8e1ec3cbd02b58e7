"""Losses of a vocabulary, from hidden states: its logits are never held all at once.

The logits of some rows are made, used and dropped, and made again for the backward pass: a loss has
one value per row, so what each row weighs is only known then. It costs one more product with the
output layer, where fused losses that return a mean keep the gradient from the forward pass.
"""

from collections.abc import Callable, Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from limbeck._errors import OptionError, ShapeError
from limbeck._shapes import check_leading_shape
from limbeck.losses._soft_targets import at_least_float32
from limbeck.signals import Sparse

_Chunk = Callable[[Tensor, slice], Tensor]
"""Values, `(chunk,)`, of some rows' logits, `(chunk, classes)`."""


def by_chunks(
    loss: Callable[[Tensor, Sparse], Tensor],
    hidden: Tensor,
    weight: Tensor,
    rows: Sparse,
    *,
    bias: Tensor | None = None,
    chunk: int = 32,
) -> Tensor:
    r"""A loss from sparse rows, of the logits $h W^\top + b$, some rows at a time.

    Its gradients into all three are those of the loss itself; it can be differentiated once. The
    product is of the inputs' precision, what the chunks add to the gradient of $W$ is summed in
    float32 or better.

    Args:
        loss: From logits `(chunk, classes)` and their `Sparse` rows to `(chunk,)`, as
            `sparse_soft_targets`; options are set with `functools.partial`.
        hidden: $h$, the student's last hidden states, shape `(..., width)`.
        weight: $W$ of its output layer, shape `(classes, width)`.
        rows: The teacher's, of the leading shape of `hidden`. No gradient flows into them.
        bias: $b$, shape `(classes,)`, if the layer has one.
        chunk: Rows at a time, 1 or more. With fewer less is held, down to the gradients; many are
            faster, and with all rows at once nothing is saved.

    Returns:
        One loss per row, shape `(...)`.

    Raises:
        OptionError: `chunk` is below 1, or as the loss says.
        ShapeError: The shapes do not fit.
    """
    check_leading_shape(last="width", hidden=hidden, tail=rows.tail)
    flat = rows.flat
    index = torch.arange(len(flat.tail), device=rows.tail.device)

    def values(logits: Tensor, part: slice) -> Tensor:
        return loss(logits, flat.select(index[part]))

    return _chunked(values, hidden, weight, bias, chunk)


def by_chunks_of_both(
    loss: Callable[[Tensor, Tensor], Tensor],
    hidden: Tensor,
    weight: Tensor,
    teacher_hidden: Tensor,
    teacher_weight: Tensor,
    *,
    bias: Tensor | None = None,
    teacher_bias: Tensor | None = None,
    chunk: int = 32,
) -> Tensor:
    r"""A loss between the logits of two output layers, some rows at a time.

    For a teacher that is at hand, or whose hidden states were kept; as `by_chunks` otherwise. The
    widths of the two may differ.

    Args:
        loss: From two logits `(chunk, classes)`, the teacher's second, to `(chunk,)`, as
            `soft_targets`; options are set with `functools.partial`.
        hidden: The student's last hidden states, shape `(..., width)`.
        weight: Of its output layer, shape `(classes, width)`.
        teacher_hidden: The teacher's, shape `(..., teacher width)`. No gradient flows into any of
            the teacher's.
        teacher_weight: Shape `(classes, teacher width)`.
        bias: Shape `(classes,)`, if the student's layer has one.
        teacher_bias: Shape `(classes,)`, if the teacher's has one.
        chunk: Rows at a time, 1 or more, as in `by_chunks`.

    Returns:
        One loss per row, shape `(...)`.

    Raises:
        OptionError: `chunk` is below 1, or as the loss says.
        ShapeError: The shapes do not fit.
    """
    if hidden.shape[:-1] != teacher_hidden.shape[:-1]:
        raise ShapeError(
            f"hidden and teacher_hidden must have one leading shape: {tuple(hidden.shape[:-1])}, "
            f"{tuple(teacher_hidden.shape[:-1])}."
        )
    if len(weight) != len(teacher_weight):
        raise ShapeError(
            f"weight and teacher_weight must have one row for each class: {len(weight)}, "
            f"{len(teacher_weight)}."
        )
    count, width = hidden.shape[:-1].numel(), teacher_hidden.shape[-1]
    teacher_hidden, teacher_weight = _one_precision(
        teacher_hidden.detach().reshape(count, width), teacher_weight.detach(), whose="teacher_"
    )

    def values(logits: Tensor, part: slice) -> Tensor:
        with torch.no_grad():
            teacher_logits = _logits(teacher_hidden[part], teacher_weight, teacher_bias)
        return loss(logits, teacher_logits)

    return _chunked(values, hidden, weight, bias, chunk)


def _chunked(
    values: _Chunk, hidden: Tensor, weight: Tensor, bias: Tensor | None, chunk: int
) -> Tensor:
    if chunk < 1:
        raise OptionError(f"chunk must be 1 or more, got {chunk}.")
    hidden, weight = _one_precision(hidden, weight)
    leading = hidden.shape[:-1]
    flat = hidden.reshape(leading.numel(), hidden.shape[-1])
    found: Tensor = _ByChunks.apply(  # type: ignore[no-untyped-call]
        values, chunk, flat, weight, bias
    )
    return found.reshape(leading)


class _ByChunks(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        values: _Chunk,
        chunk: int,
        hidden: Tensor,
        weight: Tensor,
        bias: Tensor | None,
    ) -> Tensor:
        ctx.values, ctx.chunk = values, chunk
        ctx.save_for_backward(hidden, weight, bias)
        found = at_least_float32(hidden.new_empty(len(hidden)))
        with torch.autocast(hidden.device.type, enabled=False):
            for part in _parts(hidden, chunk):
                found[part] = values(_logits(hidden[part], weight, bias), part)
        return found

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, of_values: Tensor) -> tuple[Tensor | None, ...]:
        hidden, weight, bias = ctx.saved_tensors
        for_hidden, for_weight, for_bias = ctx.needs_input_grad[2:]
        of_hidden = torch.empty_like(hidden) if for_hidden else None
        of_weight = torch.zeros_like(weight, dtype=of_values.dtype) if for_weight else None
        of_bias = torch.zeros_like(bias, dtype=of_values.dtype) if for_bias else None
        with torch.autocast(hidden.device.type, enabled=False):
            for part in _parts(hidden, ctx.chunk):
                logits = _logits(hidden[part], weight, bias).requires_grad_()
                with torch.enable_grad():
                    values = ctx.values(logits, part)
                (of_logits,) = torch.autograd.grad(
                    values, logits, of_values[part]
                )  # (chunk, classes)
                if of_hidden is not None:
                    of_hidden[part] = of_logits.to(weight.dtype) @ weight
                if of_weight is not None:
                    of_weight.addmm_(of_logits.T, hidden[part].to(of_logits.dtype))
                if of_bias is not None:
                    of_bias += of_logits.sum(dim=0)
        return (
            None,
            None,
            of_hidden,
            None if of_weight is None else of_weight.to(weight.dtype),
            None if of_bias is None else of_bias.to(bias.dtype),
        )


def _parts(hidden: Tensor, chunk: int) -> Iterator[slice]:
    return (slice(start, start + chunk) for start in range(0, len(hidden), chunk))


def _one_precision(hidden: Tensor, weight: Tensor, *, whose: str = "") -> tuple[Tensor, Tensor]:
    """Both in the better of their two precisions: autocast gives half of it to one of them only."""
    if hidden.shape[-1:] != weight.shape[-1:]:
        raise ShapeError(
            f"{whose}hidden and {whose}weight must have one width: "
            f"{tuple(hidden.shape)}, {tuple(weight.shape)}."
        )
    dtype = torch.promote_types(hidden.dtype, weight.dtype)
    return hidden.to(dtype), weight.to(dtype)


def _logits(hidden: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """`(chunk, classes)` in float32 or better, after a product in the inputs' own precision."""
    logits = at_least_float32(F.linear(hidden, weight))
    return logits if bias is None else logits.add_(bias)
