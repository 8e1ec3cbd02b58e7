"""What each loss term is worth to a model: its value, and its pull on the model's weights."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations

import torch
from torch import Tensor

from limbeck.doctor._findings import Findings
from limbeck.doctor._lessons import Lesson
from limbeck.methods import AnyTerm, BranchTerm, FeatureTerm, Term, learns_from, mean_terms
from limbeck.signals import Rows

LARGEST_RATIO = 100.0
"""Of one term's weighted gradient to another's."""
LARGE_RATIO = 10.0
"""Of that of features to that of rows, from which on it is told."""

COLUMNS = ["model", "term", "weight", "value", "weighted", "gradient norm"]


@dataclass(frozen=True, kw_only=True)
class Pull:
    """One term of one model, on one batch."""

    term: AnyTerm
    value: float
    """Its mean over the rows that count."""
    gradient: float | None
    """Norm of the weighted term's gradient into the model; None where none arrives."""


def look_at_terms(
    lesson: Lesson,
    taught: Mapping[str, Rows] | None,
    found: Findings,
    *,
    teacher_knows: bool = True,
) -> list[list[str]]:
    """Measure every term of a lesson; what is dead, or drowns another, is a fault.

    Of features it is a warning: what is learned between them has not begun to. So it is of other
    students, who know nothing yet.

    Args:
        lesson: Who learns, from what.
        taught: The teacher's rows for its batch.
        found: Takes the faults.
        teacher_knows: False for an untrained teacher, whose answers are so flat that the terms
            towards it are smaller than they will be: that they are drowned is a note then.

    Returns:
        Rows for `COLUMNS`.
    """
    pulls = _measure(lesson, taught)
    found.faults.extend(fault for pull in pulls if (fault := _dead(lesson.name, pull)))
    if any(learns_from("average", pull.term) for pull in pulls):
        found.notes.append(
            f"The moving average of {lesson.name} is the student itself before it learns: its ema "
            "loss begins near 0."
        )
    lasting = [one for one in pulls if not learns_from("average", one.term)]
    for large, small in permutations(lasting, 2):
        if text := _drowned(lesson.name, large, small):
            if _is_new(large.term) or _is_new(small.term):
                found.warnings.append(text)
                continue
            doubtful = small.term.from_teacher and not large.term.from_teacher and not teacher_knows
            (found.notes if doubtful else found.faults).append(text)
        elif text := _loud(lesson.name, large, small):
            found.notes.append(text)
    return [
        [
            lesson.name,
            pull.term.name,
            _weight(pull.term),
            f"{pull.value:.4g}",
            f"{pull.term.weight * pull.value:.4g}",
            "none" if pull.gradient is None else f"{pull.gradient:.3g}",
        ]
        for pull in pulls
    ]


def _is_new(term: AnyTerm) -> bool:
    """Whether it may pull otherwise once there was some training."""
    return not isinstance(term, Term) or learns_from("peers", term)


def _weight(term: AnyTerm) -> str:
    first, last = term.weight, term.weight_at(1.0)
    return f"{first:g}" if first == last else f"{first:g} to {last:g}"


def _drowned(who: str, large: Pull, small: Pull) -> str | None:
    ratio = _ratio(large, small)
    if not LARGEST_RATIO < ratio < math.inf:
        return None
    weights = " or ".join(sorted(_weight_of(pull.term) for pull in (large, small)))
    return (
        f"the {large.term.name} loss of {who} pulls {ratio:.0f} times as hard as the "
        f"{small.term.name} loss, more than {LARGEST_RATIO:g} times. "
        f"Change {weights}."
    )


def _loud(who: str, large: Pull, small: Pull) -> str | None:
    if not isinstance(large.term, FeatureTerm) or not isinstance(small.term, Term):
        return None
    ratio = _ratio(large, small)
    if ratio < LARGE_RATIO:
        return None
    return (
        f"The {large.term.name} loss of {who} pulls {ratio:.0f} times as hard as the "
        f"{small.term.name} loss. If it hurts, lower distil.feature_weight, or set distil.balance."
    )


def _ratio(large: Pull, small: Pull) -> float:
    """How hard one pulls by the other; 0 where one of them does not."""
    return large.gradient / small.gradient if large.gradient and small.gradient else 0.0


def _weight_of(term: AnyTerm) -> str:
    if isinstance(term, BranchTerm):
        return term.weighed_by
    if isinstance(term, FeatureTerm):
        return "distil.feature_weight"
    return f"distil.{term.name.partition(' ')[0]}_weight"


def _dead(who: str, pull: Pull) -> str | None:
    loss = f"the {pull.term.name} loss of {who}"
    if not math.isfinite(pull.value):
        return f"{loss} is not finite: {pull.value}. Look at the model's answers and the inputs."
    if pull.gradient is None:
        return (
            f"{loss} is detached: no parameter gets a gradient. Look for detach, item, no_grad or "
            "frozen parameters in the model."
        )
    if not math.isfinite(pull.gradient):
        return (
            f"the gradient of {loss} is not finite: {pull.gradient}. Look for a logarithm or root "
            "of 0 in the model."
        )
    if pull.value == 0 and pull.gradient == 0 and not learns_from("average", pull.term):
        return f"{loss} is exactly 0, and so is its gradient: it teaches nothing. Leave it out."
    return None


def _measure(lesson: Lesson, taught: Mapping[str, Rows] | None) -> list[Pull]:
    model = lesson.learner.model.train()
    parameters = [part for part in model.parameters() if part.requires_grad]
    answers = lesson.answers()
    terms = lesson.learner.objective
    means = mean_terms(terms, answers, lesson.taught(taught), lesson.batch)
    return [
        Pull(
            term=term,
            value=means[term.name].item(),
            gradient=_norm(term.weight * means[term.name], parameters),
        )
        for term in terms
    ]


def _norm(value: Tensor, parameters: Sequence[Tensor]) -> float | None:
    if not value.requires_grad or not parameters:
        return None
    gradients: Sequence[Tensor | None] = torch.autograd.grad(
        value, parameters, retain_graph=True, allow_unused=True
    )
    arrived = [gradient.norm() for gradient in gradients if gradient is not None]
    return torch.stack(arrived).norm().item() if arrived else None
