"""What a codec learns before rows are stored, from answers that are then stored themselves."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from limbeck.data import Samples
from limbeck.signals import Head
from limbeck.targets.codecs import make_codec
from limbeck.targets.encoding._encoder import rows_to_store
from limbeck.targets.format._manifest import Settings
from limbeck.targets.format._state_file import States
from limbeck.teachers import Teacher

FITTED_ROWS = 16384
"""Rows of each head, about, that a codec learns from before any is stored."""
_FITTED_NUMBERS = 1 << 25
"""Of large vocabularies fewer, for as many numbers, about: a byte less in a thousand would be
won with more."""
_LEAST_FITTED_ROWS = 2048
"""But no fewer than these."""
_KEPT_NUMBERS = 1 << 26
"""Numbers that are kept to be stored, at most: 256 MiB. What goes beyond is asked again."""


class Answered(NamedTuple):
    """What the teacher said of some samples."""

    positions: Tensor
    """`(batch,)`."""
    view: int
    """Which of them that was."""
    answers: dict[str, Tensor]
    """By head."""


def learn(
    teacher: Teacher, samples: Samples, settings: Settings, batch_size: int
) -> tuple[States, list[Answered]]:
    """What the codec learns of each head; and what was asked for that, as much as memory takes.

    Args:
        teacher: Who is asked, if the codec learns anything.
        samples: About some of these, drawn at random.
        settings: Of what is stored.
        batch_size: How many samples are asked about at once, at most.
    """
    codec, asked = make_codec(settings.codec, settings.codec_options), _Asked(teacher, samples)
    states = {}
    for head in teacher.heads:
        pieces = (
            rows_to_store(one.answers[head.name], head, settings, codec)
            for one in asked.rows_of(head, -(-batch_size // 4))  # so that not many more are asked
        )
        states[head.name] = codec.fit(pieces, head)
    return states, asked.kept


class _Asked:
    """Answers about samples in random order, each of other content."""

    def __init__(self, teacher: Teacher, samples: Samples) -> None:
        self.kept: list[Answered] = []
        self._teacher = teacher
        self._samples = samples
        self._room = _KEPT_NUMBERS

    def rows_of(self, head: Head, size: int) -> Iterator[Answered]:
        """`size` samples at a time, as many as this head is learned from."""
        first = np.sort(np.unique(self._samples.keys, return_index=True)[1])
        order = torch.randperm(len(first), generator=torch.Generator().manual_seed(0))
        wanted = min(FITTED_ROWS, max(_LEAST_FITTED_ROWS, _FITTED_NUMBERS // head.size))
        rows = 0
        lots = torch.split(torch.from_numpy(first)[order], size)
        for number, index in enumerate(lots):
            if rows >= wanted:
                return
            answered = self.kept[number] if number < len(self.kept) else self._ask(number, index)
            rows += answered.answers[head.name].shape[:-1].numel()
            yield answered

    def _ask(self, number: int, index: Tensor) -> Answered:
        answers = self._teacher.answer(self._samples.fetch(index).inputs)
        numbers = sum(rows.numel() for rows in answers.values())
        if number == len(self.kept) and numbers <= self._room:
            # A model may answer the next in the same memory.
            answers = {name: rows.clone() for name, rows in answers.items()}
            self.kept.append(Answered(index, 0, answers))
            self._room -= numbers
        return Answered(index, 0, answers)
