"""Rows of a teacher and a student, in every form, and an objective of one method alone."""

import torch
import torch.nn.functional as F

from limbeck.methods import METHODS, mean_terms, objective
from limbeck.signals import Batch, Dense, Head, Sparse

HEADS = {space: Head(name="it", space=space, size=5) for space in ("categorical", "binary", "real")}
LABEL = HEADS["categorical"]
TEMPERATURE = 3.0
CASES = [(name, space) for name, method in METHODS.items() for space in method.spaces]
"""Every method with each space of heads that it is for."""


def draw(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return 2 * torch.randn(*shape, generator=generator, dtype=torch.double)


def labels_of(*shape):
    return torch.arange(torch.Size(shape).numel()).reshape(shape) % 5


def batch_of(labels, **options):
    index = torch.arange(len(labels))
    return Batch(inputs=index, labels={"it": labels}, index=index, **options)


def stored(logits, temperature=TEMPERATURE):
    """A teacher's logits as the dense rows of a transfer set."""
    values = F.log_softmax(logits / temperature, -1)
    return Dense(values=values, temperature=temperature)


def every_class_named(logits, temperature=TEMPERATURE):
    """The same as sparse rows that leave nothing out, the most probable class first."""
    probabilities, ids = torch.softmax(logits / temperature, -1).sort(-1, descending=True)
    tail = torch.zeros_like(probabilities[..., 0])
    return Sparse(ids=ids, probabilities=probabilities, tail=tail, temperature=temperature)


def two_classes_named(logits, temperature=TEMPERATURE):
    """The two most probable classes, and the mass of the others."""
    rows = every_class_named(logits, temperature)
    return Sparse(
        ids=rows.ids[..., :2],
        probabilities=rows.probabilities[..., :2],
        tail=rows.probabilities[..., 2:].sum(-1),
        temperature=temperature,
    )


def rows_of(name, space, logits):
    """The teacher's rows as a method may get them: dense, and sparse if it reads such."""
    if space != "categorical":
        return [Dense(values=logits)]
    sparse = [every_class_named(logits), two_classes_named(logits)]
    return [stored(logits), *(sparse if "rows" in METHODS[name].needs else [])]


def method_alone(name, space="categorical", **options):
    """The terms of a method, without the labels' own."""
    return objective(
        name,
        [HEADS[space]],
        temperature=TEMPERATURE,
        hard_weight=0.0,
        soft_weight=1.0,
        options=options,
    )


def value(terms, student, rows, batch):
    """The mean of the only term."""
    (mean,) = mean_terms(terms, {"it": student}, {"it": rows}, batch).values()
    return mean


def gradient(terms, student, rows, batch):
    """Of that mean, into the student's rows."""
    student = student.clone().requires_grad_()
    (found,) = torch.autograd.grad(value(terms, student, rows, batch), student)
    return found
