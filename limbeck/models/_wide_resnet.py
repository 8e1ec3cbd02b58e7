"""The wide residual network, Zagoruyko and Komodakis 2016 (https://arxiv.org/abs/1605.07146).

Each convolution has its batch normalisation and ReLU before it; where a block changes the number
of channels its shortcut is a 1x1 convolution of what these give, and else its input.
"""

from itertools import pairwise

import torch.nn.functional as F
from torch import Tensor, nn

from limbeck.models._cifar_resnet import start_convolutions


class WideResNet(nn.Module):
    """A 3x3 convolution, three stages of (depth - 4) / 6 residual blocks each, and the mean.

    Its modules `stages.0` to `stages.2` give the stages' maps, `pool` the mean of the last after
    normalisation and ReLU, for taps.

    Args:
        inputs: Channels of an image.
        depth: Layers with weights, with the three shortcuts: 6 n + 4.
        width: How much wider than 16, 32 and 64 channels the stages are, 1 or more.
        outputs: Numbers in one answer.
        dropout: Fraction of the numbers between a block's convolutions that training drops, in
            [0, 1).

    Raises:
        ValueError: The depth is not 6 n + 4, or the width is below 1.
    """

    def __init__(
        self, inputs: int, depth: int, width: int, outputs: int, *, dropout: float = 0.0
    ) -> None:
        super().__init__()
        blocks, rest = divmod(depth - 4, 6)
        if blocks < 1 or rest:
            raise ValueError(f"depth must be 10, 16, 22, ... (6 n + 4), got {depth}")
        if width < 1:
            raise ValueError(f"width must be 1 or more, got {width}")
        channels = [16, 16 * width, 32 * width, 64 * width]
        self.first = nn.Conv2d(inputs, channels[0], 3, padding=1, bias=False)
        self.stages = nn.Sequential()
        for before, after in pairwise(channels):
            stride = 1 if len(self.stages) == 0 else 2
            self.stages.append(
                nn.Sequential(
                    _Block(before, after, stride, dropout),
                    *(_Block(after, after, 1, dropout) for _ in range(blocks - 1)),
                )
            )
        self.norm = nn.BatchNorm2d(channels[-1])
        self.relu = nn.ReLU()
        self.pool = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.head = nn.Linear(channels[-1], outputs)
        start_convolutions(self)

    def forward(self, x: Tensor) -> Tensor:
        """`(batch, height, width)` or `(batch, channels, height, width)` to `(batch, outputs)`."""
        if x.dim() == 3:
            x = x[:, None]
        x = self.relu(self.norm(self.stages(self.first(x))))
        answer: Tensor = self.head(self.pool(x))
        return answer


class _Block(nn.Module):
    """Normalised, ReLU and 3x3 convolution, twice, beside a shortcut."""

    def __init__(self, before: int, after: int, stride: int, dropout: float) -> None:
        super().__init__()
        self.first_norm = nn.BatchNorm2d(before)
        self.first = nn.Conv2d(before, after, 3, stride=stride, padding=1, bias=False)
        self.second_norm = nn.BatchNorm2d(after)
        self.dropout = nn.Dropout(dropout)
        self.second = nn.Conv2d(after, after, 3, padding=1, bias=False)
        self.shortcut = (
            nn.Conv2d(before, after, 1, stride=stride, bias=False) if before != after else None
        )

    def forward(self, x: Tensor) -> Tensor:
        """`(batch, before, height, width)` to `(batch, after, height / stride, width / stride)`."""
        ready = F.relu(self.first_norm(x))
        inner = F.relu(self.second_norm(self.first(ready)))
        beside: Tensor = x if self.shortcut is None else self.shortcut(ready)
        given: Tensor = self.second(self.dropout(inner)) + beside
        return given
