"""From the name of a method, its options and the heads at hand to the terms of an objective."""

import math
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from torch import nn

from limbeck._errors import OptionError, TargetsError
from limbeck.methods._branches import branch_terms
from limbeck.methods._method import Method, Options
from limbeck.methods._methods import METHODS, find_method, read_options
from limbeck.methods._own import own_method
from limbeck.methods._soft_targets import soft_targets
from limbeck.methods._students import averaged, mutual
from limbeck.methods._terms import (
    Objective,
    Term,
    TermLoss,
    supervised,
    term_name,
)
from limbeck.methods.features import FEATURE_METHODS, FeatureMethod, Taps, feature_term
from limbeck.recipe import Anneal, Branches, Ema, Recipe
from limbeck.signals import Batch, Head, Rows, Sparse
from limbeck.teachers import Teacher

NO_OPTIONS: Mapping[str, Any] = MappingProxyType({})


def objective(
    method: str,
    heads: Sequence[Head],
    *,
    temperature: float,
    hard_weight: float,
    soft_weight: float,
    mutual_weight: float = 0.0,
    ema: Ema | None = None,
    branches: Branches | None = None,
    anneal: Anneal | None = None,
    options: Mapping[str, Any] = NO_OPTIONS,
) -> Objective:
    """The named method's terms for these heads, and labels where `hard_weight` is above 0.

    Or where it becomes so. Of a feature method these are soft targets, where `soft_weight` is above
    0; its `feature_term` needs the two models, and `branch_terms` need the student. Where
    `mutual_weight` is above 0, soft targets of the other students, too, and with `ema` those of the
    student's own average; then, and with `branches`, the teacher is only asked if `soft_weight` is
    above 0.

    Raises:
        OptionError: There is no such method or option, or it is not for one of the heads.
    """
    chosen, read = find_method(method), read_options(method, options)
    last = anneal or Anneal()
    itself = ema is not None or branches is not None
    others_teach = isinstance(chosen, FeatureMethod) or mutual_weight > 0 or itself
    without_rows = others_teach and not _ever(soft_weight, last.soft_weight)
    if isinstance(chosen, FeatureMethod):
        chosen, read = chosen.rows, Options()
    for head in heads:
        if head.space not in chosen.spaces:
            fit = [name for name, each in METHODS.items() if _is_for(each, heads)]
            raise OptionError(
                f"method {method} is for heads that are {' or '.join(chosen.spaces)}, and head "
                f"{head.name} is {head.space}. For these heads there are {', '.join(fit)}."
            )
    soft = tuple(
        Term(
            name=term_name("soft", head, heads),
            head=head.name,
            weight=soft_weight,
            last_weight=last.soft_weight,
            with_labels=chosen.with_labels,
            from_teacher=chosen.from_teacher,
            promises=chosen.promises,
            loss=chosen.loss(head, temperature=temperature, options=read),
        )
        for head in heads
        if not without_rows
    )
    hard: Objective = ()
    if _ever(hard_weight, last.hard_weight):
        hard = supervised(heads, weight=hard_weight, last_weight=last.hard_weight)

    def as_teacher(head: Head) -> TermLoss:
        return soft_targets.loss(head, temperature=temperature, options=Options())

    peers = mutual(heads, as_teacher, weight=mutual_weight) if mutual_weight > 0 else ()
    own = averaged(heads, as_teacher, ema) if ema is not None else ()
    return soft + hard + peers + own


def _ever(first: float, last: float | None) -> bool:
    """Whether a weight is above 0 at some time."""
    return max(first, last or 0.0) > 0


def check_features(
    method: str,
    taps: Sequence[object],
    *,
    hard_weight: float,
    soft_weight: float,
    feature_weight: float | None,
    progressive: float = 0.0,
) -> None:
    """Refuse taps without a method for them, and a feature method without what it needs.

    Raises:
        OptionError: It names what to set.
    """
    chosen = find_method(method)
    if isinstance(chosen, FeatureMethod):
        for tap in [taps] if isinstance(taps, str) else taps:
            if not _is_pair_of_paths(tap):
                raise OptionError(
                    "taps must be pairs of paths, [(the student's, the teacher's), ...], got "
                    f"{tap!r}. Name a module of each of the two."
                )
        if not chosen.fewest_taps <= len(taps) <= (chosen.most_taps or len(taps)):
            raise OptionError(
                f"method {method} takes {chosen.how_many_taps} taps, got {len(taps)}. Set "
                'distil.taps = [{ student = "PATH", teacher = "PATH" }, ...]; `limbeck layers '
                "RECIPE` lists paths and proposes pairs."
            )
        if hard_weight == soft_weight == 0:
            raise OptionError(
                f"method {method} with hard_weight = 0 and soft_weight = 0 leaves the last layer "
                "of the student untaught. Set one of them above 0."
            )
        if feature_weight is not None and not 0 < feature_weight < math.inf:
            raise OptionError(
                f"feature_weight must be above 0 and finite, got {feature_weight:g}. Leave it out "
                "for the method's own."
            )
        if not 0 <= progressive < 1:
            raise OptionError(f"progressive must be from 0 to below 1, got {progressive:g}.")
    elif taps or feature_weight is not None or progressive:
        what = "taps" if taps else "progressive" if progressive else "feature_weight"
        raise OptionError(
            f"method {method} learns from rows, and has no {what}. Leave distil.{what} out, or "
            f"take a method of features: {', '.join(FEATURE_METHODS)}."
        )


