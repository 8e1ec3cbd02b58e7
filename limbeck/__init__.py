"""Limbeck: knowledge distillation that keeps what the teacher said, and proves what it was worth.

>>> import limbeck
>>> data = limbeck.data.load("digits")
>>> targets = limbeck.capture(teacher, data, "targets", temperature=4.0)
>>> limbeck.distil(student, data, targets, limbeck.Train(epochs=20))
>>> limbeck.evaluate(student, data, teacher=teacher)

Names are imported when they are first used: `import limbeck` alone does not load torch.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from limbeck import data as data
    from limbeck import losses as losses
    from limbeck._errors import LimbeckError as LimbeckError
    from limbeck.api import capture as capture
    from limbeck.api import capture_features as capture_features
    from limbeck.api import distil as distil
    from limbeck.api import evaluate as evaluate
    from limbeck.api import supervise as supervise
    from limbeck.models import load as load
    from limbeck.pipeline import run as run
    from limbeck.pipeline import tune as tune
    from limbeck.proofs import prove as prove
    from limbeck.recipe import Train as Train
    from limbeck.recipe_file import load_recipe as load_recipe
    from limbeck.signals import Head as Head
    from limbeck.targets import TransferSet as TransferSet
    from limbeck.teachers import Teacher as Teacher
    from limbeck.verdict import judge as judge

__version__ = "0.1.0"

_HOME = {
    "Head": "limbeck.signals",
    "LimbeckError": "limbeck._errors",
    "Teacher": "limbeck.teachers",
    "Train": "limbeck.recipe",
    "TransferSet": "limbeck.targets",
    "capture": "limbeck.api",
    "capture_features": "limbeck.api",
    "data": "",
    "distil": "limbeck.api",
    "evaluate": "limbeck.api",
    "judge": "limbeck.verdict",
    "load": "limbeck.models",
    "load_recipe": "limbeck.recipe_file",
    "losses": "",
    "prove": "limbeck.proofs",
    "run": "limbeck.pipeline",
    "supervise": "limbeck.api",
    "tune": "limbeck.pipeline",
}

__all__ = [
    "Head",
    "LimbeckError",
    "Teacher",
    "Train",
    "TransferSet",
    "capture",
    "capture_features",
    "data",
    "distil",
    "evaluate",
    "judge",
    "load",
    "load_recipe",
    "losses",
    "prove",
    "run",
    "supervise",
    "tune",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'limbeck' has no attribute {name!r}")
    if not _HOME[name]:
        return importlib.import_module(f"limbeck.{name}")
    return getattr(importlib.import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return __all__
