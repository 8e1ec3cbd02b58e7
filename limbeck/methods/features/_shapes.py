"""Features in the form that a loss takes: vectors, maps of one size, tokens that count."""

from collections.abc import Callable, Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from limbeck._errors import OptionError, ShapeError
from limbeck.methods.features._method import Pair
from limbeck.signals import Batch


def vectors(features: Tensor, batch: Batch) -> Tensor:
    """`(batch, features)`: the mean over positions of maps, and over the tokens that count."""
    if features.dim() == 4:
        return features.mean(dim=(2, 3))
    if features.dim() == 3:
        return mean_of_tokens(features, batch)
    return features


def whole(features: Tensor, batch: Batch) -> Tensor:
    """Maps and vectors as they are, and the mean over the tokens that count."""
    return mean_of_tokens(features, batch) if features.dim() == 3 else features


def mean_of_tokens(features: Tensor, batch: Batch) -> Tensor:
    """The mean of `(batch, tokens, ...)` over the tokens that count; 0 where none does."""
    mask = token_mask(features, batch)
    if mask is None:
        return features.mean(dim=1)
    mask = mask.reshape(*mask.shape, *[1] * (features.dim() - 2))
    # Not a product: what does not count may be infinite, and 0 x inf is NaN.
    total = features.masked_fill(~mask, 0.0).sum(dim=1)
    return total / mask.sum(dim=1).clamp_min(1)


def token_mask(features: Tensor, batch: Batch) -> Tensor | None:
    """Bool `(batch, tokens)`: those that are no padding; None where all count."""
    inputs = batch.inputs
    mask = inputs.get("attention_mask") if isinstance(inputs, dict) else None
    mask = batch.mask if mask is None else mask
    if mask is None or mask.shape != features.shape[:2]:
        return None
    return mask.bool()


def of_one_size(student: Tensor, teacher: Tensor) -> tuple[Tensor, Tensor]:
    """Maps, both pooled to the smaller height and width of the two."""
    size = (
        min(student.shape[2], teacher.shape[2]),
        min(student.shape[3], teacher.shape[3]),
    )
    return _pooled(student, size), _pooled(teacher, size)


def _pooled(maps: Tensor, size: tuple[int, int]) -> Tensor:
    return maps if maps.shape[2:] == size else F.adaptive_avg_pool2d(maps, size)


def by_position(
    loss: Callable[[Tensor, Tensor], Tensor], student: Tensor, teacher: Tensor, batch: Batch
) -> Tensor:
    """A loss of maps or vectors; of tokens its mean over those that count, each as a vector.

    Args:
        loss: From `(batch, channels, ...)` of both sides to `(batch,)`, a mean over positions.
        student: As the teacher's, but for height and width of maps.
        teacher: Maps, tokens or vectors.
        batch: Whose they are.
    """
    if student.dim() == 4:
        return loss(*of_one_size(student, teacher))
    if student.dim() == 2:
        return loss(student, teacher)
    if student.shape[:2] != teacher.shape[:2]:
        raise ShapeError(
            "both sides of a tap must give as many tokens: student "
            f"{tuple(student.shape)}, teacher {tuple(teacher.shape)}."
        )
    values = loss(student.flatten(0, 1), teacher.flatten(0, 1))
    return mean_of_tokens(values.reshape(student.shape[:2]), batch)


def check_heads(pairs: Sequence[Pair], **option: int) -> None:
    """Refuse widths that a number of heads does not divide.

    Args:
        pairs: Of tokens that are to be cut.
        option: The one option that says the number, by its name.
    """
    ((name, heads),) = option.items()
    for width in (width for pair in pairs for width in pair.channels):
        if width % heads:
            raise OptionError(
                f"distil.options.{name} = {heads} must divide the width of every tap that is cut "
                f"into heads, and one has {width}. Take a divisor of both."
            )


def in_heads(features: Tensor, heads: int) -> Tensor:
    """`(batch, tokens, features)` cut into `(batch, heads, tokens, width)`."""
    return features.reshape(*features.shape[:2], heads, -1).transpose(1, 2)


class Projection(nn.Module):
    """From the student's channels to as many as asked, each position by itself.

    A 1 x 1 convolution of maps, a linear layer of tokens and vectors.

    Args:
        kind: The axes of one sample, 3 for maps.
        inputs: Channels, or features, of what comes.
        outputs: Of what goes.
        bias: Whether each channel has one.
    """

    def __init__(self, kind: int, inputs: int, outputs: int, *, bias: bool = True) -> None:
        super().__init__()
        self.layer: nn.Module = (
            nn.Conv2d(inputs, outputs, 1, bias=bias)
            if kind == 3
            else nn.Linear(inputs, outputs, bias=bias)
        )

    def forward(self, features: Tensor) -> Tensor:
        """`(batch, inputs, height, width)` or `(..., inputs)`, with `outputs` in their place."""
        found: Tensor = self.layer(features)
        return found


def to_teacher(pair: Pair, *, bias: bool = True) -> Projection:
    """From the student's channels to the teacher's."""
    inputs, outputs = pair.channels
    return Projection(len(pair.student), inputs, outputs, bias=bias)


def to_teacher_if_needed(pair: Pair, *, bias: bool = True) -> nn.Module:
    """The same, and nothing where the student has as many channels as the teacher."""
    inputs, outputs = pair.channels
    return nn.Identity() if inputs == outputs else to_teacher(pair, bias=bias)