def _is_pair_of_paths(tap: object) -> bool:
    if not isinstance(tap, (tuple, list)):
        return False
    return len(tap) == 2 and all(isinstance(path, str) for path in tap)


def taps_of(recipe: Recipe) -> Taps:
    """The paths of a recipe's taps."""
    return [(tap.student, tap.teacher) for tap in recipe.distil.taps]


def teacher_taps_of(recipe: Recipe) -> list[str]:
    """The modules of the teacher that a recipe's method looks at, by path."""
    return sorted({teacher for _, teacher in taps_of(recipe)})


def feature_terms(
    recipe: Recipe,
    heads: Sequence[Head],
    student: nn.Module,
    batch: Batch,
    taught: Mapping[str, Rows],
    *,
    teacher: Teacher | None,
    num_samples: int,
    seed: int,
    who: str,
) -> Objective:
    """What a student of a recipe learns from what is inside: by a feature method, by branches.

    Args: as of `feature_term`.

    Raises:
        ModelError: As `feature_term`.
        ShapeError: As `feature_term`.
    """
    distil = recipe.distil
    method = find_method(distil.method)
    own: Objective = ()
    if distil.branches is not None:
        own = branch_terms(distil.branches, heads, student, batch, seed=seed, who=who)
    if not isinstance(method, FeatureMethod):
        return own
    term = feature_term(
        method,
        read_options(distil.method, distil.options),
        taps_of(recipe),
        student,
        batch,
        taught,
        teacher=teacher,
        weight=distil.feature_weight,
        progressive=distil.progressive,
        num_samples=num_samples,
        seed=seed,
        who=who,
    )
    return (term, *own)


def objective_of(recipe: Recipe, heads: Sequence[Head]) -> Objective:
    """What the students of a recipe learn from; an assistant learns `alone`.

    Raises:
        OptionError: As `objective` and `check_features`.
    """
    distil = recipe.distil
    last, chosen = distil.anneal or Anneal(), find_method(distil.method)
    ever_soft = _ever(distil.soft_weight, last.soft_weight)
    itself = distil.ema is not None or distil.branches is not None
    among_students = distil.mutual_weight > 0 or itself
    if not ever_soft and among_students and chosen is soft_targets:
        if not _ever(distil.hard_weight, last.hard_weight):
            raise OptionError(
                "distil.hard_weight = 0 and distil.soft_weight = 0 leave the last layer of the "
                "students nothing to learn but what they say themselves. Set one of them above 0."
            )
    elif not ever_soft and not isinstance(chosen, FeatureMethod):
        raise OptionError(
            f"distil.soft_weight = 0 leaves nothing of method {distil.method}. Set it above 0."
        )
    check_features(
        distil.method,
        taps_of(recipe),
        hard_weight=distil.hard_weight,
        soft_weight=distil.soft_weight,
        feature_weight=distil.feature_weight,
        progressive=distil.progressive,
    )
    return objective(
        distil.method,
        heads,
        temperature=distil.temperature or recipe.targets.temperature,
        hard_weight=distil.hard_weight,
        soft_weight=distil.soft_weight,
        mutual_weight=distil.mutual_weight,
        ema=distil.ema,
        branches=distil.branches,
        anneal=distil.anneal,
        options=distil.options,
    )


def fitting_methods(recipe: Recipe, heads: Sequence[Head], rows: Mapping[str, Rows]) -> list[str]:
    """The methods that learn from a teacher, for all of these heads, from such rows.

    With the recipe's, where that is a loss of the user's own.
    """
    sparse = any(isinstance(part, Sparse) for part in rows.values())
    own = recipe.distil.method
    known = METHODS | ({own: own_method(own)} if ":" in own else {})
    return [
        name
        for name, method in known.items()
        if method.from_teacher
        and _is_for(method, heads)
        and not (sparse and "dense rows" in method.needs)
    ]


def _is_for(method: Method, heads: Sequence[Head]) -> bool:
    return all(head.space in method.spaces for head in heads)


def check_rows(method: str, rows: Mapping[str, Rows], *, stored: str) -> None:
    """Refuse rows that do not say what the method needs, before the first step.

    Args:
        method: Its name.
        rows: Some of each head, as they will come.
        stored: What holds them, "codec topk", for the message.

    Raises:
        TargetsError: The method needs dense rows, and some are sparse.
    """
    if "dense rows" not in find_method(method).needs:
        return
    for head, said in rows.items():
        if isinstance(said, Sparse):
            fit = [name for name, other in METHODS.items() if "rows" in other.needs]
            raise TargetsError(
                f"method {method} needs every class of a row, and {stored} names only some of "
                f'head {head}. Store them with targets.codec = "dense16" or another codec that '
                "keeps every class, set distil.live = true, or take a method that reads such rows: "
                f"{', '.join(fit)}."
            )
