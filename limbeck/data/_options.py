"""Options by name: refused with the nearest known name where they do not exist."""

import difflib
import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from limbeck._errors import OptionError


def nearest(name: str, known: Iterable[str]) -> str:
    """A sentence that asks whether a known name was meant; empty where none is near."""
    close = difflib.get_close_matches(name, list(known), n=1)
    return f" Did you mean {close[0]}?" if close else ""


def check_choice(option: str, value: str, known: Iterable[str]) -> None:
    """Raise `OptionError` unless `value` is one of the known ones; "" stands for none."""
    known = list(known)
    if value not in known:
        listed = ", ".join(name for name in known if name)
        raise OptionError(
            f"{option} must be one of {listed}, got {value!r}.{nearest(value, known)}"
        )


def check_options(
    source: str, function: Callable[..., Any], options: Mapping[str, Any], *, given: set[str]
) -> None:
    """Raise `OptionError` for an option that `function` does not take, or lacks.

    Args:
        source: Its name, for the message.
        function: What will be called.
        options: By keyword.
        given: Parameters that the caller fills in itself.
    """
    parameters = [
        parameter
        for name, parameter in inspect.signature(function).parameters.items()
        if name not in given
    ]
    known = [p.name for p in parameters if p.kind in (p.KEYWORD_ONLY, p.POSITIONAL_OR_KEYWORD)]
    if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
        for option in options:
            if option not in known:
                raise OptionError(
                    f"source {source} has no option {option!r}.{nearest(option, known)} It takes "
                    f"{', '.join(known) or 'none'}."
                )
    for parameter in parameters:
        needed = parameter.default is parameter.empty and parameter.name in known
        if needed and parameter.name not in options:
            raise OptionError(
                f"source {source} needs the option {parameter.name}. Set "
                f"data.options.{parameter.name}."
            )
