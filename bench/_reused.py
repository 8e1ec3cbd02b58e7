"""A student that ends in its teacher's classifier, as `simkd` asks for."""

import copy
from collections.abc import Sequence
from pathlib import Path

from torch import Tensor, nn

from limbeck.models import CNN, load_weights


class Reused(nn.Module):
    """A small network, a projection to what the teacher's classifier reads, and that classifier.

    Args:
        student: Whose features are projected.
        teacher: Whose last layer is taken, and does not learn.
        inside: Channels inside of the projection.
    """

    def __init__(self, student: CNN, teacher: CNN, *, inside: int) -> None:
        super().__init__()
        narrow, wide = student.head.in_features, teacher.head.in_features
        self.features = student.features
        self.projection = nn.Sequential(
            *_block(narrow, inside, 1), *_block(inside, inside, 3), *_block(inside, wide, 1)
        )
        self.head = copy.deepcopy(teacher.head).requires_grad_(False)

    def forward(self, images: Tensor) -> Tensor:
        """`(batch, height, width)` to `(batch, classes)`."""
        answer: Tensor = self.head(self.projection(self.features(images[:, None])).mean((2, 3)))
        return answer


def _block(inputs: int, outputs: int, size: int) -> list[nn.Module]:
    convolution = nn.Conv2d(inputs, outputs, size, padding=size // 2, bias=False)
    return [convolution, nn.BatchNorm2d(outputs), nn.ReLU()]


def reused(
    *, channels: Sequence[int], of: Sequence[int], teacher: str, inside: int, classes: int = 10
) -> Reused:
    """A student of these channels, and the classifier of the teacher whose weights are in a file.

    Args:
        channels: The student's.
        of: The teacher's.
        teacher: The file.
        inside: As of `Reused`.
        classes: How many both tell apart.
    """
    asked = CNN(1, of, classes)
    load_weights(asked, Path(teacher))
    return Reused(CNN(1, channels, classes), asked, inside=inside)
