"""Small learning problems in every form, and loops by hand to compare with."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import Dataset, TensorDataset

from limbeck import distil, supervise
from limbeck._progress import Silence
from limbeck.data import ArraySamples, DataSet
from limbeck.signals import Head
from tests.train.problem import INPUTS, LABEL, LABELS, draw

IMAGES = draw(50, 3, 3, seed=8)
PRICES = INPUTS @ draw(4, 1, seed=6)
KIND, PRICE = (
    Head(name="kind", space="categorical", size=3),
    Head(name="price", space="real", size=1),
)
ORDER = torch.randperm(50, generator=torch.Generator().manual_seed(4))
EXACT = {"codec": "dense32", "temperature": 2.0}
TRAINERS = pytest.mark.parametrize("trained_by", ["distil", "supervise"])


class Watched(ArraySamples):
    """Samples that remember which were asked for, and in which view."""

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self.asked = []

    def fetch(self, index, view=0):
        self.asked.append((index, view))
        return super().fetch(index, view)


class Items(Dataset):
    """A map-style torch dataset of pairs."""

    def __len__(self):
        return len(INPUTS)

    def __getitem__(self, place):
        return INPUTS[place], int(LABELS[place])


class TwoHeads(nn.Module):
    def __init__(self, seed=0):
        super().__init__()
        torch.manual_seed(seed)
        self.kind, self.price = nn.Linear(4, 3), nn.Linear(4, 1)

    def forward(self, x):
        return {"kind": self.kind(x), "price": self.price(x)}


class Watch(Silence):
    """Who remembers what is told."""

    def __init__(self):
        self.started, self.advanced = [], 0

    def start(self, name, total):
        self.started.append((name, total))

    def advance(self, steps, **numbers):
        self.advanced += steps


def split(labels=LABELS, inputs=INPUTS, **options):
    return ArraySamples(inputs, {"label": labels}, **options)


def data_set(train=None, *, validation=None, test=None, head=LABEL):
    """A data set whose three splits differ, unless told otherwise."""
    return DataSet(
        train=split() if train is None else train,
        validation=split(LABELS[:20], INPUTS[:20]) if validation is None else validation,
        test=split(LABELS[20:30], INPUTS[20:30]) if test is None else test,
        heads=(head,),
    )


SAME = {
    "tensors": lambda: (INPUTS, LABELS),
    "numpy": lambda: (INPUTS.numpy(), LABELS.numpy()),
    "a tensor dataset": lambda: TensorDataset(INPUTS, LABELS),
    "a dataset of items": Items,
    "samples": split,
    "a data set": data_set,
}
"""The same training samples, as users may have them."""


def rows(targets, samples, name="label", view=0):
    """What is stored of these samples, as a dense head's values."""
    return targets.read(targets.positions(samples.keys, view))[name].values.float()


def train_by(name, trained, targets, how, *, data=None, **options):
    """Train `trained` by the function of that name."""
    data = (INPUTS, LABELS) if data is None else data
    if name == "distil":
        return distil(trained, data, targets, how, **options)
    return supervise(trained, data, how, **options)


def by_hand(trained, batches, loss, optimizer=torch.optim.SGD, **options):
    """The loop that everyone writes, over these batches."""
    steps = optimizer(trained.parameters(), **{"lr": 0.1} | options)
    for index, view in batches:
        steps.zero_grad()
        loss(trained, index, view).backward()
        steps.step()
    return trained


def softened(student, teacher, temperature):
    """T² KL(teacher || student), a row each."""
    ours, theirs = (
        F.log_softmax(student / temperature, -1),
        F.log_softmax(teacher / temperature, -1),
    )
    return temperature**2 * (theirs.exp() * (theirs - ours)).sum(-1)


def accuracy(trained, where):
    """The fraction of these samples that `trained` is right about."""
    with torch.no_grad():
        return float((trained(INPUTS[where]).argmax(-1) == LABELS[where]).double().mean())
