"""How a user's loss is called, told from its signature: from a case to its values."""

import itertools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from limbeck._errors import LossError, OptionError
from limbeck._roles import Form, Role, Roles, find_roles, forms_of, marks_padding
from limbeck._values import as_tensor, check_values
from limbeck.proofs._case import Case, Marks, random_case
from limbeck.proofs._make import Made, guarded
from limbeck.proofs._probe import Probe, largest
from limbeck.signals import Space

_SIDES: tuple[Role, Role] = ("student", "teacher")


@dataclass(frozen=True)
class _Given:
    """What a side is given of its logits."""

    of: Callable[[Tensor], Tensor]
    written: str


_AS_IT_IS = _Given(lambda rows: rows, "{}")
_GIVEN: dict[tuple[Form, Space], _Given] = {
    ("probabilities", "categorical"): _Given(lambda rows: rows.softmax(-1), "{}.softmax(-1)"),
    ("log-probabilities", "categorical"): _Given(
        lambda rows: rows.log_softmax(-1), "{}.log_softmax(-1)"
    ),
    ("probabilities", "binary"): _Given(torch.sigmoid, "{}.sigmoid()"),
    ("log-probabilities", "binary"): _Given(F.logsigmoid, "torch.nn.functional.logsigmoid({})"),
}
"""Where the side's name asks for it."""


@dataclass(frozen=True, kw_only=True)
class Bound:
    """A user's loss, and how it is called."""

    ask: Callable[[Case], Tensor]
    call: str
    """As it is written: "kd(student, teacher, temperature=4.0)"."""
    definition: str
    """Lines of Python that define `loss(student, teacher)`; labels are a variable beside it."""
    dtype: torch.dtype
    """The precision it is asked in: float64 unless it does not take that."""
    output: torch.dtype
    """The precision it answers in."""
    by_row: bool
    """Whether it gives one value per row, or one for all."""
    doubtful: bool
    """Whether the order of student and teacher is a guess."""
    takes_teacher: bool
    takes_labels: bool
    """Whether they are given; `prove` sets it to whether they pull."""
    written_with_labels: bool
    """Whether the definition has them."""
    temperature: float | None
    """Which it has; None where it cannot be set."""
    of_logits: bool
    """Whether both sides' logits are given as they are, and not their probabilities."""
    marks: tuple[Marks, ...]
    """What tells it which rows count."""
    marked_call: str
    """As it is written with that as a variable."""
    of_sequences: bool
    """Whether each row is given as a sequence of one token, `(rows, 1, classes)`."""
    padding_mask: str
    """Why its mask was taken for one whose True means padding; "" if it was not."""


def bind(
    loss: Any,
    *,
    name: str,
    options: Mapping[str, Any],
    space: Space,
    teacher_first: bool | None,
    optional: tuple[Role, ...] = (),
) -> Bound:
    """Find out how a loss is called, and call it once.

    Args:
        loss: A function, module, class, or function that makes one of them.
        name: For messages, and for code: "module:function" can be imported.
        options: By keyword, for the maker, the call, or both.
        space: How rows compare: what the probabilities of a side that is named so are.
        teacher_first: The order of the two sides; None to tell it from their names.
        optional: What is given though it may be left out; if nothing is, labels are where the
            loss fails without them.

    Raises:
        OptionError: An option does not exist, or is missing.
        LossError: The loss raises, or does not return numbers.
    """
    made = Made(loss, name, options)
    first: LossError | None = None
    given: list[tuple[Role, ...]] = [optional] if optional else [(), ("labels",)]
    for of_sequences, filled_in in itertools.product((False, True), given):
        roles = find_roles(
            made.signature, made.call_options, teacher_first=teacher_first, optional=filled_in
        )
        asked = _Asked(made, roles, name, space, of_sequences=of_sequences)
        for dtype in (torch.float64, torch.float32):
            case = random_case(4, 5, dtype=dtype)
            try:
                output = asked(case)
            except LossError as error:
                first = first or error
                continue
            check_values(output, case.student, name)
            padding_mask = "its name says so" if asked.mask_is_padding else ""
            if "mask" in roles.names and not padding_mask and _learns_where_false(asked, case):
                asked.mask_is_padding = True
                padding_mask = "only rows of False learn"
            return Bound(
                ask=asked,
                call=asked.written("student", "teacher", "labels"),
                definition=asked.definition(),
                dtype=dtype,
                output=output.dtype,
                by_row=output.dim() > 0,
                doubtful=roles.doubtful and "teacher" in roles.names,
                takes_teacher="teacher" in roles.names,
                takes_labels="labels" in roles.names,
                written_with_labels="labels" in roles.names,
                temperature=made.temperature(roles),
                of_logits=asked.of_logits,
                marks=tuple(role for role in get_args(Marks) if role in roles.names),
                marked_call=asked.written("student", "teacher", "labels", mask="mask"),
                of_sequences=of_sequences,
                padding_mask=padding_mask if "mask" in roles.names else "",
            )
    assert first is not None, "it was asked, and did not answer"
    raise first


