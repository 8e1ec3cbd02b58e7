"""Weights on disk: safetensors only, and a card that says how to build the model again."""

from collections.abc import Collection, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
from torch import nn

from limbeck._errors import ModelError
from limbeck._files import PICKLE_SUFFIXES, parse_json, reading_errors, write_atomically, write_json
from limbeck._state import is_keras, set_state, state_of
from limbeck.models._build import Interface, build
from limbeck.signals import Head

_PARALLEL = "module."
"""What weights' names begin with where torch trained copies of a model in parallel."""


def parameter_count(model: nn.Module) -> int:
    """How many numbers the model has learned; a tied tensor counts once."""
    if is_keras(model):
        counted: int = model.count_params()  # type: ignore[operator]
        return counted
    return sum(parameter.numel() for parameter in model.parameters())


def save_weights(model: nn.Module, path: str | Path) -> None:
    """Write a plain module's weights as safetensors, whole or not at all."""

    def write(beside: Path) -> None:
        if is_keras(model):
            safetensors.torch.save_file(state_of(model), str(beside))
        else:
            safetensors.torch.save_model(model, str(beside))  # which knows tied weights

    write_atomically(Path(path), write)


def load_weights(model: nn.Module, path: str | Path) -> None:
    """Read weights into `model`.

    Weights of a model that torch's `DistributedDataParallel` or `DataParallel` held, all of whose
    names begin with "module.", are read as those of the model itself.

    Raises:
        ModelError: The file is missing, is a pickle, is damaged, or is of another model.
        StorageError: It cannot be read.
    """
    path = Path(path)
    if path.suffix in PICKLE_SUFFIXES:
        raise ModelError(
            f"{path} may be a pickle, which can run code when it is loaded: refused. Convert it "
            "once with safetensors.torch.save_file(state_dict, 'weights.safetensors')."
        )
    try:
        with reading_errors(path), path.open("rb") as file:
            begin = file.read(9)
    except (FileNotFoundError, NotADirectoryError):
        raise ModelError(
            f"there is no weights file {path}. Give the path of a .safetensors file."
        ) from None
    missing: Collection[str] = ()
    unexpected: Collection[str] = ()
    try:
        if is_keras(model):
            set_state(model, safetensors.torch.load_file(str(path)))
        else:
            missing, unexpected = safetensors.torch.load_model(
                _named_as_in(path, model), str(path), strict=False
            )
    except safetensors.SafetensorError as error:
        if begin.startswith((b"\x80", b"PK\x03\x04")) and not begin.endswith(b"{"):
            raise ModelError(
                f"{path} begins as a pickle does, which can run code when it is loaded: refused. "
                "Convert it once with safetensors.torch.save_file(state_dict, "
                "'weights.safetensors'); another name does not convert it."
            ) from None
        raise ModelError(
            f"{path} is no whole safetensors file ({error}). Copy or convert it again."
        ) from None
    except RuntimeError as error:
        raise ModelError(
            f"{path} does not fit the model: {str(error).splitlines()[-1].strip()} "
            "Give the model the options it was trained with."
        ) from None
    if missing or unexpected:
        listed = [f"missing {name}" for name in missing]
        listed += [f"unexpected {name}" for name in unexpected]
        raise ModelError(
            f"{path} does not fit the model: {', '.join(sorted(listed)[:4])}. Give the model the "
            "options it was trained with."
        )


def _named_as_in(path: Path, model: nn.Module) -> nn.Module:
    """The model, or a module around it whose names begin as those of the file do."""
    with safetensors.safe_open(str(path), framework="pt") as file:
        saved = list(file.keys())
    if not saved or any(name.startswith(_PARALLEL) for name in model.state_dict()):
        return model
    if not all(name.startswith(_PARALLEL) for name in saved):
        return model
    return nn.ModuleDict({_PARALLEL.removesuffix("."): model})


def save(
    model: nn.Module,
    folder: Path,
    *,
    name: str,
    options: Mapping[str, Any],
    interface: Interface,
    outputs: str = "logits",
) -> None:
    """Write `student.safetensors` and `student.json`, which `load` builds the model from."""
    save_weights(model, folder / "student.safetensors")
    card = {
        "format": 1,
        "model": name,
        "options": dict(options),
        "outputs": outputs,
        "interface": asdict(interface),
    }
    write_json(folder / "student.json", card)


def load(folder: str | Path) -> nn.Module:
    """The plain student that a run saved in `folder`, in eval mode.

    Raises:
        ModelError: There is no student, or it is damaged.
    """
    folder = Path(folder)
    try:
        with reading_errors(folder / "student.json"):
            card = parse_json((folder / "student.json").read_bytes().decode())
        said = card["interface"]
        heads = tuple(Head(**head | {"classes": tuple(head["classes"])}) for head in said["heads"])
        interface = Interface(
            shape=tuple(said["shape"]),
            vocabulary=said["vocabulary"],
            heads=heads,
            padded=said["padded"],
        )
        name, options = card["model"], dict(card["options"])
    except FileNotFoundError:
        raise ModelError(
            f"there is no student in {folder}: no student.json there. A run keeps its students in "
            "students/NAME."
        ) from None
    except (KeyError, TypeError, ValueError) as error:
        raise ModelError(
            f"{folder / 'student.json'} is damaged ({error!r}). Run the recipe again."
        ) from None
    model = build(name, options, interface)
    load_weights(model, folder / "student.safetensors")
    return model.eval()
