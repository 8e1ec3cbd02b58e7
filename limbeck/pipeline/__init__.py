"""The run: its stages in order, their records, and what they are summed up to."""

from limbeck.pipeline._curve import draw_curve as draw_curve
from limbeck.pipeline._layers import Layers as Layers
from limbeck.pipeline._layers import find_layers as find_layers
from limbeck.pipeline._run import compare_targets as compare_targets
from limbeck.pipeline._run import make_targets as make_targets
from limbeck.pipeline._run import run as run
from limbeck.pipeline._tune import Tuned as Tuned
from limbeck.pipeline._tune import tune as tune

__all__ = [
    "Layers",
    "Tuned",
    "compare_targets",
    "draw_curve",
    "find_layers",
    "make_targets",
    "run",
    "tune",
]
