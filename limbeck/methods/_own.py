"""A loss of the user's own as a method: `distil.method = "package.module:function"`."""

import inspect
import sys
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any, get_type_hints

from pydantic import create_model
from torch import Tensor, nn

from limbeck._errors import LossError, OptionError
from limbeck._files import file_hash, fingerprint
from limbeck._lookup import first_line, import_function, place_of
from limbeck._roles import Role, find_roles, forms_of, option_parameters
from limbeck.methods._method import Card, Method, Options
from limbeck.methods._terms import exact

_TENSORS: tuple[Role, ...] = ("student", "teacher", "labels")
_HELP = "docs/adding-a-method.md says what a loss of your own is given, and gives back."


def own_method(name: str) -> Method:
    """The user's loss of that name, as a method.

    Which of its parameters is which is told as `limbeck prove` tells it: by their names. What has
    no role is an option.

    Args:
        name: "package.module:function"; the working folder is importable.

    Raises:
        OptionError: There is no such function, or it cannot be told how it is called.
    """
    loss = import_function("method", name, OptionError)
    if isinstance(loss, type):
        raise OptionError(
            f"method {name} is a class, and a loss is a function. Make one of it, "
            f"loss = {loss.__name__}(...), below the class, and name that. {_HELP}"
        )
    if isinstance(loss, nn.Module) and any(True for _ in loss.parameters()):
        raise OptionError(
            f"method {name} has parameters, which nothing would train: a loss of your own is a "
            f"function that learns nothing. {_HELP}"
        )
    loss = loss.forward if isinstance(loss, nn.Module) else loss
    roles = find_roles(loss, {}, teacher_first=None)
    sides = [roles.names[side] for side in ("student", "teacher") if side in roles.names]
    if "student" not in roles.names or not {"teacher", "labels"} & roles.names.keys():
        raise OptionError(
            f"method {name} must take student_logits and teacher_logits, got "
            f"({', '.join([*sides, *roles.unknown])}). {_HELP}"
        )
    if "teacher" in roles.names and roles.doubtful:
        raise OptionError(
            f"method {name}: which of ({', '.join(sides)}) is the student's cannot be told. Name "
            "them student_logits and teacher_logits."
        )
    if set(forms_of(*(roles.names.get(side, "") for side in ("student", "teacher")))) != {"logits"}:
        raise OptionError(
            f"method {name} takes {' and '.join(sides)}, and is given logits of both sides. Wrap "
            "it in a function of (student_logits, teacher_logits, temperature)."
        )
    if "mask" in roles.names:
        raise OptionError(
            f"method {name} needs {roles.names['mask']}. Give it a default of None: rows that do "
            "not count are left out before it is called."
        )
    each = {role: roles.names[role] for role in _TENSORS if role in roles.names}
    call = _Called(loss, name, each, roles.names.get("temperature"))
    told = inspect.cleandoc(loss.__doc__ or "A loss of your own.")
    return Method(
        card=Card(
            line=told.partition("\n")[0],
            formula=f"{name}({', '.join(call.written)})",
            when=f"`limbeck prove {name}` says what holds of it, and what does not.",
        ),
        dense={"categorical": call, "binary": call, "real": call},
        options=_options_of(loss, name, set(roles.names.values())),
        from_teacher="teacher" in each,
        with_labels="labels" in each,
        counted_only=True,
        promises=frozenset(),
    )


def method_code(method: str) -> str | None:
    """What changes when the code of a user's loss does; None for a method of Limbeck's."""
    if ":" not in method:
        return None
    loss = import_function("method", method, OptionError)
    file = getattr(sys.modules.get(getattr(loss, "__module__", "")), "__file__", None)
    named = getattr(sys.modules[method.partition(":")[0]], "__file__", None)
    files = sorted({Path(each) for each in (file, named) if each is not None})
    if files:
        return fingerprint([file_hash(each) for each in files])
    try:  # typed into a notebook
        return fingerprint(inspect.getsource(loss))
    except (OSError, TypeError):
        return method


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
            "keywords."
        )
    return f"{module}:{name}"


class _Called:
    """The user's loss, called as a loss of `limbeck.losses` is."""

    def __init__(
        self,
        loss: Callable[..., Any],
        name: str,
        tensors: Mapping[Role, str],
        temperature: str | None,
    ) -> None:
        self._loss, self._name = loss, name
        self._tensors, self._temperature = tensors, temperature
        parameters = inspect.signature(loss).parameters
        self._by_place = [
            each
            for each in parameters
            if parameters[each].kind is inspect.Parameter.POSITIONAL_ONLY
        ]

    @property
    def written(self) -> list[str]:
        """What it is called with, but for its options."""
        temperature = [] if self._temperature is None else [f"{self._temperature}=T"]
        return [*self._tensors.values(), *temperature]

    def __call__(self, *tensors: Tensor, temperature: float, **options: Any) -> Tensor:
        """`(...)`, one value per row, of tensors `(..., size)`, and labels, in any shape.

        A mean over rows is the value of each: their mean is the same again.
        """
        shape = tensors[0].shape[:-1]
        if not shape.numel():  # a process may get no sample, and its gradient is waited for
            return tensors[0].sum(dim=-1)
        rows = [exact(each) if each.is_floating_point() else each for each in tensors]
        flat = [each.reshape(-1, *each.shape[len(shape) :]) for each in rows]
        given: dict[str, Any] = dict(zip(self._tensors.values(), flat, strict=True)) | options
        if self._temperature is not None:
            given[self._temperature] = temperature
        places = [given.pop(each) for each in self._by_place if each in given]
        try:
            values = self._loss(*places, **given)
        except LossError:
            raise
        except Exception as error:
            told = ", ".join(
                f"{part} {tuple(each.shape)}"
                for part, each in zip(self._tensors.values(), flat, strict=True)
            )
            raise LossError(
                f"method {self._name} raised {type(error).__name__}{place_of(error)} for {told}: "
                f"{first_line(error)}. Mend it."
            ) from error
        if not isinstance(values, Tensor) or values.shape not in ((len(flat[0]),), ()):
            got = tuple(values.shape) if isinstance(values, Tensor) else type(values).__name__
            raise LossError(
                f"method {self._name} must return one value for each row, ({len(flat[0])},), or "
                f"their mean, got {got}. Sum over the last axis."
            )
        return values.expand(len(flat[0])).reshape(shape)


def _options_of(loss: Callable[..., Any], name: str, taken: Collection[str]) -> type[Options]:
    """Those of a loss's parameters that are not filled in, with their defaults."""
    try:
        hints = get_type_hints(loss)
    except (NameError, TypeError, AttributeError, SyntaxError):  # they say nothing then
        hints = {}
    fields: dict[str, Any] = {}
    for part in option_parameters(loss, taken):
        required = part.default is part.empty
        kind = hints.get(part.name, float if isinstance(part.default, float) else Any)
        known = kind if kind in (bool, int, float, str) else Any  # a default of 1 may mean 1.0
        fields[part.name] = (known, ... if required else part.default)
    return create_model(f"options of {name}", __base__=Options, **fields)
