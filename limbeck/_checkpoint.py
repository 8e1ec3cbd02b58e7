"""Checkpoints without pickle: any nest of dicts and lists that holds tensors, numbers and text."""

import json
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from limbeck._files import write_atomically

_TENSOR = "tensor:"
_NUMBER_KEY = "int:"


def save_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Write `state` as one safetensors file, whole or not at all."""
    tensors: dict[str, Tensor] = {}
    skeleton = json.dumps(_split(state, tensors))

    def write(beside: Path) -> None:
        safetensors.torch.save_file(tensors, str(beside), metadata={"state": skeleton})

    write_atomically(path, write)


def load_checkpoint(path: Path) -> dict[str, Any] | None:
    """What `save_checkpoint` wrote, or None where there is none, or none that can be read.

    A damaged checkpoint costs the work since the one before it, never the run.
    """
    if not path.is_file():
        return None
    try:
        with safetensors.safe_open(str(path), framework="pt") as file:
            metadata = file.metadata()
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        state: dict[str, Any] = _join(json.loads(metadata["state"]), tensors)
    except (safetensors.SafetensorError, KeyError, TypeError, json.JSONDecodeError):
        return None
    return state


def _split(value: Any, tensors: dict[str, Tensor]) -> Any:
    """`value` for JSON: each tensor goes to `tensors`, and its place there stands for it."""
    if isinstance(value, Tensor):
        name = str(len(tensors))
        # A clone: tied weights share memory, which a safetensors file cannot hold.
        tensors[name] = value.detach().cpu().clone(memory_format=torch.contiguous_format)
        return _TENSOR + name
    if isinstance(value, dict):
        return {
            f"{_NUMBER_KEY}{key}" if isinstance(key, int) else key: _split(part, tensors)
            for key, part in value.items()
        }
    if isinstance(value, (list, tuple)):
        return [_split(part, tensors) for part in value]
    return value


def _join(value: Any, tensors: dict[str, Tensor]) -> Any:
    if isinstance(value, str) and value.startswith(_TENSOR):
        return tensors[value.removeprefix(_TENSOR)]
    if isinstance(value, dict):
        return {
            int(key.removeprefix(_NUMBER_KEY)) if key.startswith(_NUMBER_KEY) else key: _join(
                part, tensors
            )
            for key, part in value.items()
        }
    if isinstance(value, list):
        return [_join(part, tensors) for part in value]
    return value
