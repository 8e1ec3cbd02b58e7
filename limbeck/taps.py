"""Taps: what modules inside a model give during one call of it.

The hooks are there for the length of the call only, so that nothing is recorded by a call that is
not looked at: activation checkpointing calls modules again in its backward pass. What is compiled
runs uncompiled meanwhile, for a compiled model does not see hooks that come and go.
"""

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DataParallel, DistributedDataParallel

from limbeck._errors import ModelError, did_you_mean
from limbeck._state import is_keras

_WRAPPED = ("_orig_mod", "_checkpoint_wrapped_module", "_fsdp_wrapped_module")
"""What torch.compile, checkpoint_wrapper and FSDP call a module that they wrap."""


@contextmanager
def tapped(model: nn.Module, paths: Sequence[str], *, who: str) -> Iterator[dict[str, Tensor]]:
    """Record the first tensor that the module at each path gives, while `model` is called.

    Args:
        model: Called once within the context, itself or as a part of what wraps it.
        paths: Modules by their names in `modules_of(model)`.
        who: "the teacher", "student small", for the message.

    Yields:
        By path; filled by the call. Of a module that is called several times, the last.

    Raises:
        ModelError: There is no such module; or, at the end, it was not called, gave no tensor, or
            gave one that was then changed in place.

    Example:
        >>> with tapped(model, ["layer3"], who="student") as seen:
        ...     model(images)
        >>> seen["layer3"].shape
    """
    seen: dict[str, Tensor] = {}
    if not paths:
        yield seen
        return
    there = modules_of(model, who=who)
    for path in paths:
        if path not in there:
            raise ModelError(
                f"{who} has no module {path!r} to tap.{did_you_mean(path, there)} "
                "`limbeck layers RECIPE` lists them."
            )
    versions: dict[str, int] = {}

    def record(path: str, output: Any) -> None:
        found = first_tensor(output)
        if found is None:
            raise ModelError(
                f"the module {path!r} of {who} gives no tensor, but {type(output).__name__}. Tap "
                "another one."
            )
        seen[path] = found
        versions[path] = _version(found)

    with heard({path: there[path] for path in paths}, record):
        yield seen
    for path in paths:
        if path not in seen:
            raise ModelError(
                f"the module {path!r} of {who} was not called. Tap one that takes part in an "
                "answer."
            )
        if _version(seen[path]) != versions[path]:
            raise ModelError(
                f"what the module {path!r} of {who} gives is changed in place by the module after "
                "it. Tap that one, or give it inplace = False."
            )


@contextmanager
def heard(modules: Mapping[str, nn.Module], hear: Callable[[str, Any], None]) -> Iterator[None]:
    """Call `hear` with a module's name and what it gives, whenever it is called within."""

    def hook_of(name: str) -> Callable[..., None]:
        return lambda module, given, output: hear(name, output)

    with ExitStack() as stack:
        for name, module in modules.items():
            stack.callback(module.register_forward_hook(hook_of(name)).remove)
        if "torch._dynamo" in sys.modules:  # else nothing is compiled
            stack.enter_context(torch.compiler.set_stance("force_eager"))
        yield


def tap_name(path: str) -> str:
    """What the features of a module are called beside the rows of heads."""
    return f"tap:{path}"


def modules_of(model: nn.Module, *, who: str) -> dict[str, nn.Module]:
    """Every module inside a model by its path, without the names that wrappers add to it.

    Raises:
        ModelError: It is a Keras model, whose layers torch does not call.
    """
    if isinstance(model, (DistributedDataParallel, DataParallel)):
        model = model.module
    if is_keras(model):
        raise ModelError(
            f"{who} is a Keras model, whose layers cannot be tapped. Take a torch module, or a "
            "method that learns from rows."
        )
    return {path: module for path, module in _walk(model, "") if path}


def _walk(module: nn.Module, path: str) -> Iterator[tuple[str, nn.Module]]:
    yield path, module
    for name, child in module._modules.items():
        if child is None:
            continue
        if name not in _WRAPPED:
            yield from _walk(child, f"{path}.{name}" if path else name)
            continue
        for below, inner in _walk(child, path):
            # Of a checkpointed module the wrapper's answer has the gradient, in both of its forms.
            if below != path or name != "_checkpoint_wrapped_module":
                yield below, inner


def first_tensor(output: Any) -> Tensor | None:
    """The first one in a nest of tuples, lists and dicts; an output of transformers is a dict."""
    if isinstance(output, Tensor):
        return output
    if isinstance(output, Mapping):
        output = list(output.values())
    if isinstance(output, (tuple, list)):
        return next((found for part in output if (found := first_tensor(part)) is not None), None)
    return None


def _version(tensor: Tensor) -> int:
    """How often it was changed in place; tensors of inference mode do not count that."""
    return 0 if tensor.is_inference() else int(tensor._version)
