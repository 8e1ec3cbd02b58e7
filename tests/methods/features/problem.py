"""Two small models with something inside, and what it takes to learn it."""

import torch
import torch.nn.functional as F
from torch import nn

from limbeck.data import ArraySamples
from limbeck.methods import objective
from limbeck.methods._methods import read_options
from limbeck.methods.features import (
    FEATURE_METHODS,
    feature_term,
    features_of,
    rows_and_features_of,
)
from limbeck.recipe import Train
from limbeck.signals import Batch, Head
from limbeck.taps import tap_name, tapped
from limbeck.teachers import Teacher
from limbeck.train import Learner, fit

LABEL = Head(space="categorical", size=3)


class Maps(nn.Module):
    """Two convolutions of images, 6 x 6 and then 3 x 3; `last` is averaged, `pooled` a vector."""

    def __init__(self, first, second):
        super().__init__()
        self.first = nn.Conv2d(1, first, 3, padding=1)
        self.second = nn.Conv2d(first, second, 3, padding=1)
        self.last = nn.Tanh()
        self.pooled = nn.Identity()
        self.head = nn.Linear(second, 3)

    def forward(self, x):
        x = F.avg_pool2d(self.first(x).tanh(), 2)
        return self.head(self.pooled(self.last(self.second(x)).mean((2, 3))))


class Tokens(nn.Module):
    """A state for each token, and the mean of those that count; called by keywords."""

    def __init__(self, first, second):
        super().__init__()
        self.first = nn.Embedding(7, first)
        self.second = nn.Linear(first, second)
        self.head = nn.Linear(second, 3)

    def forward(self, input_ids, attention_mask):
        states = self.second(self.first(input_ids).tanh()).tanh()
        counts = attention_mask[..., None].float()
        return self.head((states * counts).sum(1) / counts.sum(1))


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


IMAGES = draw(40, 1, 6, 6)
LABELS = torch.arange(40) % 3
SAMPLES = ArraySamples(IMAGES, {"label": LABELS})
IDS = torch.randint(1, 7, (40, 5), generator=torch.Generator().manual_seed(3))
KEPT = torch.arange(5) < torch.tensor([5, 3, 4, 5, 2]).repeat(8)[:, None]
TEXTS = ArraySamples({"input_ids": IDS, "attention_mask": KEPT.long()}, {"label": LABELS})

MAPS = [("first", "first"), ("second", "second")]
"""Two taps; of maps or tokens."""
VECTORS = [("pooled", "pooled")]
LAST = [("last", "last")]
"""What the last layer reads, averaged."""
TAKES = {
    "catkd": LAST,
    "srrl": LAST,
    "simkd": [("second", "second")],
    "minilm": [("first", "first"), ("first", "first"), ("second", "second")],
    "tinybert": [("first", "first"), ("first", "first"), ("second", "second")],
}
"""Methods that take these taps and no others."""
WEIGHTS = {"ab": 3e-3, "ofd": 3e-3, "mgd": 3e-3}
"""Of losses that are sums over all numbers of a map."""
WIDTHS = {"simkd": (5, 6)}
"""Of students for methods that need the teacher's."""
OPTIONS = {"minilm": {"relation_heads": 1}, "tinybert": {"heads": 1}}
"""Options without which a method does not fit these models."""


def kind_for(name):
    """The model that has what a method is for."""
    return Maps if "maps" in FEATURE_METHODS[name].kinds else Tokens


def taps_for(name):
    """Two taps, or what it takes."""
    return TAKES.get(name, MAPS)


def pair_for(name, seed=0, kind=None):
    """A student, and a teacher, that a method fits."""
    kind = kind or kind_for(name)
    return made(kind, *WIDTHS.get(name, (3, 4)), seed=seed), teacher(kind)


def made(kind, *widths, seed=0):
    torch.manual_seed(seed)
    return kind(*widths)


def student(kind=Maps, seed=0):
    return made(kind, 3, 4, seed=seed)


def teacher(kind=Maps, seed=9):
    return Teacher(made(kind, 5, 6, seed=seed), [LABEL])


def images(index, **options):
    index = torch.as_tensor(index)
    return Batch(inputs=IMAGES[index], labels={"label": LABELS[index]}, index=index, **options)


def texts(index, ids=IDS, **options):
    index = torch.as_tensor(index)
    inputs = {"input_ids": ids[index], "attention_mask": KEPT[index].long()}
    return Batch(inputs=inputs, labels={"label": LABELS[index]}, index=index, **options)


def batch_for(model, index, **options):
    plain = model.model if isinstance(model, Teacher) else model
    return (texts if isinstance(plain, Tokens) else images)(index, **options)


def term_of(
    name,
    who,
    whose,
    *,
    taps=None,
    seed=7,
    num_samples=40,
    weight=None,
    batch=None,
    progressive=0.0,
    **options,
):
    """The term of a method for one student, as a pass makes it."""
    taps = taps or taps_for(name)
    options = OPTIONS.get(name, {}) | options
    batch = batch or batch_for(who, [0, 1, 2, 3])
    return feature_term(
        FEATURE_METHODS[name],
        read_options(name, options),
        taps,
        who,
        batch,
        features_of(whose, batch.inputs, [path for _, path in taps]),
        teacher=whose,
        weight=weight,
        progressive=progressive,
        num_samples=num_samples,
        seed=seed,
    )


def sides(term, who, whose, batch):
    """What student and teacher say of a batch, as `values` of a term takes it."""
    with tapped(who, term.student_taps, who="student") as seen:
        who(**batch.inputs) if isinstance(batch.inputs, dict) else who(batch.inputs)
    ours = {tap_name(path): tensor for path, tensor in seen.items()}
    return ours, features_of(whose, batch.inputs, term.teacher_taps)


def values(term, who, whose, batch):
    return term.values(*sides(term, who, whose, batch), batch)


def learner(name, who, whose, *, called="student", taps=None, hard_weight=0.5, **options):
    options = OPTIONS.get(name, {}) | options
    rows = objective(
        name, [LABEL], temperature=2.0, hard_weight=hard_weight, soft_weight=1.0, options=options
    )
    # So strong that it is seen, and not so strong that nothing else is.
    weight = WEIGHTS.get(name, 1.0)
    term = term_of(name, who, whose, taps=taps, weight=weight, **options)
    return Learner(name=called, model=who, objective=(*rows, term))


def teach(whose, paths=("first", "last", "pooled", "second")):
    def said(batch):
        there = [path for path in paths if hasattr(whose.model, path)]
        return rows_and_features_of(whose, batch.inputs, there)

    return said


def train(learners, whose, **how):
    """Two epochs of five batches."""
    of_fit = {name: how.pop(name) for name in ("checkpoint", "order") if name in how}
    plain = {"epochs": 2, "batch_size": 8, "optimizer": "SGD", "learning_rate": 0.05}
    settings = Train(**plain | {"schedule": "constant"} | how)
    samples = TEXTS if isinstance(whose.model, Tokens) else SAMPLES
    return fit(learners, samples, settings, heads=[LABEL], seed=5, teach=teach(whose), **of_fit)
