"""How a loss of the user's own is called: told by its parameters' names, tried on a few rows."""

import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from limbeck._errors import LimbeckError, LossError, OptionError
from limbeck._lookup import first_line, place_of
from limbeck._roles import Role, forms_of, role_of, takes_number
from limbeck._values import as_tensor, check_values
from limbeck.methods._terms import exact

TENSORS: tuple[Role, ...] = ("student", "teacher", "labels")
"""What it may be given, in the order of a loss of Limbeck's."""
HELP = "docs/adding-a-method.md says what a loss of your own is given, and gives back."
_NUMBERS = r"weight|smoothing|scale|factor|size|dim|ratio|eps|power|(^|_)n(um)?_|^y_true$"
"""Names that speak of a side, or of labels, and are not what these are called; `y_true` may be
either."""


def roles_and_options(
    loss: Callable[..., Any], name: str
) -> tuple[dict[Role, str], list[inspect.Parameter]]:
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
        if role == "temperature" and (part.default is None or takes_number(part)):
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
            f"so, or wrap it in a function that does. {HELP}"
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
    return part.name == "t" and part.default is not part.empty and takes_number(part)


@torch.no_grad()
def compares_rows(call: "Called", options: Sequence[inspect.Parameter]) -> bool:
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


class Called:
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
        said = as_tensor(values, f"method {self.name}")
        check_values(said, flat[0], f"method {self.name}")
        return said.expand(len(flat[0])).reshape(shape)
