"""What a recipe names: functions of the user's own, their options, and one of a few words."""

import importlib
import inspect
import sys
import sysconfig
import traceback
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from limbeck._errors import LimbeckError, OptionError, did_you_mean


def import_function(what: str, name: str, error: type[LimbeckError]) -> Callable[..., Any]:
    """The function "package.module:function"; the working folder is importable.

    Args:
        what: What it is for, "source" or "model", for the message.
        name: Its name.
        error: Raised if there is no such module or function, or importing it fails.
    """
    module_name, colon, function_name = name.partition(":")
    if not module_name or module_name.startswith("."):
        raise error(f'{what} {name!r} must be "package.module:function".')
    if module_name.endswith(".py"):
        dotted = ".".join(Path(module_name).with_suffix("").parts)
        inside = function_name or "function"
        raise error(f"{what} {name!r} names a file. Name the module: {dotted}:{inside}.")
    if not function_name:
        package, dot, last = module_name.rpartition(".")
        meant = f" Did you mean {package}:{last}?" if dot and not colon else ""
        raise error(f'{what} {name!r} must be "package.module:function".{meant}')
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        module = importlib.import_module(module_name)
    except SyntaxError as failure:
        raise error(
            f"{what} {name!r}: {module_name} is no Python: {first_line(failure)}. Mend it."
        ) from failure
    except (ImportError, ValueError) as failure:
        missing = getattr(failure, "name", None)
        if missing is not None and missing.partition(".")[0] != module_name.partition(".")[0]:
            raise error(
                f"{what} {name!r}: {module_name} imports {missing}, which cannot be: "
                f"{first_line(failure)}. Mend that, or install it."
            ) from failure
        raise error(
            f"{what} {name!r}: cannot import {module_name}: {first_line(failure)}. Run in the "
            "folder that holds it, or install the package that has it."
        ) from failure
    except Exception as failure:
        raise error(
            f"{what} {name!r}: importing {module_name} raised {type(failure).__name__}"
            f"{place_of(failure)}: {first_line(failure)}. Mend that module."
        ) from failure
    function = getattr(module, function_name, None)
    if function is not None and not callable(function):
        raise error(
            f"{what} {name!r}: {function_name} is {type(function).__name__}, and no function. Name "
            "one."
        )
    if not callable(function):
        functions = [name for name, value in vars(module).items() if callable(value)]
        raise error(
            f"{what} {name!r}: module {module_name} has no function {function_name!r}."
            f"{did_you_mean(function_name, functions)} Define it there."
        )
    return function  # type: ignore[no-any-return]


def call_function(
    what: str,
    name: str,
    function: Callable[..., Any],
    options: Mapping[str, Any],
    error: type[LimbeckError],
) -> Any:
    """What the user's own function returns; `error`, naming it, if it raises."""
    try:
        return function(**options)
    except LimbeckError:
        raise
    except Exception as failure:
        raise error(
            f"{what} {name!r} raised {type(failure).__name__}{place_of(failure)}: "
            f"{first_line(failure)}. Mend it, or the options that it is given."
        ) from failure


def file_of(module: str) -> Path | None:
    """The file of a module that was imported, if it has one: what is typed in has none."""
    file = getattr(sys.modules.get(module), "__file__", None)
    path = None if file is None else Path(file)
    return path if path is not None and path.is_file() else None


def place_of(error: BaseException) -> str:
    """Where the user's own code stood when it was raised, " at FILE, line N"; or nothing."""
    others = (str(Path(__file__).parent), sysconfig.get_path("stdlib"))
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if "site-packages" not in frame.filename and not frame.filename.startswith((*others, "<"))
    ]
    return f" at {Path(frames[-1].filename).name}, line {frames[-1].lineno}" if frames else ""


def first_line(error: BaseException) -> str:
    """The first line of what an error says, to stand before a full stop."""
    return str(error).strip().partition("\n")[0].rstrip(". ") or "no words"


def check_options(
    what: str,
    function: Callable[..., Any],
    options: Mapping[str, Any],
    *,
    section: str,
    given: Iterable[str] = (),
    error: type[LimbeckError] = OptionError,
) -> None:
    """Refuse an option that `function` does not take, and the lack of one that it needs.

    Args:
        what: What is called, "source idx", for the message.
        function: What will be called.
        options: By keyword.
        section: Where they are set.
        given: Parameters that the caller fills in itself.
        error: Raised if they do not fit.
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
                raise error(
                    f"{what} has no option {option!r}.{did_you_mean(option, known)} It takes "
                    f"{', '.join(known) or 'none'}."
                )
    for parameter in parameters:
        needed = parameter.default is parameter.empty and parameter.name in known
        if needed and parameter.name not in options:
            raise error(
                f"{what} needs the option {parameter.name}. Set {section}.{parameter.name}."
            )


def check_choice(option: str, value: str, known: Iterable[str]) -> None:
    """Raise `OptionError` unless `value` is one of the known ones; "" stands for none."""
    known = list(known)
    if value not in known:
        listed = ", ".join(name for name in known if name)
        raise OptionError(
            f"{option} must be one of {listed}, got {value!r}.{did_you_mean(value, known)}"
        )
