"""Models by name: ours, any class of transformers, or a function of the user's own."""

import math
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import numpy as np
import torch
from torch import nn

from limbeck._errors import ExtraError, ModelError, did_you_mean
from limbeck._lookup import call_function, check_options, import_function
from limbeck.data import DataSet
from limbeck.models._cifar_resnet import CifarResNet
from limbeck.models._cnn import CNN
from limbeck.models._mlp import MLP
from limbeck.models._soft_tree import SoftTree
from limbeck.models._wide_resnet import WideResNet
from limbeck.signals import Head


@dataclass(frozen=True, kw_only=True)
class Interface:
    """What a model is given, and what it must answer."""

    shape: tuple[int, ...]
    """The shape of one sample; of one sample's `input_ids` for texts."""
    vocabulary: int
    """How many different ids a text has; 0 for other inputs."""
    heads: tuple[Head, ...]
    """What must be answered."""
    padded: bool = False
    """Whether id 0 of a text stands for nothing, as an attention mask says."""

    @classmethod
    def of(cls, data: DataSet) -> "Interface":
        """What a model for `data` is given and must answer."""
        inputs = data.train.fetch(torch.arange(1)).inputs
        padded = isinstance(inputs, dict) and "attention_mask" in inputs
        if isinstance(inputs, dict):
            inputs = inputs.get("input_ids", next(iter(inputs.values())))
        return cls(
            shape=tuple(inputs.shape[1:]),
            vocabulary=len(data.vocabulary),
            heads=data.heads,
            padded=padded,
        )


def _mlp(
    interface: Interface,
    *,
    hidden: Sequence[int] = (128,),
    dropout: float = 0.0,
    input_dropout: float = 0.0,
) -> nn.Module:
    """A multilayer perceptron; see `MLP`."""
    size = _only_head(interface, "mlp").size
    inputs = math.prod(interface.shape)
    return MLP(inputs, hidden, size, dropout=dropout, input_dropout=input_dropout)


def _cnn(
    interface: Interface, *, channels: Sequence[int] = (32, 64), dropout: float = 0.0
) -> nn.Module:
    """A small convolutional network; see `CNN`."""
    size = _only_head(interface, "cnn").size
    return CNN(_channels_of_images(interface, "cnn"), channels, size, dropout=dropout)


def _cifar_resnet(
    interface: Interface, *, depth: int = 20, channels: Sequence[int] = (16, 16, 32, 64)
) -> nn.Module:
    """The residual network of distillation papers on CIFAR; see `CifarResNet`."""
    size = _only_head(interface, "cifar_resnet").size
    return CifarResNet(_channels_of_images(interface, "cifar_resnet"), depth, channels, size)


def _wide_resnet(
    interface: Interface, *, depth: int = 16, width: int = 2, dropout: float = 0.0
) -> nn.Module:
    """The wide residual network of the same; see `WideResNet`."""
    size = _only_head(interface, "wide_resnet").size
    inputs = _channels_of_images(interface, "wide_resnet")
    return WideResNet(inputs, depth, width, size, dropout=dropout)


def _soft_tree(
    interface: Interface,
    *,
    depth: int = 8,
    beta: float = 1.0,
    penalty: float = 0.1,
    answer: str = "leaf",
) -> nn.Module:
    """A soft decision tree, which the report draws; see `SoftTree`."""
    head = _only_head(interface, "soft_tree")
    if head.space != "categorical":
        raise ModelError(
            f"soft_tree answers classes, and head {head.name} is {head.space}. Take mlp instead."
        )
    inputs = math.prod(interface.shape)
    return SoftTree(inputs, head.size, depth=depth, beta=beta, penalty=penalty, answer=answer)


MODELS: dict[str, Callable[..., nn.Module]] = {
    "mlp": _mlp,
    "cnn": _cnn,
    "cifar_resnet": _cifar_resnet,
    "wide_resnet": _wide_resnet,
    "soft_tree": _soft_tree,
}
"""Architectures by name. Each is called with the interface and the recipe's options."""


