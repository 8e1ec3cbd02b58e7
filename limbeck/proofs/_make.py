"""What a user names may be a loss, or make one: a class, a module, a function that returns them."""

import copy
import inspect
import io
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from typing import Any

import torch
from torch import nn

from limbeck._errors import LimbeckError, LossError, OptionError, did_you_mean
from limbeck._lookup import first_line, place_of
from limbeck._roles import Roles, known_options, required, temperature_name

DEFAULT_TEMPERATURE = 4.0
"""Given to a loss that must have one and is not told which."""


class Made:
    """A loss after the call that makes it, where there is one; made again for a temperature."""

    def __init__(self, loss: Any, name: str, options: Mapping[str, Any]) -> None:
        self.name, self.loss, self.options = name, loss, dict(options)
        self.makes = isinstance(loss, type) or (
            not isinstance(loss, nn.Module) and len(_sides(loss, options)) < 1
        )
        self.maker_options = self._renamed(loss) if self.makes else {}
        if self.makes:
            known, anything = known_options(loss)
            self.maker_options = {
                key: value for key, value in self.maker_options.items() if anything or key in known
            }
            missing = required(loss, self.maker_options)
            if missing:
                raise OptionError(
                    f"{name} needs the option {missing[0]}. Give --set {missing[0]}=VALUE."
                )
        self.function = self.make({})
        self.signature = _called(self.function)
        self.call_options = self._renamed(self.signature)
        self.maker_temperature = temperature_name(loss) if self.makes else None
        used = set(self.maker_options)
        if self.maker_temperature in used:
            used.add("temperature")
        known, anything = known_options(self.signature)
        maker_known = known_options(loss)[0] if self.makes else []
        for key in list(self.call_options):
            if key in used and key not in known:
                del self.call_options[key]
            elif key not in known and not anything:
                everything = [*maker_known, *known]
                raise OptionError(
                    f"{name} has no option {key!r}.{did_you_mean(key, everything)} It takes "
                    f"{', '.join(everything) or 'none'}."
                )

    def make(self, changed: Mapping[str, Any]) -> Any:
        """The loss itself, with some options changed."""
        if not self.makes:
            if isinstance(self.loss, nn.Module):
                return copy.deepcopy(self.loss)
            return self.loss
        torch.default_generator.manual_seed(0)  # the same weights, should it have any
        with guarded(self.name, "its options"):
            made = self.loss(**{**self.maker_options, **changed})
        if not callable(made) and not callable(getattr(made, "compute_loss", None)):
            raise LossError(
                f"{self.name} must be a loss, or make one, got {type(made).__name__}. Name a "
                "function of (student_logits, teacher_logits)."
            )
        return made

    def at(self, temperature: float | None, dtype: torch.dtype) -> Any:
        """What is called, at a temperature."""
        changed = temperature is not None and self.maker_temperature is not None
        function = (
            self.make({self.maker_temperature or "": temperature}) if changed else self.function
        )
        return _called(function.to(dtype) if isinstance(function, nn.Module) else function)

    def temperature(self, roles: Roles) -> float | None:
        """What it is now, where it can be set."""
        name = roles.names.get("temperature")
        options, function = (
            (self.call_options, self.signature)
            if name is not None
            else (self.maker_options, self.loss)
        )
        name = name or self.maker_temperature
        if name is None:
            return None
        if name in options:
            return float(options[name])
        default = inspect.signature(function).parameters[name].default
        return DEFAULT_TEMPERATURE if default is inspect.Parameter.empty else float(default)

    def _renamed(self, function: Any) -> dict[str, Any]:
        """The options, of which `temperature` may be called otherwise there."""
        found = dict(self.options)
        own = temperature_name(function)
        if "temperature" in found and own is not None and own != "temperature":
            found[own] = found.pop("temperature")
        return found


def _sides(loss: Any, options: Mapping[str, Any]) -> list[str]:
    """Parameters of a function that must be given: none of a function that makes a loss."""
    try:
        return required(loss, options)
    except TypeError:
        return ["student", "teacher"]


def _called(function: Any) -> Any:
    """What has the signature: a module's `forward`, and Keras's `compute_loss`."""
    if isinstance(function, nn.Module):
        return function.forward
    return function if callable(function) else function.compute_loss


@contextmanager
def guarded(name: str, given: str) -> Iterator[None]:
    """What the user's code raises, as an error of ours that says where and with what."""
    try:
        with warnings.catch_warnings(), redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    except LimbeckError as failure:
        raise LossError(f"{name} was given {given}: {failure}") from failure
    except (Exception, SystemExit) as failure:
        raise LossError(
            f"{name} raised {type(failure).__name__}{place_of(failure)}: {first_line(failure)}. It "
            f"was given {given}. Mend it, or say how it is called: --set, --teacher-first."
        ) from failure
