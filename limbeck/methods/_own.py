"""A loss of the user's own as a method: `distil.method = "package.module:function"`."""

import inspect
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, get_type_hints

import torch
from pydantic import create_model
from torch import Tensor, nn

from limbeck._errors import LimbeckError, LossError, OptionError
from limbeck._files import file_hash, fingerprint
from limbeck._lookup import first_line, import_function, place_of
from limbeck._roles import Role, forms_of, role_of
from limbeck.methods._method import Card, Loss, Method, Options
from limbeck.methods._terms import exact
from limbeck.signals import Space

_TENSORS: tuple[Role, ...] = ("student", "teacher", "labels")
_NUMBERS = r"weight|smoothing|scale|factor|size|dim|ratio|eps|power|(^|_)n(um)?_|^y_true$"
"""Names that speak of a side, or of labels, and are not what these are called; `y_true` may be
either."""
_HELP = "docs/adding-a-method.md says what a loss of your own is given, and gives back."
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
            f"loss = {loss.__name__}(...), below the class, and name that. {_HELP}"
        )
    if isinstance(loss, nn.Module) and any(True for _ in loss.parameters()):
        raise OptionError(
            f"method {name} has parameters, which nothing would train: a loss of your own is a "
            f"function that learns nothing. {_HELP}"
        )
    loss = loss.forward if isinstance(loss, nn.Module) else loss
    names, options = _roles(loss, name)
    each = {role: names[role] for role in _TENSORS if role in names}
    call = _Called(loss, name, each, names.get("temperature"))
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
        whole_batch=_compares_rows(call, options),
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
    paths = [getattr(sys.modules.get(module), "__file__", None) for module in modules]
    files = sorted(Path(path) for path in set(paths) if path is not None and Path(path).is_file())
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


def _roles(loss: Callable[..., Any], name: str) -> tuple[dict[Role, str], list[inspect.Parameter]]:
    """The parameter of each role that there is, and those that are options.

    Raises:
        OptionError: It cannot be told.
    """
    try:
        parameters = inspect.signature(loss).parameters.values()
    except (TypeError, ValueError):
        raise OptionError(
            f"method {name} does not say what it takes. Wrap it in a function of (student_logits, "
            "teacher_logits, temperature)."
        ) from None
    found: dict[Role, str] = {}
    options = []
    for part in parameters:
        role = "temperature" if _is_t(part) else role_of(part.name)
        if part.kind in (part.VAR_POSITIONAL, part.VAR_KEYWORD):
            continue
        if role == "temperature" and (part.default is None or _is_number(part)):
            pass
        elif role == "temperature" or role is None or re.search(_NUMBERS, part.name):
            options.append(part)
            continue
        elif part.default is not part.empty:
            options += [] if part.default is None else [part]  # labels=None are left out
            continue
        if role in found:
            raise OptionError(
                f"method {name}: {found[role]} and {part.name} are both its {role}'s. Wrap it in a "
                "function of (student_logits, teacher_logits, temperature)."
            )
        found[role] = part.name
    needed = ", ".join(part.name for part in parameters if part.default is part.empty)
    if "student" not in found or not {"teacher", "labels"} & found.keys():
        raise OptionError(
            f"method {name} must take student_logits and teacher_logits, got ({needed}). Name them "
            f"so, or wrap it in a function that does. {_HELP}"
        )
    if set(forms_of(found["student"], found.get("teacher", ""))) != {"logits"}:
        raise OptionError(
            f"method {name} takes ({needed}), and is given logits of both sides. Wrap it in a "
            "function of (student_logits, teacher_logits, temperature)."
        )
    if "temperature" not in found and any(part.kind is part.VAR_KEYWORD for part in parameters):
        raise OptionError(
            f"method {name} takes anything by name, and whether that is a temperature cannot be "
            "told. Name its parameters: temperature, and its options."
        )
    if "mask" in found:
        raise OptionError(
            f"method {name} needs {found['mask']}. Give it a default of None: rows that do not "
            "count are left out before it is called."
        )
    return found, options


