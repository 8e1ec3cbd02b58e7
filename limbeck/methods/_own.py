"""A loss of the user's own as a method: `distil.method = "package.module:function"`."""

import inspect
import sys
from collections.abc import Callable, Sequence
from typing import Any, get_type_hints

from pydantic import create_model
from torch import nn

from limbeck._errors import OptionError
from limbeck._files import file_hash, fingerprint
from limbeck._lookup import file_of, import_function
from limbeck.methods._method import Card, Loss, Method, Options
from limbeck.methods._own_call import HELP, TENSORS, Called, compares_rows, roles_and_options
from limbeck.signals import Space

_IMPORTED: dict[str, tuple[Callable[..., Any], str]] = {}
"""By its name each loss that was asked for, and what its code was then."""


def own_method(name: str) -> Method:
    """The user's loss of that name, as a method.

    Which of its parameters is which is told by their names, as `limbeck prove` tells it, but
    without a guess by their order. What has no role is an option.

    Args:
        name: "package.module:function"; the working folder is importable.

    Raises:
        OptionError: There is no such function, its file changed after it was imported, or it
            cannot be told how it is called.
    """
    method_code(name)
    loss = import_function("method", name, OptionError)
    if isinstance(loss, type):
        raise OptionError(
            f"method {name} is a class, and a loss is a function. Make one of it, "
            f"loss = {loss.__name__}(...), below the class, and name that. {HELP}"
        )
    if isinstance(loss, nn.Module) and any(True for _ in loss.parameters()):
        raise OptionError(
            f"method {name} has parameters, which nothing would train: a loss of your own is a "
            f"function that learns nothing. {HELP}"
        )
    loss = loss.forward if isinstance(loss, nn.Module) else loss
    names, options = roles_and_options(loss, name)
    each = {role: names[role] for role in TENSORS if role in names}
    call = Called(loss, name, each, names.get("temperature"))
    spaces: dict[Space, Loss] = {"categorical": call, "binary": call}
    if "temperature" not in names:  # numbers have none, and would be softened
        spaces["real"] = call
    told = loss.__doc__ if inspect.isroutine(loss) else None
    return Method(
        card=Card(
            line=inspect.cleandoc(told or "A loss of your own.").partition("\n")[0],
            formula=f"{name}({', '.join(call.written)})",
            when=f"`limbeck prove {name}` says what holds of it, and what does not.",
        ),
        dense=spaces,
        options=_options_of(loss, name, options),
        from_teacher="teacher" in each,
        with_labels="labels" in each,
        whole_batch=compares_rows(call, options),
        counted_only=True,
        promises=frozenset(),
    )


def method_code(method: str) -> list[str]:
    """What changes when the code of a user's loss does; nothing for a method of Limbeck's.

    Raises:
        OptionError: It changed after it was imported, so that what runs is not what is there.
    """
    if ":" not in method:
        return []
    loss = import_function("method", method, OptionError)
    now = _code_of(loss, method)
    imported, code = _IMPORTED.get(method, (None, now))
    if imported is not loss:  # at first, and where it was imported anew
        _IMPORTED[method] = loss, now
    elif code != now:
        raise OptionError(
            f"the file of method {method} changed after it was imported, and Python runs what it "
            "was. Start Python again."
        )
    return [now]


def _code_of(loss: Callable[..., Any], name: str) -> str:
    modules = {getattr(loss, "__module__", ""), name.partition(":")[0]}
    files = sorted(file for module in modules if (file := file_of(module)) is not None)
    if files:
        return fingerprint([file_hash(file) for file in files])
    try:  # typed into a notebook
        return fingerprint(inspect.getsource(loss))
    except (OSError, TypeError):
        return name


def method_name(loss: object) -> str:
    """By which a method is found: its name, or of the user's function "package.module:function".

    Raises:
        OptionError: It is not at the top level of a module, or has another name there.
    """
    if isinstance(loss, str):
        return loss
    if not callable(loss):
        raise OptionError(f"a method is a name, or a function, got {type(loss).__name__}.")
    module, name = getattr(loss, "__module__", None), getattr(loss, "__qualname__", None)
    if module is None or name is None or getattr(sys.modules.get(module), name, None) is not loss:
        raise OptionError(
            f"the method {name or type(loss).__name__} must be a function at the top level of a "
            "module, so that its name finds it again. Define it there, with its options as "
            'keywords; or give the name of what is there, "module:loss".'
        )
    return f"{module}:{name}"


def _options_of(
    loss: Callable[..., Any], name: str, parameters: Sequence[inspect.Parameter]
) -> type[Options]:
    """What a recipe may set of a loss, with the defaults.

    Raises:
        OptionError: One that is needed has a name that no option can have.
    """
    try:
        hints = get_type_hints(loss)
    except (NameError, TypeError, AttributeError, SyntaxError):  # they say nothing then
        hints = {}
    fields: dict[str, Any] = {}
    for part in parameters:
        required = part.default is part.empty
        if part.name.startswith("_") or hasattr(Options, part.name):
            if required:
                raise OptionError(
                    f"method {name} needs {part.name}, and no option can be called so. Call it "
                    "otherwise."
                )
            continue
        kind = hints.get(part.name, float if isinstance(part.default, float) else Any)
        known = kind if kind in (bool, int, float, str) else Any  # a default of 1 may mean 1.0
        fields[part.name] = (known, ... if required else part.default)
    return create_model(f"options of {name}", __base__=Options, **fields)
