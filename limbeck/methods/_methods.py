"""Every method of rows by name. A new one is a file beside this one, and a line in `METHODS`."""

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from limbeck._errors import OptionError, did_you_mean
from limbeck._validation import explain, first_fault
from limbeck.methods._beside import find_beside, named
from limbeck.methods._ctkd import ctkd
from limbeck.methods._dist import dist
from limbeck.methods._divergences import (
    alpha_beta,
    jensen_shannon,
    reverse_kl,
    skew_kl,
    skew_reverse_kl,
    total_variation,
)
from limbeck.methods._dkd import dkd
from limbeck.methods._from_labels import label_smoothing, teacher_free
from limbeck.methods._logit_regression import logit_regression
from limbeck.methods._lskd import lskd, lskd_dkd
from limbeck.methods._method import Method, Options
from limbeck.methods._mlkd import mlkd
from limbeck.methods._nkd import nkd
from limbeck.methods._ofa import ofa
from limbeck.methods._own import own_method
from limbeck.methods._soft_targets import soft_targets
from limbeck.methods._wsld import wsld
from limbeck.methods.features import FEATURE_METHODS, FeatureMethod

METHODS: dict[str, Method] = {
    "soft_targets": soft_targets,
    "dkd": dkd,
    "nkd": nkd,
    "lskd": lskd,
    "lskd_dkd": lskd_dkd,
    "ctkd": ctkd,
    "dist": dist,
    "wsld": wsld,
    "ofa": ofa,
    "mlkd": mlkd,
    "logit_regression": logit_regression,
    "reverse_kl": reverse_kl,
    "jensen_shannon": jensen_shannon,
    "skew_kl": skew_kl,
    "skew_reverse_kl": skew_reverse_kl,
    "total_variation": total_variation,
    "alpha_beta": alpha_beta,
    "teacher_free": teacher_free,
    "label_smoothing": label_smoothing,
}
"""Every method of rows by name; those of features are `FEATURE_METHODS`."""


def every_method() -> dict[str, Method | FeatureMethod]:
    """All that `distil.method` can name."""
    return {**METHODS, **FEATURE_METHODS}


def name_here(name: str) -> str | None:
    """What a method is called here that is called so elsewhere; None if none is."""
    return named(name, {own: each.card.called for own, each in every_method().items()})


def find_method(name: str) -> Method | FeatureMethod:
    """The method of that name; of "package.module:function" a loss of the user's own.

    Raises:
        OptionError: There is none.
    """
    if ":" in name:
        return own_method(name)
    known = every_method()
    if name not in known and (own := name_here(name)) is not None:
        raise OptionError(f"{name} is called {own} here. Name it so.")
    if name not in known and (other := find_beside(name)) is not None:
        raise OptionError(
            f"{name} is no method, and stands beside one: set {' and '.join(other.keys)}. "
            f"`limbeck methods {name}` says how."
        )
    if name not in known:
        raise OptionError(
            f"no method is called {name!r}.{did_you_mean(name, known)} There are "
            f"{', '.join(known)}; `limbeck methods` lists them. A loss of your own is "
            '"package.module:function".'
        )
    return known[name]


def read_options(method: str, options: Mapping[str, Any]) -> Options:
    """The options of a method, checked, with the paper's defaults for what is left out.

    Raises:
        OptionError: One is unknown or out of range.
    """
    kind = find_method(method).options
    try:
        return kind.model_validate(dict(options))
    except ValidationError as error:
        fault = first_fault(error)
        if fault["type"] == "extra_forbidden" and fault["loc"] == ("temperature",):
            raise OptionError(
                f"a method's temperature is distil.temperature, and no option of {method}. Set "
                "that, and take distil.options.temperature out."
            ) from None
        if fault["type"] == "extra_forbidden" and not kind.model_fields:
            raise OptionError(
                f"method {method} has no options, got {', '.join(options)}. Take distil.options "
                "out."
            ) from None
        raise OptionError(f"distil.options of {method}: {explain(fault, kind)}") from None
