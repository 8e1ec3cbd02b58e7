"""Small whole numbers, packed to as few bits as they need."""

import torch
from torch import Tensor


def packed_width(count: int, bits: int) -> int:
    """Bytes that `count` numbers of `bits` bits take."""
    return -(-count * bits // 8)


def pack(numbers: Tensor, bits: int) -> Tensor:
    """Numbers one after the other, most significant bit first; the last byte is filled with 0.

    Args:
        numbers: Whole numbers in 0..2^bits - 1, `(..., count)`.
        bits: 1 to 16.

    Returns:
        `(..., packed_width(count, bits))`, uint8, on the same device.
    """
    places = torch.arange(bits - 1, -1, -1, device=numbers.device)
    each = (numbers.long()[..., None] >> places) & 1  # (..., count, bits)
    stream = each.flatten(-2)  # (..., count * bits)
    missing = -stream.shape[-1] % 8
    whole = torch.nn.functional.pad(stream, (0, missing)).reshape(
        *stream.shape[:-1], packed_width(numbers.shape[-1], bits), 8
    )
    numbers_of_bytes: Tensor = (whole << torch.arange(7, -1, -1, device=numbers.device)).sum(-1)
    return numbers_of_bytes.to(torch.uint8)


def unpack(packed: Tensor, bits: int, count: int) -> Tensor:
    """What `pack` packed: `(..., count)`, int64.

    Args:
        packed: `(..., packed_width(count, bits))`, uint8.
        bits: As for `pack`.
        count: How many numbers there are.
    """
    places = torch.arange(7, -1, -1, device=packed.device)
    stream = ((packed.long()[..., None] >> places) & 1).flatten(-2)  # (..., width * 8)
    each = stream[..., : count * bits].reshape(*packed.shape[:-1], count, bits)
    numbers: Tensor = (each << torch.arange(bits - 1, -1, -1, device=packed.device)).sum(-1)
    return numbers
