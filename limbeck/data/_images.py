"""A folder of images, one folder for each class, decoded when they are asked for."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from limbeck._errors import DataError, OptionError, StorageError
from limbeck._files import reading_errors
from limbeck._lookup import first_line
from limbeck.data._data_set import DataSet
from limbeck.data._dataset_samples import DatasetSamples
from limbeck.data._paths import need_path
from limbeck.data._split import Cut
from limbeck.signals import Head

if TYPE_CHECKING:
    from PIL import Image

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm", ".pgm")


@dataclass(frozen=True)
class ImageShape:
    """What every image is made into."""

    size: tuple[int, int]
    """Height and width."""
    channels: int = 3
    """1 for grey, 3 for red, green and blue."""
    resize: bool = True
    """False if images of another size are refused."""

    @staticmethod
    def of(first: "Image.Image", *, size: Sequence[int], channels: int) -> "ImageShape":
        """What the user's options say; an empty size means that of the first image, for all."""
        if channels not in (1, 3):
            raise OptionError(f"channels must be 1 (grey) or 3 (colour), got {channels}.")
        if size and (len(size) != 2 or min(size) < 1):
            raise OptionError(f"size must be [height, width] in pixels, got {list(size)}.")
        height, width = size or (first.height, first.width)
        return ImageShape((height, width), channels, resize=bool(size))

    def array(self, image: "Image.Image", name: str) -> NDArray[np.uint8]:
        """The pixels, `(channels, height, width)`; `name` says which image it is.

        Raises:
            DataError: It is of another size, and none to resize to was given.
        """
        height, width = self.size
        if image.size != (width, height):
            if not self.resize:
                raise DataError(
                    f"images must be of one size: the first is {height}x{width}, {name} is "
                    f"{image.height}x{image.width}. Set options.size = [height, width] to resize."
                )
            image = image.resize((width, height))
        pixels = np.array(image.convert("L" if self.channels == 1 else "RGB"))
        return pixels[None] if self.channels == 1 else pixels.transpose(2, 0, 1).copy()


def image_folder(
    path: Path | None, cut: Cut, *, size: Sequence[int] = (), channels: int = 3
) -> DataSet:
    """Images of 8-bit integers, `(samples, channels, height, width)`, and their folders' names.

    Args:
        path: The folder of `train/CLASS/*.png` (or .jpg, ...), with `validation/CLASS/...` and
            `test/CLASS/...` if there are any; or of `CLASS/*.png`, without splits.
        cut: Of the splits that have no folder.
        size: Height and width that images are resized to; empty if all are of one size.
        channels: 1 for grey, 3 for colour.
    """
    folder = need_path(path, "image_folder", "the folder of train/CLASS/*.png")
    with reading_errors(folder):
        root = folder / "train" if (folder / "train").is_dir() else folder
        classes = [place.name for place in _folders(root)]
    if not classes:
        raise DataError(
            f"{root} must hold a folder of images for each class, got none. Set data.path to the "
            "folder of train/CLASS/*.png."
        )
    whole = _list(root, classes)
    own_validation, own_test = (
        _list(folder / name, classes) if root != folder and (folder / name).is_dir() else None
        for name in ("validation", "test")
    )
    splits = cut.three(
        whole,
        own_validation,
        own_test,
        classes=torch.tensor([label for _, label in whole]),
        take=_take,
    )
    first = open_image(whole[0][0], str(whole[0][0]))
    shape = ImageShape.of(first, size=size, channels=channels)
    train, validation, test = (DatasetSamples(ImageFiles(files, shape)) for files in splits)
    head = Head(space="categorical", size=len(classes), classes=tuple(classes))
    return DataSet(train=train, validation=validation, test=test, heads=(head,))


class ImageFiles:
    """Image files and their class ids, as a map-style dataset."""

    def __init__(self, files: list[tuple[Path, int]], shape: ImageShape) -> None:
        self._files = files
        self._shape = shape

    def __len__(self) -> int:
        return len(self._files)

    def __getitem__(self, position: int) -> tuple[NDArray[np.uint8], int]:
        file, label = self._files[position]
        return self._shape.array(open_image(file, str(file)), str(file)), label


def open_image(file: Any, name: str) -> "Image.Image":
    """The image of a path or binary file, decoded; `name` says which it is.

    Raises:
        DataError: It cannot be decoded.
    """
    from PIL import Image

    try:
        with Image.open(file) as image:  # closes the file; the pixels stay
            image.load()
            return image
    except PermissionError as error:
        raise StorageError(f"cannot read image {name}: {error.strerror}. Mend that.") from None
    # Pillow's decoders raise SyntaxError and ValueError too on damaged files.
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise DataError(
            f"cannot decode image {name}: {first_line(error)}. Remove or mend it."
        ) from None


def _take(files: list[tuple[Path, int]], index: Tensor) -> list[tuple[Path, int]]:
    return [files[i] for i in index.tolist()]


def _folders(root: Path) -> list[Path]:
    return sorted(place for place in root.iterdir() if place.is_dir()) if root.is_dir() else []


def _list(root: Path, classes: Sequence[str]) -> list[tuple[Path, int]]:
    """The image files below `root` and their class ids."""
    files: list[tuple[Path, int]] = []
    for place in _folders(root):
        if place.name not in classes:
            raise DataError(
                f"classes of {root} must be those of the training images ({', '.join(classes)}), "
                f"got {place.name}. Rename or remove that folder."
            )
        with reading_errors(place):
            found = sorted(file for file in place.iterdir() if file.suffix.lower() in SUFFIXES)
        files += [(file, classes.index(place.name)) for file in found]
    if not files:
        raise DataError(
            f"{root} has no images in its class folders, expected files ending with "
            f"{', '.join(SUFFIXES)}. Put some there."
        )
    return files
