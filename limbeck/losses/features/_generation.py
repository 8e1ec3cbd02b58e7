"""Masked generative distillation (Yang et al., 2022, https://arxiv.org/abs/2205.01529).

The student's map is masked, a small generator fills it in, and the result is to be the teacher's.
"""

import torch
from torch import Tensor

from limbeck._errors import OptionError
from limbeck._shapes import check_same_shape
from limbeck.losses.features._common import MAPS, both, check_axes


def masked_generation(generated: Tensor, teacher: Tensor) -> Tensor:
    r"""Sum over a row's numbers of $(\mathcal{G}(s \cdot m) - t)^2$.

    Args:
        generated: What the generator made of the student's map times a mask, shape `(batch,
            channels, height, width)`.
        teacher: $t$, of the same shape. No gradient flows into it.

    Returns:
        One loss per row, the sum over its numbers, shape `(batch,)`: the paper's weights for it are
        of the order of 1e-5.

    Raises:
        ShapeError: The two shapes differ, or are not of four axes.
    """
    check_axes(MAPS, generated=generated, teacher=teacher)
    check_same_shape(generated=generated, teacher=teacher)
    generated, teacher = both(generated, teacher)
    return (generated - teacher).square().sum(dim=(1, 2, 3))


def channel_mask(maps: Tensor, *, ratio: float = 0.15, generator: torch.Generator) -> Tensor:
    """A mask of whole channels, drawn for each row: what the paper does for classification.

    Args:
        maps: Shape `(batch, channels, height, width)`, for its shape, precision and device.
        ratio: How probable it is that a channel is masked, from 0, none, to 1, all.
        generator: Of any device.

    Returns:
        0 where masked and 1 elsewhere, shape `(batch, channels, 1, 1)`.

    Raises:
        OptionError: `ratio` is not between 0 and 1.
        ShapeError: The shape is not of four axes.
    """
    check_axes(MAPS, maps=maps)
    return _mask(maps, (*maps.shape[:2], 1, 1), ratio, generator)


def position_mask(maps: Tensor, *, ratio: float = 0.5, generator: torch.Generator) -> Tensor:
    """A mask of positions, drawn for each row: what the paper does for detection.

    Args:
        maps: Shape `(batch, channels, height, width)`, for its shape, precision and device.
        ratio: How probable it is that a position is masked, from 0, none, to 1, all.
        generator: Of any device.

    Returns:
        0 where masked and 1 elsewhere, shape `(batch, 1, height, width)`.

    Raises:
        OptionError: `ratio` is not between 0 and 1.
        ShapeError: The shape is not of four axes.
    """
    check_axes(MAPS, maps=maps)
    return _mask(maps, (len(maps), 1, *maps.shape[2:]), ratio, generator)


def _mask(maps: Tensor, shape: tuple[int, ...], ratio: float, generator: torch.Generator) -> Tensor:
    if not 0 <= ratio <= 1:
        raise OptionError(f"ratio must be 0 or more and at most 1, got {ratio}.")
    drawn = torch.rand(shape, generator=generator, device=generator.device)
    return (drawn >= ratio).to(maps.device, maps.dtype)