def build(
    name: str, options: Mapping[str, Any], interface: Interface, *, seed: int = 0
) -> nn.Module:
    """The model that a recipe names, freshly initialised from `seed`.

    Args:
        name: A name in `MODELS`; "transformers:CLASS", whose options are those of its config; or
            "package.module:function", called with the options alone.
        options: Keyword arguments.
        interface: What it is given and must answer.
        seed: Of its initial weights: the same seed gives the same weights.

    Raises:
        ModelError: There is no such model, no such option, or an option's value does not fit.
    """
    with _seeded(seed):
        if name in MODELS:
            return _ours(name, options, interface)
        if name.startswith("transformers:"):
            return _transformers(name.partition(":")[2], options, interface)
        if ":" in name:
            return _own(name, options)
    raise ModelError(
        f"no model is called {name!r}.{did_you_mean(name, MODELS)} There are "
        f'{", ".join(sorted(MODELS))}, "transformers:CLASS" and "package.module:function".'
    )


class Named(Protocol):
    """A section of a recipe that names a model."""

    model: str
    options: dict[str, Any]


def build_section(path: str, section: Named, interface: Interface, *, seed: int = 0) -> nn.Module:
    """`build` what a section of a recipe names; its path, "students.small", is in what is raised.

    Raises:
        ModelError: As `build`.
    """
    try:
        return build(section.model, section.options, interface, seed=seed)
    except ModelError as error:
        raise ModelError(f"{path}: {error}") from error


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Seed torch, and what others draw weights from: Keras takes its seeds from `random`."""
    python, array = random.getstate(), np.random.get_state()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        random.seed(seed)
        np.random.seed(seed % 2**32)
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(array)


def _ours(name: str, options: Mapping[str, Any], interface: Interface) -> nn.Module:
    function = partial(MODELS[name], interface)
    _check_options(name, function, options)
    try:
        return function(**options)
    except (TypeError, ValueError, RuntimeError) as error:
        if isinstance(error, ModelError):
            raise
        raise _misfit(name, error) from None


def _only_head(interface: Interface, name: str) -> Head:
    if len(interface.heads) != 1:
        raise ModelError(
            f"{name} answers one head, the data has {len(interface.heads)}. Give a model of your "
            'own: model = "package.module:function".'
        )
    return interface.heads[0]


def _channels_of_images(interface: Interface, name: str) -> int:
    if len(interface.shape) not in (2, 3):
        raise ModelError(
            f"{name} takes images, (height, width) or (channels, height, width), got samples of "
            f"shape {interface.shape}. Take mlp instead."
        )
    return interface.shape[0] if len(interface.shape) == 3 else 1


def _misfit(name: str, error: Exception) -> ModelError:
    return ModelError(
        f"the options of model {name} do not fit ({type(error).__name__}: {error}). Look at their "
        "types and ranges."
    )


def _own(name: str, options: Mapping[str, Any]) -> nn.Module:
    function = import_function("model", name, ModelError)
    _check_options(name, function, options)
    built = call_function("model", name, function, options, ModelError)
    if not isinstance(built, nn.Module):
        raise ModelError(f"model {name!r} must return a torch module, got {type(built).__name__}.")
    return built


def _check_options(
    name: str, function: Callable[..., nn.Module], options: Mapping[str, Any]
) -> None:
    check_options(f"model {name}", function, options, section="options", error=ModelError)


def _transformers(name: str, options: Mapping[str, Any], interface: Interface) -> nn.Module:
    try:
        import transformers
    except ImportError:
        raise ExtraError(
            f"model transformers:{name} needs transformers. pip install 'limbeck[text]'."
        ) from None
    kind = getattr(transformers, name, None)
    if kind is None or getattr(kind, "config_class", None) is None:
        models = [other for other in dir(transformers) if "For" in other or "Model" in other]
        meant = did_you_mean(name, models)
        raise ModelError(f"transformers has no model class {name!r}.{meant}")
    known = list(kind.config_class().to_dict())
    for option in options:
        if option not in known:
            meant = did_you_mean(option, known)
            raise ModelError(f"{kind.config_class.__name__} has no option {option!r}.{meant}")
    if "vocab_size" in known and interface.vocabulary == 0:
        raise ModelError(
            f"transformers:{name} reads texts, the data has none. Take another model: "
            f"{', '.join(sorted(MODELS))}, ..."
        )
    given = {
        "vocab_size": interface.vocabulary,
        "num_labels": _only_head(interface, name).size,
        "pad_token_id": 0 if interface.padded else None,
        "bos_token_id": None,
        "eos_token_id": None,
        "use_cache": False,
    }
    try:
        model: nn.Module = kind(kind.config_class(**given | dict(options)))
    except Exception as error:
        raise _misfit(f"transformers:{name}", error) from error
    return model
