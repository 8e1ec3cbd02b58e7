"""Every error this package raises on purpose.

LimbeckError
├── OptionError      a value the caller chose is unknown or out of range
├── ShapeError       two things that must fit each other do not
├── RecipeError      a recipe is missing, or says something that does not exist
├── DataError        samples are missing, corrupt, not finite, or out of range
├── LossError        a loss of the user's cannot be called, or is none
├── ModelError       a model cannot be built, loaded or understood
├── TargetsError     a transfer set is damaged, incomplete, or of something else
├── StorageError     a file cannot be written or read: disk full, no permission
├── TrainingError    training cannot go on: a loss is not finite, a term is dead
├── ExtraError       an optional library is not installed
└── Interrupted      the user stopped the run; what was reached is kept

A message says what was expected, then what came, in the caller's names; its last sentence is the
way out. The command line prints the message alone and exits with 2 (130 for `Interrupted`).
"""

import difflib
from collections.abc import Iterable


class LimbeckError(Exception):
    """Base class, for `except limbeck.LimbeckError`."""


class OptionError(LimbeckError, ValueError):
    """A value the caller chose is unknown or out of range."""


class ShapeError(LimbeckError, ValueError):
    """Two things that must fit each other do not."""


class RecipeError(LimbeckError, ValueError):
    """A recipe is missing, or says something that does not exist."""


class DataError(LimbeckError, ValueError):
    """Samples are missing, corrupt, not finite, or out of range."""


class LossError(LimbeckError, ValueError):
    """A loss of the user's cannot be called, or is none."""


class ModelError(LimbeckError, ValueError):
    """A model cannot be built, loaded or understood."""


class TargetsError(LimbeckError, ValueError):
    """A transfer set is damaged, incomplete, or of something else."""


class StorageError(LimbeckError, OSError):
    """A file cannot be written or read."""


class TrainingError(LimbeckError, RuntimeError):
    """Training cannot go on."""


class ExtraError(LimbeckError, ImportError):
    """An optional library is not installed."""


class Interrupted(LimbeckError):
    """The user stopped the run; what was reached is kept on disk."""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A question with the nearest known name, after a space; or "" where none is near.

    In whatever case it is written.
    """
    by_lower = {each.lower(): each for each in known}
    close = difflib.get_close_matches(name.lower(), by_lower, n=1)
    return f" Did you mean {by_lower[close[0]]}?" if close else ""
