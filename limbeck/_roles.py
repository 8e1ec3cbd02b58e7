"""Which argument of a user's function is the student, the teacher, labels, a mask, a temperature.

Told by their names; what these do not say, by their order: student, teacher, labels.
"""

import inspect
import itertools
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, Literal

Role = Literal["student", "teacher", "labels", "mask", "temperature"]
Form = Literal["logits", "probabilities", "log-probabilities"]

_NAMES: dict[Role, str] = {
    "temperature": r"temp|^tau$|_tau$",
    "mask": r"mask",
    "teacher": r"teacher|(^|_)t$|^t_|^y_true$|^tea(_|$)|soft_label",
    "student": r"student|(^|_)s$|^s_|^(y_)?pred|^stu(_|$)|^outputs?$|^logits?$",
    "labels": r"label|^y$|^gt$|ground_truth|hard_target|^tokens?(_ids)?$",
}
"""By which a parameter's name says what it is; in lower case but for T, which is a temperature."""
_SURE = r"(?i)student|teacher|(^|_)[st]$|^[st]_|^y_(pred|true)$|^stu(_|$)|^tea(_|$)"
"""Names that leave no doubt about the order."""
_FORMS: dict[Form, str] = {
    "log-probabilities": r"log_?(prob|softmax|pred|[pq]s?(_|$))|lprob|^log_(student|teacher)$",
    "probabilities": r"prob|softmax|soft_label|^[pq](_|$)|(^|_)[pq]$",
}
"""By which the name of a side says what it has in the place of logits."""
_ROWS = r"(?i)logit|pred|prob|out|feat|emb|hidden|score"
"""Names of rows: `logits_T` is the teacher's, where `T` and `kd_T` are temperatures."""
_PADDING = r"pad|ignore|invalid|exclude"
"""Names of a mask whose True means a row that does not count."""
_TARGETS = "|target|truth|class|hard"
"""What labels may be called beside a teacher; without one it is the teacher."""
_ORDER: tuple[Role, ...] = ("student", "teacher", "labels")
"""Of the parameters whose names say nothing."""


@dataclass(frozen=True, kw_only=True)
class Roles:
    """Parameters by what they are for."""

    names: Mapping[Role, str]
    """The parameter of each role that there is."""
    order: tuple[str, ...]
    """All that are filled in, as the function has them."""
    by_name: frozenset[str]
    """Those of them that take no place, or one behind a parameter that is left out."""
    doubtful: bool
    """Whether no name says which side is the student's."""
    unknown: tuple[str, ...]
    """Parameters that must be given and have no role."""


def find_roles(
    function: Callable[..., Any],
    given: Mapping[str, Any],
    *,
    teacher_first: bool | None,
    optional: Collection[Role] = (),
) -> Roles:
    """Say what each parameter is for.

    Args:
        function: The user's.
        given: Options by name: of these only a temperature has a role.
        teacher_first: The order of the two sides; None to tell it from their names.
        optional: What to fill in that may be left out.
    """
    parameters = _parameters(function)
    needed = [
        part
        for part in parameters
        if part.name not in given
        and (
            part.default is part.empty or (part.default is None and role_of(part.name) in optional)
        )
    ]
    names: dict[Role, str] = {}
    for part in [*needed, *parameters]:
        role = role_of(part.name)
        if role is None or role in names:
            continue
        if part in needed if role != "temperature" else _may_be_set(part, given):
            names[role] = part.name
    sides = [
        part.name
        for part in needed
        if part.name not in {names.get(role) for role in ("labels", "mask", "temperature")}
    ]
    doubtful = not any(re.search(_SURE, name) for name in sides)
    if teacher_first is not None:
        doubtful = False
        ordered: tuple[Role, ...] = ("teacher", "student") if teacher_first else _ORDER[:2]
        names |= dict(zip(ordered, sides, strict=False))
    rest = [name for name in sides if name not in names.values()]
    names |= dict(zip([role for role in _ORDER if role not in names], rest, strict=False))
    if not re.search(_NAMES["labels"] + _TARGETS, names.get("labels", "label").lower()):
        del names["labels"]
    filled = [part for part in parameters if part.name in names.values()]
    temperature = names.get("temperature")  # always by its name, so that its place is a gap too
    return Roles(
        names=names,
        order=tuple(part.name for part in filled),
        by_name=_behind_a_gap(parameters, {part.name for part in filled} - {temperature}),
        doubtful=doubtful,
        unknown=tuple(part.name for part in needed if part.name not in names.values()),
    )


