"""Views: deterministic augmentations of a sample, each named by an integer.

The same (sample, view) gives the same tensor on any machine, in any order and batch: what moves
is drawn from a hash of the sample's content key and the view's number, never from a stream of
random numbers. So a view can be stored once and replayed for ever.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from limbeck._errors import OptionError, ShapeError
from limbeck.signals import Inputs

VERSION = 1
"""Changes when the same (sample, view) would come out otherwise."""


@dataclass(frozen=True, kw_only=True)
class Views:
    """Shifts and flips of images. View 0 is the sample as it came."""

    shift: int = 0
    """Pixels, at most, that a view is moved by in each direction; what comes in is 0."""
    flip: bool = False
    """Whether a view is mirrored left to right, one time in two."""

    def __post_init__(self) -> None:
        if self.shift < 0:
            raise OptionError(f"shift must be 0 pixels or more, got {self.shift}.")

    def __str__(self) -> str:
        """The transform and its version, as a transfer set records it."""
        return f"shift={self.shift} flip={str(self.flip).lower()} version={VERSION}"

    def __call__(self, images: Tensor, keys: NDArray[np.uint64], view: int) -> Tensor:
        """These samples as view number `view`.

        Args:
            images: `(batch, height, width)` or `(batch, channels, height, width)`, any dtype.
            keys: `(batch,)`, the samples' content keys.
            view: 0 or more. 0 gives `images` back.

        Raises:
            ShapeError: A view other than 0 is asked of something that is no image.
        """
        if view == 0 or (self.shift == 0 and not self.flip):
            return images
        if images.dim() not in (3, 4):
            raise ShapeError(
                "views shift and flip images, (batch, height, width) or (batch, channels, "
                f"height, width), got {tuple(images.shape)}. Leave out `augment` for these inputs."
            )
        draws = _hash(keys, view)  # (batch,) uint64
        height, width = images.shape[-2:]
        rows = torch.arange(height) + self._move(draws, 0)[:, None]  # (batch, height)
        columns = torch.arange(width) + self._move(draws, 16)[:, None]  # (batch, width)
        if self.flip:
            mirrored = torch.from_numpy(((draws >> np.uint64(32)) & np.uint64(1)).astype(bool))
            columns = torch.where(mirrored[:, None], columns.flip(1), columns)
        inside = _within(rows, height)[:, :, None] & _within(columns, width)[:, None, :]
        which = torch.arange(len(images))[:, None, None]
        rows, columns = rows.clamp(0, height - 1), columns.clamp(0, width - 1)
        if images.dim() == 4:
            moved = images.permute(0, 2, 3, 1)[which, rows[:, :, None], columns[:, None, :]]
            return (moved * inside[..., None].to(images.dtype)).permute(0, 3, 1, 2).contiguous()
        moved = images[which, rows[:, :, None], columns[:, None, :]]  # (batch, height, width)
        return moved * inside.to(images.dtype)

    def of(self, inputs: Inputs, keys: NDArray[np.uint64], view: int) -> Inputs:
        """As a call, for inputs that may be keyword arguments: these have one view, themselves.

        Raises:
            ShapeError: A shift or flip is asked of something that is no image.
        """
        if isinstance(inputs, Tensor):
            return self(inputs, keys, view)
        if self.shift or self.flip:
            raise ShapeError(
                f"views shift and flip images, got the inputs {', '.join(inputs)}. "
                "Leave out `augment` for these inputs."
            )
        return inputs

    def _move(self, draws: NDArray[np.uint64], bit: int) -> Tensor:
        """`(batch,)` whole pixels in -shift..shift, from 16 bits of each draw."""
        choices = np.uint64(2 * self.shift + 1)
        drawn = (draws >> np.uint64(bit)) & np.uint64(0xFFFF)
        return torch.from_numpy((drawn % choices).astype(np.int64) - self.shift)


def _within(positions: Tensor, size: int) -> Tensor:
    return (positions >= 0) & (positions < size)


def _hash(keys: NDArray[np.uint64], view: int) -> NDArray[np.uint64]:
    """SplitMix64 (Steele et al., 2014) of each key moved on by `view` steps, `(batch,)`."""
    with np.errstate(over="ignore"):
        state = keys + np.uint64(view) * np.uint64(0x9E3779B97F4A7C15)
        state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return np.asarray(state ^ (state >> np.uint64(31)), dtype=np.uint64)
