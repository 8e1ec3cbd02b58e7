"""The loops that numba compiles, where it is installed."""

from functools import cache
from types import ModuleType


@cache
def compiled() -> ModuleType | None:
    """The loops of `_loops`, imported at the first call; None without the extra `fast`."""
    try:
        from limbeck.targets.codecs import _loops
    except ImportError:  # it is not there, or not for this version of numpy
        return None
    return _loops
