"""What answers from the features of a module: the layer of a model after its pooling."""

from collections.abc import Callable, Sequence
from contextlib import ExitStack

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from limbeck._errors import ModelError
from limbeck._outputs import put_through
from limbeck.signals import Inputs
from limbeck.taps import first_tensor, modules_of, tapped

Classifier = nn.Linear | nn.Identity
"""A linear layer, or nothing where the features are the answer themselves."""

ROUNDING = 2e-6
"""How far two means of the same numbers in float32 may be apart, by the largest of them."""


def classifiers_of(
    model: nn.Module, paths: Sequence[str], inputs: Inputs, *, who: str
) -> dict[str, Classifier]:
    """What answers from the features of each module, as they are or as their mean over positions.

    It is the one linear layer of the model that reads them. Where their mean is what the model
    answers, its classifier is a convolution before the pooling, and the features are class
    activation maps already: `torch.nn.Identity`.

    Args:
        model: It is left as it was.
        paths: Modules that give maps or vectors.
        inputs: Of some samples, on any device.
        who: The model, for the message.

    Returns:
        By path; those are missing which nothing answers from.

    Raises:
        ModelError: Several layers answer from one module's features.
    """
    linear = {
        name: layer
        for name, layer in modules_of(model, who=who).items()
        if isinstance(layer, nn.Linear)
    }
    read: dict[str, Tensor] = {}

    def reading(name: str) -> Callable[..., None]:
        return lambda layer, given: read.update({name: given[0]} if given else {})

    with (
        torch.no_grad(),
        tapped(model, paths, who=who) as seen,
        ExitStack() as hooks,
    ):
        for name, layer in linear.items():
            hooks.callback(layer.register_forward_pre_hook(reading(name)).remove)
        answer = first_tensor(put_through(model, inputs, who=who))
    found: dict[str, Classifier] = {}
    for path, features in seen.items():
        given = features.mean(dim=(2, 3)) if features.dim() == 4 else features
        readers = [name for name, rows in read.items() if _alike(rows, given)]
        if len(readers) > 1:
            raise ModelError(
                f"{' and '.join(readers)} of {who} both answer from what its module {path!r} "
                "gives, and one is wanted. Take a method that needs no classifier."
            )
        if readers:
            found[path] = linear[readers[0]]
        elif answer is not None and _alike(answer, given):
            found[path] = nn.Identity()
    return found


def _alike(one: Tensor, other: Tensor) -> bool:
    if one.shape != other.shape or not one.is_floating_point():
        return False
    most = max(ROUNDING, 2 * torch.finfo(one.dtype).eps)
    return bool((one - other).abs().max() <= most * other.abs().max())


def answer_from(features: Tensor, classifier: nn.Module) -> Tensor:
    """What a classifier says of vectors; of maps, of each position: class activation maps.

    Args:
        features: `(batch, features)`, or `(batch, features, height, width)`.
        classifier: A `Classifier`, or a `Frozen` one.

    Returns:
        `features` as they are, or with classes in their place.
    """
    if isinstance(classifier, nn.Identity):
        return features
    assert isinstance(classifier, (nn.Linear, Frozen))
    bias = classifier.bias
    rows = F.linear(
        features.movedim(1, -1),
        classifier.weight.to(features.dtype),
        None if bias is None else bias.to(features.dtype),
    )
    return rows.movedim(-1, 1)


class Frozen(nn.Module):
    """A copy of a linear layer that does not learn.

    Args:
        layer: Of the teacher.
    """

    bias: Tensor | None

    def __init__(self, layer: nn.Linear) -> None:
        super().__init__()
        self.weight = nn.Buffer(layer.weight.detach().clone())
        bias: Tensor | None = layer.bias  # torch's own annotation leaves the None out
        self.register_buffer("bias", None if bias is None else bias.detach().clone())


def frozen(classifier: Classifier) -> nn.Module:
    """A teacher's classifier, to be kept beside a student."""
    return Frozen(classifier) if isinstance(classifier, nn.Linear) else classifier
