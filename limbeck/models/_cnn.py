"""A small convolutional network."""

from collections.abc import Sequence

from torch import Tensor, nn


class CNN(nn.Module):
    """3x3 convolutions with batch normalisation and ReLU, pooled by 2 after each, then averaged.

    Args:
        inputs: Channels of an image.
        channels: Channels of each convolution.
        outputs: Numbers in one answer.
        dropout: Fraction of the averaged features that training drops, in [0, 1).
    """

    def __init__(
        self, inputs: int, channels: Sequence[int], outputs: int, *, dropout: float = 0.0
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for before, after in zip([inputs, *channels], channels, strict=False):
            layers += [
                nn.Conv2d(before, after, 3, padding=1, bias=False),
                nn.BatchNorm2d(after),
                nn.ReLU(),
                nn.MaxPool2d(2, ceil_mode=True),
            ]
        self.features = nn.Sequential(*layers)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear([inputs, *channels][-1], outputs)

    def forward(self, x: Tensor) -> Tensor:
        """`(batch, height, width)` or `(batch, channels, height, width)` to `(batch, outputs)`."""
        if x.dim() == 3:
            x = x[:, None]
        answer: Tensor = self.head(self.dropout(self.features(x).mean(dim=(2, 3))))
        return answer
