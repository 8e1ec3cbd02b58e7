"""From the name of a method, its options and the heads at hand to the terms of an objective."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from limbeck._errors import OptionError, TargetsError
from limbeck.methods._methods import METHODS, find_method, read_options
from limbeck.methods._terms import Objective, Term, supervised, term_name
from limbeck.recipe import Recipe
from limbeck.signals import Head, Rows, Sparse

NO_OPTIONS: Mapping[str, Any] = MappingProxyType({})


def objective(
    method: str,
    heads: Sequence[Head],
    *,
    temperature: float,
    hard_weight: float,
    soft_weight: float,
    options: Mapping[str, Any] = NO_OPTIONS,
) -> Objective:
    """The named method's terms for these heads, and labels where `hard_weight` is above 0.

    Raises:
        OptionError: There is no such method or option, or it is not for one of the heads.
    """
    chosen = find_method(method)
    read = read_options(method, options)
    for head in heads:
        if head.space not in chosen.spaces:
            fit = [name for name in METHODS if _is_for(name, heads)]
            raise OptionError(
                f"method {method} is for heads that are {' or '.join(chosen.spaces)}, and head "
                f"{head.name} is {head.space}. For these heads there are {', '.join(fit)}."
            )
    soft = tuple(
        Term(
            name=term_name("soft", head, heads),
            head=head.name,
            weight=soft_weight,
            with_labels=chosen.with_labels,
            from_teacher=chosen.from_teacher,
            promises=chosen.promises,
            loss=chosen.loss(head, temperature=temperature, options=read),
        )
        for head in heads
    )
    return soft + (supervised(heads, weight=hard_weight) if hard_weight > 0 else ())


def objective_of(recipe: Recipe, heads: Sequence[Head]) -> Objective:
    """What the students of a recipe learn from.

    Raises:
        OptionError: As `objective`.
    """
    distil = recipe.distil
    return objective(
        distil.method,
        heads,
        temperature=distil.temperature or recipe.targets.temperature,
        hard_weight=distil.hard_weight,
        soft_weight=distil.soft_weight,
        options=distil.options,
    )


def fitting_methods(heads: Sequence[Head], rows: Mapping[str, Rows]) -> list[str]:
    """The methods that learn from a teacher, for all of these heads, from such rows."""
    sparse = any(isinstance(part, Sparse) for part in rows.values())
    return [
        name
        for name, method in METHODS.items()
        if method.from_teacher
        and _is_for(name, heads)
        and not (sparse and "dense rows" in method.needs)
    ]


def _is_for(method: str, heads: Sequence[Head]) -> bool:
    return all(head.space in METHODS[method].spaces for head in heads)


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
