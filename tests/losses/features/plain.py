"""Feature losses are checked against plain Python floats: what their formulas are written with.

Also the changes of a batch under which a loss does or does not change.
"""

import math

import torch


def flat(nested):
    """All numbers of nested lists, in order."""
    return [x for part in nested for x in flat(part)] if isinstance(nested, list) else [nested]


def mean(numbers):
    numbers = list(numbers)
    return sum(numbers) / len(numbers)


def dot(a, b):
    return sum(x * y for x, y in zip(a, b, strict=True))


def less(a, b):
    return [x - y for x, y in zip(a, b, strict=True)]


def unit(a):
    length = math.sqrt(dot(a, a))
    return [x / length for x in a]


def squared_gap(a, b):
    return dot(less(a, b), less(a, b))


def softmax(row, temperature=1.0):
    powers = [math.exp(x / temperature) for x in row]
    return [power / sum(powers) for power in powers]


def kl(p, q):
    return sum(a * math.log(a / b) for a, b in zip(p, q, strict=True))


def huber(x):
    return x * x / 2 if abs(x) < 1 else abs(x) - 0.5


def by_rows(plain, *tensors):
    """A plain loss of one row, of each row of the tensors."""
    rows = zip(*(tensor.tolist() for tensor in tensors), strict=True)
    return torch.tensor([plain(*row) for row in rows], dtype=torch.float64)


def maps(*shape):
    """A student's and a teacher's, float64."""
    return torch.randn(2, *(shape or (5, 4, 3, 6)), dtype=torch.float64).unbind()


def rows(batch=7, student=5, teacher=8):
    """Vectors of a batch, of other widths on the two sides."""
    return (
        torch.randn(batch, student, dtype=torch.float64),
        torch.randn(batch, teacher, dtype=torch.float64),
    )


def rotated(vectors):
    """`(..., features)`, turned."""
    size = vectors.shape[-1]
    turn, _ = torch.linalg.qr(torch.randn(size, size, dtype=vectors.dtype))
    return vectors @ turn


def scaled_apart(vectors):
    """Each row at another positive scale."""
    return vectors * torch.linspace(0.5, 3.0, len(vectors), dtype=vectors.dtype)[:, None]
