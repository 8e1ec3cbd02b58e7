"""The colour images of cifar10-jpeg, as a recipe's source: `_cifar:cifar10`."""

import io
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

Split = tuple[Tensor, Tensor]
"""Images `(samples, 3, 32, 32)` of 8-bit integers, and their class ids `(samples,)`."""


@cache
def cifar10(path: Path, each: int = 6000) -> tuple[Split, Split]:
    """Training and test images; decoded once for all runs of a process.

    Args:
        path: The folder of `cifar10_jpeg.npz`.
        each: Of each class at most so many are read, of each split the first.
    """
    with np.load(path / "cifar10_jpeg.npz") as file:
        labels, is_test = file["labels"].astype(np.int64), file["is_test"].astype(bool)
        header, body, offsets = file["header"].tobytes(), file["body"].tobytes(), file["offsets"]

    def decoded(position: int) -> np.ndarray:
        stream = header + body[offsets[position] : offsets[position + 1]]
        return np.asarray(Image.open(io.BytesIO(stream)).convert("RGB"))

    def split(of_it: np.ndarray) -> Split:
        chosen = [np.flatnonzero(of_it & (labels == one))[:each] for one in np.unique(labels)]
        positions = np.concatenate(chosen)
        with ThreadPoolExecutor() as threads:  # Pillow decodes without Python's lock
            images = np.stack(list(threads.map(decoded, positions)))
        return torch.from_numpy(images).permute(0, 3, 1, 2).contiguous(), torch.from_numpy(
            labels[positions]
        )

    return split(~is_test), split(is_test)
