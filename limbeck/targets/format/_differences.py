"""What is other than expected in a transfer set, in words."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from limbeck.targets.format._manifest import HeadRecord, Settings, TeacherRecord


def differences(expected: Mapping[str, Any], got: Settings) -> list[str]:
    """What of `expected`, some fields of `Settings`, is not so in `got`, in words."""
    found = []
    for field, wanted in expected.items():
        is_so = getattr(got, field)
        if field == "heads":
            found += _head_differences(wanted, is_so)
        elif field == "teacher":
            if wanted.fingerprint != is_so.fingerprint:
                found.append(f"teacher: expected {_named(wanted)}, got {_named(is_so)}")
        elif wanted != is_so:
            found.append(f"{field}: expected {_shown(wanted)}, got {_shown(is_so)}")
    return found


def _head_differences(wanted: Sequence[HeadRecord], got: Sequence[HeadRecord]) -> list[str]:
    if [head.name for head in wanted] != [head.name for head in got]:
        names = (", ".join(head.name for head in heads) for heads in (wanted, got))
        return ["heads: expected {}, got {}".format(*names)]
    found = []
    for one, other in zip(wanted, got, strict=True):
        if (one.space, one.size) != (other.space, other.size):
            found.append(
                f"head {one.name}: expected {one.space} of size {one.size}, got {other.space} of "
                f"size {other.size}"
            )
        elif one.classes != other.classes:
            found.append(f"classes of head {one.name}: {_first_class_difference(one, other)}")
    return found


def _first_class_difference(one: HeadRecord, other: HeadRecord) -> str:
    if not one.classes or not other.classes:
        lengths = (f"{len(head.classes) or 'no'} names" for head in (one, other))
        return "expected {}, got {}".format(*lengths)
    pairs = enumerate(zip(one.classes, other.classes, strict=False))
    at, (wanted, got) = next(
        ((i, pair) for i, pair in pairs if pair[0] != pair[1]),
        (0, (f"{len(one.classes)} names", f"{len(other.classes)} names")),
    )
    return f"expected {wanted!r} for class {at}, got {got!r}"


def _named(teacher: TeacherRecord) -> str:
    return f"{teacher.fingerprint} ({teacher.name})" if teacher.name else teacher.fingerprint


def _shown(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, default=str)
