"""`codec = "auto"`: of the codecs that were tried, the one that fits a budget best."""

import math
import re
from collections.abc import Sequence

from limbeck._errors import OptionError
from limbeck._shapes import check_positive
from limbeck.targets.encoding._try_codecs import Measured

AUTO = "auto"
"""The name of no codec: it is chosen by a budget."""
_UNITS = {"B": 1, "kB": 1e3, "KB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12} | {
    f"{prefix}iB": 2.0 ** (10 * power) for power, prefix in enumerate("KMGT", start=1)
}
_BUDGET = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([kKMGT]?i?B)\s*(/\s*row)?\s*")


def check_choice_of_codec(codec: str, budget: str | None, max_kl: float | None) -> None:
    """Refuse a budget without a choice, and a choice without one.

    Raises:
        OptionError: It says what is missing.
    """
    bounds = budget is not None or max_kl is not None
    if (codec == AUTO) != bounds:
        raise OptionError(
            'codec = "auto" goes with a budget, such as "16 B/row", or with max_kl, in nats a row; '
            f'got codec = "{codec}" and {"one" if bounds else "none"} of them.'
        )
    if budget is not None:
        bytes_per_row_of(budget, rows=1)
    if max_kl is not None:
        check_positive(max_kl=max_kl)


def chosen_by(budget: str | None, max_kl: float | None) -> str:
    """The bounds of a choice, as one would write them; empty if there are none."""
    said = [f"budget {budget}"] if budget is not None else []
    return ", ".join([*said, f"max_kl {max_kl:g}"] if max_kl is not None else said)


def choose(
    measured: Sequence[Measured], *, rows: int, budget: str | None, max_kl: float | None
) -> Measured:
    """The smallest that is faithful enough; or, with a budget alone, the most faithful within it.

    Args:
        measured: What there is to choose from.
        rows: How many rows there will be.
        budget: As in `bytes_per_row_of`; None sets no bound.
        max_kl: Nats per row; None sets no bound.

    Raises:
        OptionError: None fits; the message names the nearest.
    """
    allowed = math.inf if budget is None else bytes_per_row_of(budget, rows)
    within = [one for one in measured if one.bytes_per_row <= allowed]
    if not within:
        smallest = min(measured, key=lambda one: one.bytes_per_row)
        raise OptionError(
            f'no codec keeps these rows within a budget of "{budget}", {allowed:.3g} B a row: the '
            f"smallest, {smallest.named}, takes {smallest.bytes_per_row:.3g} B. Raise "
            "targets.budget."
        )
    if max_kl is None:
        return min(within, key=lambda one: (_error(one), one.bytes_per_row))
    faithful = [one for one in within if one.kl is not None and one.kl <= max_kl]
    if not faithful:
        nearest = min(within, key=_error)
        if nearest.kl is None:
            raise OptionError(
                "max_kl is a bound for rows of classes, and these are numbers. Set targets.budget "
                "instead."
            )
        bound = "" if budget is None else f' and a budget of "{budget}"'
        raise OptionError(
            f"no codec keeps these rows within max_kl = {max_kl:g} nats{bound}: the nearest, "
            f"{nearest.named}, loses {nearest.kl:.3g} in {nearest.bytes_per_row:.3g} B. Raise one "
            "of them."
        )
    return min(faithful, key=lambda one: one.bytes_per_row)


def _error(one: Measured) -> float:
    return one.difference if one.kl is None else one.kl


def bytes_per_row_of(budget: str, rows: int) -> float:
    """What a budget leaves for each row: `16 B/row`, or `20 MB` for all `rows` of them.

    Raises:
        OptionError: It is written otherwise.
    """
    found = _BUDGET.fullmatch(str(budget))
    if found is None or found[2] not in _UNITS:
        raise OptionError(
            'budget must be a number of bytes, a row or in all, such as "16 B/row" or "20 MB", '
            f"got {budget!r}."
        )
    size = float(found[1]) * _UNITS[found[2]]
    return size if found[3] else size / rows
