"""A multilayer perceptron."""

from collections.abc import Sequence

from torch import Tensor, nn


class MLP(nn.Module):
    """Linear layers with ReLU between them; inputs of any shape are flattened.

    Args:
        inputs: Numbers in one sample.
        hidden: Width of each hidden layer; empty for a linear model.
        outputs: Numbers in one answer.
        dropout: Fraction of each hidden layer's activations that training drops, in [0, 1).
        input_dropout: The same of the input.
    """

    def __init__(
        self,
        inputs: int,
        hidden: Sequence[int],
        outputs: int,
        *,
        dropout: float = 0.0,
        input_dropout: float = 0.0,
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Flatten()]
        if input_dropout:
            layers.append(nn.Dropout(input_dropout))
        for before, after in zip([inputs, *hidden], hidden, strict=False):
            layers += [nn.Linear(before, after), nn.ReLU()]
            if dropout:
                layers.append(nn.Dropout(dropout))
        layers.append(nn.Linear([inputs, *hidden][-1], outputs))
        self.layers = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        """`(batch, ...)` to `(batch, outputs)`."""
        answer: Tensor = self.layers(x)
        return answer
