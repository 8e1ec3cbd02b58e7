"""What was found: tables to read, notes and warnings to know, and faults to mend before the run."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from limbeck._errors import LimbeckError

Result = TypeVar("Result")
Table = tuple[str, list[str], list[list[str]]]
"""Title, columns, and rows of as many cells."""


@dataclass(frozen=True, kw_only=True)
class Findings:
    """What `examine` returns."""

    tables: list[Table] = field(default_factory=list)
    """What was measured."""
    notes: list[str] = field(default_factory=list)
    """What to keep in mind when reading them."""
    warnings: list[str] = field(default_factory=list)
    """What a run would do as it was told, and that is hardly what was meant."""
    faults: list[str] = field(default_factory=list)
    """What would go wrong, each with its way out; empty when all is in order."""

    def attempt(self, look: Callable[[], Result]) -> Result | None:
        """What `look` returns; where it raises an error of this package, a fault and None."""
        try:
            return look()
        except LimbeckError as error:
            # A teacher's second copy, the one that is trained, has the same faults as the first.
            if str(error) not in self.faults:
                self.faults.append(str(error))
            return None
