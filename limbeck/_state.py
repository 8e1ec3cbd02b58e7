"""A model's weights and other state by name: the same names each time that the model is built.

A torch module has them in its `state_dict`. A Keras model on the torch backend is a torch module
too, but its names there count up with every layer that the process makes: here they are places in
`variables`, as "3.kernel".
"""

import sys
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn


def is_keras(model: nn.Module) -> bool:
    """Whether it is a Keras model or layer."""
    return "keras" in sys.modules and isinstance(model, sys.modules["keras"].layers.Layer)


def state_of(model: nn.Module) -> dict[str, Tensor]:
    """Everything that what the model computes depends on; the tensors are the model's own."""
    return _keras_state(model) if is_keras(model) else dict(model.state_dict())


def set_state(model: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Copy a `state_of` a model of the same architecture into this one.

    Raises:
        RuntimeError: Names or shapes differ; the last line says which, as torch's own does.
    """
    if not is_keras(model):
        model.load_state_dict(state)
        return
    own = _keras_state(model)
    misfits = [
        f"{name}: {_shape(state, name)} in the file, {_shape(own, name)} in the model."
        for name in sorted(own.keys() | state.keys())
        if _shape(state, name) != _shape(own, name)
    ]
    if misfits:
        raise RuntimeError(misfits[0])
    with torch.no_grad():
        for name, tensor in own.items():
            tensor.copy_(state[name])


def _keras_state(model: Any) -> dict[str, Tensor]:
    return {
        f"{place}.{variable.name}": variable.value.detach()
        for place, variable in enumerate(model.variables)
    }


def _shape(state: Mapping[str, Tensor], name: str) -> tuple[int, ...] | str:
    return tuple(state[name].shape) if name in state else "nothing"
