"""What a model computes, apart from its weights: a fingerprint that changes when its code does."""

from torch import nn

from limbeck import __version__
from limbeck._files import file_hash, fingerprint
from limbeck._lookup import file_of
from limbeck._state import is_keras, state_of

_LIBRARIES = ("torch", "transformers", "keras", "limbeck")
"""Their versions say what they compute, and the report names these."""


def architecture(model: nn.Module, name: str) -> str:
    """16 hex digits of a model's layers, its weights' shapes, and the user's own source files.

    Args:
        model: The model.
        name: As a recipe names it; of "package.module:function" the module's file counts too.
    """
    parts = [type(part) for part in model.modules()]
    modules = {kind.__module__ for kind in parts}
    if ":" in name and not name.startswith("transformers:"):
        modules.add(name.partition(":")[0])
    sources = {
        module: file_hash(path)
        for module in modules
        if module.partition(".")[0] not in _LIBRARIES and (path := file_of(module)) is not None
    }
    shapes = {key: list(part.shape) for key, part in state_of(model).items()}
    # A Keras model's own words count up with every model that the process makes.
    layers = [kind.__qualname__ for kind in parts] if is_keras(model) else repr(model)
    return fingerprint([__version__, name, layers, shapes, sources])
