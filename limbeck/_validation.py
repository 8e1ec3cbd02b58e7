"""What pydantic finds wrong with a section of a recipe, in the words that the user typed."""

from collections.abc import Mapping, Sequence
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

from limbeck._errors import did_you_mean

Fault = Mapping[str, Any]
"""What pydantic says of one value: its `type`, `loc`, `msg` and `input`."""

_LONG = 200
"""Characters of a wrong value that are shown."""
_FEW = 4
"""Keys of a section that are named where it is something else."""


def first_fault(error: ValidationError) -> Fault:
    """The fault to speak of: a mistyped key before others, for it is why another is missing."""
    faults = error.errors()
    return next((one for one in faults if one["type"] == "extra_forbidden"), faults[0])


def explain(fault: Fault, section: type[BaseModel]) -> str:
    """A fault as "key: what was expected, what came", with the nearest key if there is none such.

    Args:
        fault: What is wrong.
        section: What was validated; keys are named from there: "train.epochs" in a recipe.
    """
    path = [str(part) for part in fault["loc"] if not str(part).startswith("constrained-")]
    dotted = ".".join(path)
    if fault["type"] == "extra_forbidden":
        known = _known_keys(section, path[:-1])
        meant = did_you_mean(path[-1], known)
        return f"there is no key {dotted}.{meant} Known here: {', '.join(known)}."
    if fault["type"] == "missing":
        return f"{dotted} is missing."
    where = f"{dotted}: " if dotted else ""
    if fault["type"] == "model_type":
        known = _known_keys(section, path)
        keys = ", ".join([*known[:_FEW], "..."] if len(known) > _FEW else known)
        return f"{where}must be a section of keys ({keys}), got {_shown(fault['input'])}."
    message = fault["msg"].removeprefix("Value error, ")
    message = message[0].lower() + message[1:]
    if fault["type"] == "value_error":
        return f"{where}{message}."
    return f"{where}{message}, got {_shown(fault['input'])}."


def _shown(value: object) -> str:
    got = repr(value)
    return got if len(got) <= _LONG else got[:_LONG] + " ..."


def _known_keys(section: type[BaseModel], path: Sequence[str]) -> list[str]:
    """The keys of the section that `path` leads to."""
    steps = iter(path)
    for step in steps:
        annotation = section.model_fields[step].annotation
        if get_origin(annotation) in (dict, list):  # students.NAME, taps.0
            next(steps, None)
            annotation = get_args(annotation)[-1]
        if get_origin(annotation) in (Annotated, Union, UnionType):  # of `Section | None` the first
            annotation = get_args(annotation)[0]
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            section = annotation
    return list(section.model_fields)
