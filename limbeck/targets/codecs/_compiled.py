"""The loops that numba compiles, where it is installed."""

from functools import cache
from types import ModuleType


@cache
def compiled() -> ModuleType | None:
    """The loops of `_loops`, imported at the first call; None without the extra `fast`."""
    try:
        from limbeck.targets.codecs import _loops
    except (ImportError, OSError):  # it is not there, or not for this numpy or this machine
        return None
    return _loops
