"""The run: its stages in order, their records, and what they are summed up to."""

from limbeck.pipeline._curve import draw_curve as draw_curve
from limbeck.pipeline._run import run as run

__all__ = ["run"]
