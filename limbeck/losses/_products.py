"""Products of matrices that autocast does not take precision from, forwards or backwards."""

from typing import Any

import torch
from torch import Tensor


def exact_product(one: Tensor, other: Tensor) -> Tensor:
    """`one @ other` in their own precision, `(..., n, k)` and `(..., k, m)` to `(..., n, m)`.

    To leave autocast around the product is not enough: the products of the backward pass are made
    wherever that is called, which may be under it.
    """
    found: Tensor = _ExactProduct.apply(one, other)  # type: ignore[no-untyped-call]
    return found


def scalar_products(one: Tensor, other: Tensor) -> Tensor:
    """Those of all pairs of rows: `(..., n, features)`, `(..., m, features)` to `(..., n, m)`."""
    return exact_product(one, other.mT)


class _ExactProduct(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, one: Tensor, other: Tensor) -> Tensor:
        ctx.save_for_backward(one, other)
        with torch.autocast(one.device.type, enabled=False):
            return one @ other

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None]:
        one, other = ctx.saved_tensors
        for_one, for_other = ctx.needs_input_grad
        with torch.autocast(one.device.type, enabled=False):
            return (
                gradient @ other.mT if for_one else None,
                one.mT @ gradient if for_other else None,
            )
