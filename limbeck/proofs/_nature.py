"""What a loss is by nature, or by name: what need not hold of it follows from that."""

import re
from dataclasses import replace

import torch
from torch.nn.functional import one_hot

from limbeck._errors import LossError
from limbeck.proofs._case import Case
from limbeck.proofs._probe import Probe, largest


def has_a_kink(probe: Probe, case: Case) -> bool:
    """Whether the loss grows in first order of a small difference, not in second, to both sides."""
    gap = 1e-2 * (case.student - case.teacher)
    far, near, opposite = (
        float(probe.value(replace(case, student=case.teacher + share * gap)).mean())
        for share in (1.0, 0.5, -0.5)
    )
    return min(near, opposite) > 0 and far / near < 3


def scale_invariant(probe: Probe, case: Case) -> bool:
    """Whether the student's logits may be multiplied by any number, as standardised ones may."""
    gap = probe.value(replace(case, student=2 * case.student)) - probe.value(case)
    return largest(gap) <= 10 * probe.tolerance * probe.value_size


def compares_numbers(probe: Probe, case: Case) -> bool:
    """Whether only the difference of the logits counts, or only their direction."""
    moved = replace(case, student=case.student + case.labels[:, None] * case.teacher.flip(-1))
    moved = replace(moved, teacher=case.teacher + case.labels[:, None] * case.teacher.flip(-1))
    gap = largest(probe.value(moved) - probe.value(case))
    return gap <= 10 * probe.tolerance * probe.value_size or scale_invariant(probe, case)


def hears_the_argmax_alone(probe: Probe, case: Case) -> bool:
    """Whether nothing of the teacher counts but its likeliest class, as in hard distillation."""
    likeliest = one_hot(case.teacher.argmax(-1), case.teacher.shape[-1]).to(case.teacher)
    value = probe.value(case)
    surer, another = (
        largest(probe.value(replace(case, teacher=teacher)) - value)
        for teacher in (9.0 * likeliest, case.of_another_teacher().teacher)
    )
    least = probe.tolerance * probe.value_size
    return surer <= least < another


def is_for_other_classes(probe: Probe, case: Case) -> bool:
    """Whether the teacher may have more classes than the student, or but one: another vocabulary.

    What takes the highest few of each side is not for one class.
    """
    wider = torch.cat([case.teacher, case.teacher[:, :1]], dim=-1)
    try:
        values = [probe.value(replace(case, teacher=of)) for of in (wider, case.teacher[:, :1])]
    except LossError:
        return False
    return all(bool(torch.isfinite(value).all()) for value in values)


def called_kl(name: str) -> bool:
    """Whether it is called a KL divergence, which is 0 at equality."""
    return bool(re.search(r"(?i)(^|_)[fr]?kl(_|d|$)|kl_?div|divergence", _short(name)))


def direction_in(name: str) -> str | None:
    """The direction of the KL divergence that a name says."""
    words = _short(name).lower()
    if not re.search(r"kl|kd|div|distil", words):
        return None  # forward_hint
    if re.search(r"reverse|(^|_)rkl", words):
        return "reverse"
    return "forward" if re.search(r"forward|(^|_)fkl", words) else None


def other_than_its_name(name: str, kind: str) -> str | None:
    """What a name says that a loss is, if it is one of the kinds that differ from it."""
    words = _short(name).lower()
    if re.search(r"(^|_)js(d|$|_)|jensen", words):
        return "Jensen-Shannon divergence" if kind != "jensen-shannon" else None
    if re.search(r"(^|_)tv(d|$|_)|total_?variation", words):
        return "total variation" if kind != "total variation" else None
    if re.search(r"(^|_)kl(_|d|$)|kl_?div", words) and direction_in(name) is None:
        return "KL divergence" if kind not in ("forward", "reverse", "binary") else None
    return None


def _short(name: str) -> str:
    """What follows the module, with "_" between the words of a class's name."""
    own = name.rpartition(":")[2].rpartition(".")[2]
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", own)
