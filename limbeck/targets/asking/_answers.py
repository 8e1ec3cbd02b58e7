"""What a teacher says of some samples: a batch at a time, or less where memory does not take it."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from torch import Tensor

from limbeck.data import Samples
from limbeck.signals import Inputs
from limbeck.teachers import Teacher

AT_ONCE = 1 << 26
"""Numbers that are answered at once, at most, unless one sample has more: 256 MiB."""
Batches = Iterable[tuple[Tensor, int]]
"""Positions of some samples, `(batch,)`, and which view of them is to be asked."""


class Answered(NamedTuple):
    """What the teacher said of some samples."""

    positions: Tensor
    """`(batch,)`."""
    view: int
    """Which of them that was."""
    answers: dict[str, Tensor]
    """By head."""


def answers(teacher: Teacher, samples: Samples, batches: Batches) -> Iterator[Answered]:
    """Ask about each batch, in as many parts as it takes for their answers to have room.

    The first answer tells how many numbers a sample's has. It is asked about as few samples as
    would have room if each number of an input had a row.

    Args:
        teacher: Who is asked.
        samples: About what.
        batches: What is asked, in this order.
    """
    width = sum(head.size for head in teacher.heads)
    numbers = 0  # of a sample's answers; not known yet
    for index, view in batches:
        batch, start = samples.fetch(index, view), 0
        while start < len(index):
            most = max(1, AT_ONCE // (numbers or width * _longest(batch.inputs)))
            left = len(index) - start
            size = -(-left // -(-left // most))  # parts of one size
            said = teacher.answer(batch.slice(start, start + size).inputs)
            numbers = sum(rows[0].numel() for rows in said.values())
            yield Answered(index[start : start + size], view, said)
            start += size


def _longest(inputs: Inputs) -> int:
    """Numbers of one sample in the largest of its tensors."""
    tensors = inputs.values() if isinstance(inputs, dict) else [inputs]
    return max(1, *(tensor[0].numel() for tensor in tensors))
