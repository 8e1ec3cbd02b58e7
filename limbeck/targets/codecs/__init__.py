"""Codecs: rows to arrays that are stored, and back, each with a stated error."""

import inspect
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np

from limbeck._errors import OptionError, did_you_mean
from limbeck.targets.codecs._codec import Arrays as Arrays
from limbeck.targets.codecs._codec import Codec as Codec
from limbeck.targets.codecs._codec import Column as Column
from limbeck.targets.codecs._codec import Seeds as Seeds
from limbeck.targets.codecs._codec import State as State
from limbeck.targets.codecs._codec import Values as Values
from limbeck.targets.codecs._dense import DenseCodec as DenseCodec
from limbeck.targets.codecs._dense import dense16, dense32, real16
from limbeck.targets.codecs._principal import Principal as Principal
from limbeck.targets.codecs._real8 import Real8 as Real8
from limbeck.targets.codecs._selected import Selected as Selected
from limbeck.targets.codecs._square_root import SquareRoot as SquareRoot
from limbeck.targets.codecs._square_root import sqrt_of
from limbeck.targets.codecs._threshold import Threshold as Threshold
from limbeck.targets.codecs._topk import TopK as TopK

CODECS: dict[str, Callable[..., Codec]] = {
    "dense16": dense16,
    "dense32": dense32,
    "principal": Principal,
    "real16": real16,
    "real8": Real8,
    "selected": Selected,
    "sqrt": partial(SquareRoot, name="sqrt"),
    **{f"sqrt{bits}": partial(sqrt_of, bits) for bits in (4, 5, 6, 8, 10, 12)},
    "threshold": Threshold,
    "topk": TopK,
}
"""Every codec by name; called with its options."""


def make_codec(name: str, options: Mapping[str, Any]) -> Codec:
    """The codec of this name, made with these options; numpy's numbers and arrays among them.

    Raises:
        OptionError: The name or an option is unknown, missing or out of range.
    """
    if not isinstance(name, str):
        raise OptionError(
            f"codec must be a name, got {name!r}. Of a codec that is made already, give its name, "
            "and its options as codec_options."
        )
    if not isinstance(options, Mapping):
        raise OptionError(
            f"codec_options must be options by name, such as {{'k': 8}} for topk, got {options!r}."
        )
    if name not in CODECS:
        raise OptionError(
            f"codec must be one of {', '.join(CODECS)}, or auto, which takes one by a budget, got "
            f'"{name}".{did_you_mean(name, CODECS)}'
        )
    known = dict(inspect.signature(CODECS[name]).parameters)
    known.pop("name", None)
    required = {option for option, how in known.items() if how.default is how.empty}
    if not required <= set(options) <= set(known):
        unknown = " and ".join(sorted(set(options) - set(known)))
        missing = ", ".join(f"{option} = ..." for option in sorted(required - set(options)))
        raise OptionError(
            f"codec {name} takes the options: {', '.join(sorted(known)) or 'none'}; got "
            f"{', '.join(sorted(options)) or 'none'}. "
            + (f"Set codec_options = {{ {missing} }}." if missing else f"Leave {unknown} out.")
        )
    return CODECS[name](**{option: _plain(value) for option, value in options.items()})


def _plain(value: Any) -> Any:
    """A number of Python's for one of numpy's: options are written as JSON."""
    return value.tolist() if isinstance(value, np.generic | np.ndarray) else value
