"""Views: deterministic augmentations of a sample, each named by an integer.

The same (sample, view) gives the same tensor on any machine, in any order and batch: what moves
is drawn from a hash of the sample's content key and the view's number, never from a stream of
random numbers. So a view can be stored once and replayed for ever.

There are finitely many shifts and flips: 162 of an image that is moved by up to 4 pixels and
mirrored, as CIFAR's are. Each sample goes through all of them in an order of its own before one
comes again, so that views 0 to 161 are every one of them, once. Angles and sizes are drawn anew for
each view; what is between pixels is interpolated, which machines may round otherwise in the last
place.
"""

import math
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from limbeck._devices import sent
from limbeck._errors import OptionError, ShapeError
from limbeck._splitmix import splitmix, uniform
from limbeck.signals import Inputs

VERSION = 2
"""Changes when the same (sample, view) would come out otherwise."""
_ANGLES, _SIZES = 2**40, 2**41
"""Which of a key's random numbers those of view 0 are; shifts and flips have the first ones."""


@dataclass(frozen=True, kw_only=True)
class Views:
    """Shifts, flips, turns and sizes of images. View 0 is the sample as it came."""

    shift: int = 0
    """Pixels, at most, that a view is moved by in each direction; what comes in is 0."""
    flip: bool = False
    """Whether a view is mirrored left to right, one time in two."""
    rotate: float = 0.0
    """Degrees, at most, that a view is turned by in each direction; what comes in is 0."""
    zoom: float = 0.0
    """By which share of it, at most, a view is larger or smaller."""

    def __post_init__(self) -> None:
        if self.shift < 0:
            raise OptionError(f"shift must be 0 pixels or more, got {self.shift}.")
        if not 0 <= self.rotate <= 180:
            raise OptionError(f"rotate must be in [0, 180] degrees, got {self.rotate}.")
        if not 0 <= self.zoom < 1:
            raise OptionError(f"zoom must be in [0, 1), got {self.zoom}.")

    @property
    def kinds(self) -> int:
        """How many shifts and flips there are: views 0 to `kinds` - 1 of a sample all differ."""
        return self._side**2 * self._flips

    def __str__(self) -> str:
        """The transform and its version, as a transfer set records it."""
        turned = f" rotate={self.rotate:g} zoom={self.zoom:g}" if self._turns else ""
        return f"shift={self.shift} flip={str(self.flip).lower()}{turned} version={VERSION}"

    def __call__(self, images: Tensor, keys: NDArray[np.uint64], view: int) -> Tensor:
        """These samples as view number `view`.

        Args:
            images: `(batch, height, width)` or `(batch, channels, height, width)`, any dtype; the
                view is made on their device.
            keys: `(batch,)`, the samples' content keys.
            view: 0 or more. 0 gives `images` back.

        Raises:
            ShapeError: A view other than 0 is asked of something that is no image.
        """
        if view == 0 or not self._changes:
            return images
        if images.dim() not in (3, 4):
            raise ShapeError(
                "views are of images, (batch, height, width) or (batch, channels, height, width), "
                f"got {tuple(images.shape)}. Leave out `augment` for these inputs."
            )
        moved = self._moved(images, keys, view) if self.shift or self.flip else images
        return self._turned(moved, keys, view) if self._turns else moved

    def _moved(self, images: Tensor, keys: NDArray[np.uint64], view: int) -> Tensor:
        """Shifted and flipped, by whole pixels."""
        kinds = sent(self._kinds_of(keys, view), images.device)  # (batch,)
        moves = kinds // self._flips
        height, width = images.shape[-2:]
        device = images.device
        rows = torch.arange(height, device=device) + self._move(moves // self._side)[:, None]
        columns = torch.arange(width, device=device) + self._move(moves % self._side)[:, None]
        if self.flip:
            mirrored = kinds % self._flips == 1
            columns = torch.where(mirrored[:, None], columns.flip(1), columns)
        inside = _within(rows, height)[:, :, None] & _within(columns, width)[:, None, :]
        which = torch.arange(len(images), device=device)[:, None, None]
        rows, columns = rows.clamp(0, height - 1), columns.clamp(0, width - 1)
        if images.dim() == 4:
            moved = images.permute(0, 2, 3, 1)[which, rows[:, :, None], columns[:, None, :]]
            return (moved * inside[..., None].to(images.dtype)).permute(0, 3, 1, 2).contiguous()
        moved = images[which, rows[:, :, None], columns[:, None, :]]  # (batch, height, width)
        return moved * inside.to(images.dtype)

    def _turned(self, images: Tensor, keys: NDArray[np.uint64], view: int) -> Tensor:
        """Turned and zoomed around the middle, bilinearly, with 0 from outside."""
        angle = math.radians(self.rotate) * (2 * uniform(keys, _ANGLES + view) - 1)  # (batch,)
        size = 1 + self.zoom * (2 * uniform(keys, _SIZES + view) - 1)
        height, width = images.shape[-2:]
        cosine, sine = np.cos(angle) / size, np.sin(angle) / size
        nothing = np.zeros_like(angle)
        to_source = np.stack(  # of coordinates that go from -1 to 1 along both sides
            [cosine, -sine * height / width, nothing, sine * width / height, cosine, nothing], -1
        )
        maps = images if images.dim() == 4 else images[:, None]
        pixels = maps if maps.is_floating_point() else maps.float()
        where = torch.from_numpy(to_source).to(pixels).reshape(-1, 2, 3)
        grid = F.affine_grid(where, list(maps.shape), align_corners=False)
        turned = F.grid_sample(pixels, grid, align_corners=False)
        if not images.is_floating_point():
            turned = turned.round().to(images.dtype)
        return turned.reshape(images.shape)

    def of(self, inputs: Inputs, keys: NDArray[np.uint64], view: int) -> Inputs:
        """As a call, for inputs that may be keyword arguments: these have one view, themselves.

        Raises:
            ShapeError: A shift or flip is asked of something that is no image.
        """
        if isinstance(inputs, Tensor):
            return self(inputs, keys, view)
        if self._changes:
            raise ShapeError(
                f"views are of images, got the inputs {', '.join(inputs)}. "
                "Leave out `augment` for these inputs."
            )
        return inputs

    @property
    def _changes(self) -> bool:
        return self.shift > 0 or self.flip or self._turns

    @property
    def _turns(self) -> bool:
        return self.rotate > 0 or self.zoom > 0

    @property
    def _side(self) -> int:
        """Moves in one direction."""
        return 2 * self.shift + 1

    @property
    def _flips(self) -> int:
        return 2 if self.flip else 1

    def _kinds_of(self, keys: NDArray[np.uint64], view: int) -> Tensor:
        """`(batch,)`: which of all shifts and flips this view of each sample is; 0 is neither."""
        turn, place = divmod(view, self.kinds)
        if turn == 0:  # view 0 stays the sample as it came
            kinds = 1 + _shuffled(place - 1, self.kinds - 1, splitmix(keys, turn))
        else:
            kinds = _shuffled(place, self.kinds, splitmix(keys, turn))
        return torch.from_numpy(kinds)

    def _move(self, choice: Tensor) -> Tensor:
        """Whole pixels in -shift..shift, of a number in 0..2 shift; 0 does not move."""
        return (choice + self.shift) % self._side - self.shift


def _shuffled(place: int, size: int, draws: NDArray[np.uint64]) -> NDArray[np.int64]:
    """What stands at a place of 0..size - 1 as each draw shuffles it, `(batch,)`.

    A start and a step without a common factor with the size: each number comes once.
    """
    steps = _steps(size)
    start = (draws % np.uint64(size)).astype(np.int64)
    step = steps[((draws >> np.uint64(32)) % np.uint64(len(steps))).astype(np.int64)]
    return np.asarray((start + place * step) % size, dtype=np.int64)


@cache
def _steps(size: int) -> NDArray[np.int64]:
    """The numbers of 1..size that have no common factor with it."""
    return np.array([step for step in range(1, size + 1) if math.gcd(step, size) == 1])


def _within(positions: Tensor, size: int) -> Tensor:
    return (positions >= 0) & (positions < size)
