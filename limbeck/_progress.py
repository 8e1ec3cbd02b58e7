"""What long work tells whoever is watching. Only the command line prints."""

from typing import Protocol


class Progress(Protocol):
    """Something that shows how far work has come."""

    def start(self, name: str, total: int) -> None:
        """Begin a piece of work of `total` steps; the one before it, if any, is over."""

    def advance(self, steps: int, **numbers: float) -> None:
        """Say that `steps` more are done, and what there is to see, such as `loss=0.1`."""

    def say(self, message: str) -> None:
        """Tell the user something that stays on the screen."""

    def warn(self, message: str) -> None:
        """Tell the user something that needs their attention."""


class Silence:
    """A `Progress` that shows nothing."""

    def start(self, name: str, total: int) -> None:
        """Show nothing."""

    def advance(self, steps: int, **numbers: float) -> None:
        """Show nothing."""

    def say(self, message: str) -> None:
        """Show nothing."""

    def warn(self, message: str) -> None:
        """Show nothing."""