def forms_of(student: str, teacher: str) -> tuple[Form, Form]:
    """What both sides' parameters take, as their names say.

    Beside a student's log-probabilities a teacher of which no name says otherwise has
    probabilities, as `torch.nn.functional.kl_div` takes them.
    """
    ours, theirs = _form(student), _form(teacher)
    if ours == "log-probabilities" and theirs == "logits" and "logit" not in teacher.lower():
        theirs = "probabilities"
    return ours, theirs


def _form(name: str) -> Form:
    if "logit" in name.lower():
        return "logits"
    return next(
        (form for form, words in _FORMS.items() if re.search(words, name.lower())), "logits"
    )


def marks_padding(name: str) -> bool:
    """Whether a mask is True where a row does not count, as its name says."""
    return bool(re.search(_PADDING, name.lower()))


def known_options(function: Callable[..., Any]) -> tuple[list[str], bool]:
    """The names of a function's parameters, and whether it takes any others."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return [], True
    names = [
        part.name for part in parameters if part.kind not in (part.VAR_POSITIONAL, part.VAR_KEYWORD)
    ]
    return names, any(part.kind is part.VAR_KEYWORD for part in parameters)


def temperature_name(function: Callable[..., Any]) -> str | None:
    """The parameter that is a temperature, if there is one."""
    names = [
        part.name
        for part in _parameters(function)
        if role_of(part.name) == "temperature" and _may_be_set(part, {})
    ]
    return names[0] if names else None


def required(function: Callable[..., Any], given: Mapping[str, Any]) -> list[str]:
    """Parameters without a default that are not given; a class is given them by name."""
    parts = _parameters(function)
    if isinstance(function, type):
        parts = [part for part in parts if part.kind is not part.POSITIONAL_ONLY]
    return [part.name for part in parts if part.default is part.empty and part.name not in given]


def _parameters(function: Callable[..., Any]) -> list[inspect.Parameter]:
    place = inspect.Parameter.POSITIONAL_ONLY
    two = [inspect.Parameter(name, place) for name in ("first", "second")]
    try:
        found = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):  # built in, and silent about itself
        return two
    named = [part for part in found if part.kind not in (part.VAR_POSITIONAL, part.VAR_KEYWORD)]
    anything = any(part.kind is part.VAR_POSITIONAL for part in found)
    return two if anything and not named else named


def _behind_a_gap(parameters: list[inspect.Parameter], filled: set[str]) -> frozenset[str]:
    """Of those that are filled in, the ones that can only be given by name."""
    places = itertools.takewhile(
        lambda part: part.name in filled and part.kind is not part.KEYWORD_ONLY, parameters
    )
    return frozenset(filled - {part.name for part in places})


def takes_number(part: inspect.Parameter) -> bool:
    """Whether it may be a number: a tuple of temperatures is no temperature."""
    return part.default is part.empty or _is_number(part.default)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _may_be_set(part: inspect.Parameter, given: Mapping[str, Any]) -> bool:
    return _is_number(given[part.name]) if part.name in given else takes_number(part)


def role_of(name: str) -> Role | None:
    """What a parameter is by its name alone."""
    if re.search(r"(^|_)T$", name) and not re.search(_ROWS, name):
        return "temperature"
    return next((role for role, words in _NAMES.items() if re.search(words, name.lower())), None)