def _is_t(part: inspect.Parameter) -> bool:
    """Whether it is a temperature that is called as a teacher may be: `t=4.0`."""
    return part.name == "t" and part.default is not part.empty and _is_number(part)


def _is_number(part: inspect.Parameter) -> bool:
    value = part.default
    return value is part.empty or (isinstance(value, int | float) and not isinstance(value, bool))


@torch.no_grad()
def _compares_rows(call: "_Called", options: Sequence[inspect.Parameter]) -> bool:
    """Whether a row's value depends on the others; False of what cannot be asked as it is.

    Raises:
        OptionError: It gives the sum of rows, which a larger batch makes larger.
    """
    if any(part.default is part.empty for part in options):
        return False
    generator = torch.Generator().manual_seed(0)
    sides = {side: torch.randn(3, 5, generator=generator) for side in ("student", "teacher")}
    given = [{**sides, "labels": torch.arange(3)}[role] for role in call.takes]

    def values(*rows: int) -> Tensor:
        return call(*(each[list(rows)] for each in given), temperature=2.0)

    try:
        with torch.random.fork_rng(devices=[]):
            whole, twice = values(0, 1, 2), values(0, 1, 2, 0, 1, 2)
            alone = torch.cat([values(row) for row in range(3)])
    except LimbeckError:
        return False
    one_for_all = bool((whole == whole[0]).all())
    if one_for_all and bool(whole[0] != 0) and torch.allclose(twice[0], 2 * whole[0], rtol=1e-4):
        raise OptionError(
            f"method {call.name} gives the sum over rows, which a larger batch makes larger. Let "
            "it give one value for each row, or their mean."
        )
    expected = alone.mean().expand(3) if one_for_all else alone
    return not torch.allclose(whole, expected, rtol=1e-4, atol=1e-6)


class _Called:
    """The user's loss, called as a loss of `limbeck.losses` is."""

    def __init__(
        self,
        loss: Callable[..., Any],
        name: str,
        tensors: Mapping[Role, str],
        temperature: str | None,
    ) -> None:
        self._loss, self.name = loss, name
        self._tensors, self._temperature = tensors, temperature
        parameters = inspect.signature(loss).parameters
        self._by_place = [
            each
            for each in parameters
            if parameters[each].kind is inspect.Parameter.POSITIONAL_ONLY
        ]

    @property
    def takes(self) -> tuple[Role, ...]:
        """What its tensors are, in the order of a call."""
        return tuple(self._tensors)

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
        except (LimbeckError, torch.OutOfMemoryError):
            raise
        except Exception as error:
            told = ", ".join(
                f"{part} {tuple(each.shape)}"
                for part, each in zip(self._tensors.values(), flat, strict=True)
            )
            raise LossError(
                f"method {self.name} raised {type(error).__name__}{place_of(error)} for {told}: "
                f"{first_line(error)}. Mend it."
            ) from error
        if not isinstance(values, Tensor):
            raise LossError(
                f"method {self.name} must return a tensor, got {type(values).__name__}. Return the "
                "loss alone."
            )
        if not values.is_floating_point():
            raise LossError(
                f"method {self.name} must return floating-point numbers, got {values.dtype}. "
                "Return the loss, not a count or a mask."
            )
        if values.shape not in ((len(flat[0]),), ()):
            raise LossError(
                f"method {self.name} must return one value for each row, ({len(flat[0])},), or "
                f"their mean, got {tuple(values.shape)}.{_way_out(values, flat[0])}"
            )
        return values.expand(len(flat[0])).reshape(shape)


def _way_out(values: Tensor, rows: Tensor) -> str:
    if tuple(values.shape) in ((len(rows), 1), (1,)):
        return " Take the last axis away: squeeze(-1)."
    return " Sum over classes." if values.shape == rows.shape else ""


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