class _Asked:
    """A made loss as a function of a case."""

    def __init__(
        self, made: Made, roles: Roles, name: str, space: Space, *, of_sequences: bool
    ) -> None:
        if roles.unknown:
            raise OptionError(
                f"{name} needs {', '.join(roles.unknown)}. Give --set {roles.unknown[0]}=VALUE, or "
                "wrap it in a function of (student_logits, teacher_logits)."
            )
        if "student" not in roles.names or not {"teacher", "labels"} & roles.names.keys():
            raise LossError(
                f"{name} must take student_logits and teacher_logits, got "
                f"({', '.join(roles.order)}). Wrap it in a function that does."
            )
        self.made, self.roles, self.name = made, roles, name
        self.student, self.teacher = (
            _GIVEN.get((form, space), _AS_IT_IS)
            for form in forms_of(*(roles.names.get(side, "") for side in _SIDES))
        )
        soft = [
            roles.names[side]
            for side, form in zip(_SIDES, (self.student, self.teacher), strict=True)
            if form is not _AS_IT_IS
        ]
        self.of_logits = not soft
        self.of_sequences = of_sequences
        self.mask_is_padding = marks_padding(roles.names.get("mask", ""))
        if soft and made.temperature(roles) is not None:
            raise LossError(
                f"{name} takes {' and '.join(soft)} beside a temperature: expected logits, or no "
                "temperature, for else it cannot be told which of the two softens. Wrap it in a "
                "function of (student_logits, teacher_logits, temperature)."
            )

    def __call__(self, case: Case) -> Tensor:
        function = self.made.at(case.temperature, case.student.dtype)
        values: dict[str, Any] = {
            "student": self.student.of(case.student),
            "teacher": self.teacher.of(case.teacher),
            "labels": case.labels,
            "mask": case.counted ^ self.mask_is_padding,
        }
        if self.of_sequences:
            values = {role: each[:, None] for role, each in values.items()}
        values["temperature"] = self._temperature(case)
        places, keywords = self._arguments(values)
        given = ", ".join(
            f"{self.roles.names[role]} {tuple(values[role].shape)}"
            for role in ("student", "teacher", "labels", "mask")
            if role in self.roles.names
        )
        torch.default_generator.manual_seed(0)  # so that chance is the same each time
        with guarded(self.name, f"{given}, {str(case.student.dtype).removeprefix('torch.')}"):
            output = function(*places, **keywords)
        given_back = as_tensor(output, self.name)
        return given_back.squeeze(-1) if self.of_sequences else given_back

    def _temperature(self, case: Case) -> float | None:
        return self.made.temperature(self.roles) if case.temperature is None else case.temperature

    def _arguments(self, values: Mapping[str, Any]) -> tuple[list[Any], dict[str, Any]]:
        """The values of all roles, by place, and by name where there is none; and the options."""
        by_name = {name: values[role] for role, name in self.roles.names.items()}
        temperature = self.roles.names.get("temperature")
        places = [
            by_name[name]
            for name in self.roles.order
            if name not in self.roles.by_name and name != temperature
        ]
        keywords = {name: by_name[name] for name in self.roles.order if name in self.roles.by_name}
        if temperature is not None:
            keywords[temperature] = by_name[temperature]
        return places, {**self.made.call_options, **keywords}

    def written(
        self,
        student: str,
        teacher: str,
        labels: str,
        *,
        mask: str = "",
        temperature: str = "",
    ) -> str:
        """The call as Python."""
        short = self.name.rpartition(":")[2]
        token = "[:, None]" if self.of_sequences else ""
        values = {
            "student": self.student.written.format(student) + token,
            "teacher": self.teacher.written.format(teacher) + token,
            "labels": labels + token,
            "mask": self._written_mask(mask) + token,
            "temperature": temperature or repr(self.made.temperature(self.roles)),
        }
        places, keywords = self._arguments(values)
        options = [
            f"{key}={value if key in self.roles.names.values() else repr(value)}"
            for key, value in keywords.items()
        ]
        maker = self._made_as(short, temperature)
        squeezed = ".squeeze(-1)" if self.of_sequences else ""
        return f"{maker}({', '.join([*places, *options])}){squeezed}"

    def _written_mask(self, mask: str) -> str:
        if mask:
            return f"~{mask}" if self.mask_is_padding else mask
        return (
            f"torch.{'zeros' if self.mask_is_padding else 'ones'}(len(student), dtype=torch.bool)"
        )

    def _made_as(self, short: str, temperature: str) -> str:
        if not self.made.makes:
            return short
        options = {key: repr(value) for key, value in self.made.maker_options.items()}
        if temperature and self.made.maker_temperature is not None:
            options[self.made.maker_temperature] = temperature
        made = f"{short}({', '.join(f'{key}={value}' for key, value in options.items())})"
        return made if callable(self.made.function) else f"{made}.compute_loss"

    def definition(self) -> str:
        """Lines that import it and define `loss`."""
        module, colon, short = self.name.rpartition(":")
        first = f"from {module} import {short}" if colon else f"# {short} is your loss"
        names = ["student", "teacher"]
        temperature = self.made.temperature(self.roles)
        if temperature is not None:
            names.append(f"temperature={temperature!r}")
        changed = "temperature" if temperature is not None else ""
        body = self.written("student", "teacher", "labels", temperature=changed)
        return f"import torch\n{first}\n\ndef loss({', '.join(names)}):\n    return {body}"


def _learns_where_false(asked: Callable[[Case], Tensor], case: Case) -> bool:
    """Whether a mask of True everywhere teaches nothing, and one of False does."""
    probe = Probe(ask=asked)
    try:
        nothing, something = (
            largest(probe.gradient(replace(case, mask=torch.full((len(case),), each))))
            for each in (True, False)
        )
    except LossError:
        return False
    return not 0 < nothing < math.inf and 0 < something < math.inf
