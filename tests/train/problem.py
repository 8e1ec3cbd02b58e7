"""A small learning problem, and what it takes to train on it."""

import copy
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import nn

from limbeck.data import ArraySamples
from limbeck.methods import objective, supervised
from limbeck.recipe import Train
from limbeck.signals import Dense, Head
from limbeck.train import Learner, _fit, fit

LABEL = Head(space="categorical", size=3)


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


INPUTS = draw(50, 4)
LABELS = (INPUTS @ draw(4, 3, seed=1)).argmax(1)
LOGITS = INPUTS @ draw(4, 3, seed=2) * 2
SAMPLES = ArraySamples(INPUTS, {"label": LABELS})


def settings(**changed):
    """Three epochs of seven batches, the last of 2 samples."""
    plain = {"epochs": 3, "batch_size": 8, "optimizer": "SGD", "learning_rate": 0.1}
    return Train(**plain | {"schedule": "constant"} | changed)


def model(seed=0, dropout=0.0, outputs=3):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Dropout(dropout), nn.Linear(16, outputs))


def teach(batch):
    return {"label": Dense(values=F.log_softmax(LOGITS[batch.index] / 2, -1), temperature=2.0)}


def soft(hard_weight=0.0, heads=(LABEL,)):
    return objective(
        "soft_targets", heads, temperature=2.0, hard_weight=hard_weight, soft_weight=1.0
    )


def learner(trained, terms=None, name="student", **changed):
    return Learner(name=name, model=trained, objective=terms or supervised([LABEL]), **changed)


def train(trained, samples=SAMPLES, *, terms=None, heads=(LABEL,), seed=5, outputs="logits", **how):
    """Fit one model; what is no argument of `fit` is one of `Train`."""
    named = ("order", "teach", "views", "validate", "higher_is_better", "checkpoint")
    of_fit = {name: how.pop(name) for name in (*named, "log_folder", "progress") if name in how}
    if how.pop("new_views", False):  # two options are called views
        how["views"] = True
    who = learner(trained, terms, outputs=outputs)
    return fit([who], samples, settings(**how), heads=heads, seed=seed, **of_fit)


def same_weights(one, other):
    """Whether two models are equal to the last bit."""
    first, second = one.state_dict(), other.state_dict()
    return first.keys() == second.keys() and all(
        torch.equal(first[name], second[name]) for name in first
    )


def furthest(one, other):
    """The largest difference of two models' weights."""
    pairs = zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    return max(float((a - b).abs().max()) for a, b in pairs)


def twin(trained):
    return copy.deepcopy(trained)


NEVER = 10**9


class StopAfter:
    """An interrupt that comes when it is looked for the given number of times."""

    def __init__(self, looks):
        self.looks = looks

    @property
    def requested(self):
        self.looks -= 1
        return self.looks <= 0


def stopper(monkeypatch):
    """What stops a pass at the given number of looks: one a step, and one an epoch."""

    def patch(looks):
        @contextmanager
        def deferred():
            yield StopAfter(looks)

        monkeypatch.setattr(_fit, "deferred_interrupt", deferred)

    return patch
