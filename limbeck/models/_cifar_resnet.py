"""The residual network for small images that distillation papers compare on CIFAR.

He et al. 2016 (https://arxiv.org/abs/1512.03385), section 4.2: three stages of blocks, of which the
second and third begin by halving the map. Where a block changes the shape its shortcut is a 1x1
convolution with batch normalisation, as in the code of CRD (https://arxiv.org/abs/1910.10699), and
not the paper's padding with zeros.
"""

from collections.abc import Sequence
from itertools import pairwise

import torch.nn.functional as F
from torch import Tensor, nn


class CifarResNet(nn.Module):
    """A 3x3 convolution, three stages of (depth - 2) / 6 residual blocks each, and the mean.

    Its modules `stages.0` to `stages.2` give the stages' maps, `pool` their mean, for taps.

    Args:
        inputs: Channels of an image.
        depth: Layers with weights, without those of shortcuts: 6 n + 2.
        channels: Of the first convolution and of the three stages: 16, 16, 32, 64 of ResNet-20 to
            110; 32, 64, 128, 256 of ResNet-8x4 and 32x4.
        outputs: Numbers in one answer.

    Raises:
        ValueError: The depth is not 6 n + 2, or there are not four numbers of channels.
    """

    def __init__(self, inputs: int, depth: int, channels: Sequence[int], outputs: int) -> None:
        super().__init__()
        blocks, rest = divmod(depth - 2, 6)
        if blocks < 1 or rest:
            raise ValueError(f"depth must be 8, 14, 20, ... (6 n + 2), got {depth}")
        if len(channels) != 4:
            raise ValueError(
                f"channels must be four, the first convolution's first, got {channels}"
            )
        self.first = nn.Conv2d(inputs, channels[0], 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(channels[0])
        self.relu = nn.ReLU()
        self.stages = nn.Sequential()
        for before, after in pairwise(channels):
            stride = 1 if len(self.stages) == 0 else 2
            self.stages.append(
                nn.Sequential(
                    _Block(before, after, stride),
                    *(_Block(after, after, 1) for _ in range(blocks - 1)),
                )
            )
        self.pool = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.head = nn.Linear(channels[-1], outputs)
        start_convolutions(self)

    def forward(self, x: Tensor) -> Tensor:
        """`(batch, height, width)` or `(batch, channels, height, width)` to `(batch, outputs)`."""
        if x.dim() == 3:
            x = x[:, None]
        x = self.relu(self.norm(self.first(x)))
        answer: Tensor = self.head(self.pool(self.stages(x)))
        return answer


class _Block(nn.Module):
    """Two 3x3 convolutions, each with batch normalisation, beside a shortcut."""

    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(before, after, 3, stride=stride, padding=1, bias=False)
        self.first_norm = nn.BatchNorm2d(after)
        self.second = nn.Conv2d(after, after, 3, padding=1, bias=False)
        self.second_norm = nn.BatchNorm2d(after)
        self.shortcut = nn.Sequential()
        if before != after or stride != 1:
            self.shortcut.append(nn.Conv2d(before, after, 1, stride=stride, bias=False))
            self.shortcut.append(nn.BatchNorm2d(after))

    def forward(self, x: Tensor) -> Tensor:
        """`(batch, before, height, width)` to `(batch, after, height / stride, width / stride)`."""
        inner = F.relu(self.first_norm(self.first(x)))
        return F.relu(self.second_norm(self.second(inner)) + self.shortcut(x))


def start_convolutions(model: nn.Module) -> None:
    """Draw the weights of all convolutions as He et al. 2015 do, by the numbers that they give."""
    for part in model.modules():
        if isinstance(part, nn.Conv2d):
            nn.init.kaiming_normal_(part.weight, mode="fan_out", nonlinearity="relu")
