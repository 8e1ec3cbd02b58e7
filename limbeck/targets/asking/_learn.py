"""What a codec learns before rows are stored, from answers that are then stored themselves."""

from collections.abc import Iterator, Mapping

import numpy as np
import torch
from torch import Tensor

from limbeck._progress import Progress
from limbeck.data import Samples
from limbeck.signals import Head
from limbeck.targets.asking._answers import Answered, answers
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


def learn(
    teacher: Teacher, samples: Samples, settings: Settings, batch_size: int, progress: Progress
) -> tuple[States, list[Answered]]:
    """What the codec learns of each head; and what was asked for that, as much as memory takes.

    Args:
        teacher: Who is asked, if the codec learns anything.
        samples: About some of these, drawn at random.
        settings: Of what is stored.
        batch_size: How many samples are asked about at once, at most.
        progress: Is told how far it has come, if the codec learns anything.
    """
    codec = make_codec(settings.codec, settings.codec_options)
    size = -(-batch_size // 4)  # so that not many more are asked
    asked = _Asked(teacher, samples, size, progress)
    states = {}
    for head in teacher.heads:
        pieces = (
            rows_to_store(one.answers[head.name], head, settings, codec)
            for one in asked.rows_of(head)
        )
        states[head.name] = codec.fit(pieces, head)
    return states, asked.kept


class _Asked:
    """Answers about samples in random order, each of other content.

    Args:
        teacher: Who is asked.
        samples: About which.
        size: How many are asked about at once.
        progress: Is told how far it has come.
    """

    def __init__(self, teacher: Teacher, samples: Samples, size: int, progress: Progress) -> None:
        self.kept: list[Answered] = []
        """The first answers of all."""
        self._teacher = teacher
        self._samples = samples
        self._size = size
        self._progress = progress
        self._room = _KEPT_NUMBERS
        first = np.sort(np.unique(samples.keys, return_index=True)[1])
        order = torch.randperm(len(first), generator=torch.Generator().manual_seed(0))
        self._order = torch.from_numpy(first)[order]
        self._is_shown = False

    def rows_of(self, head: Head) -> Iterator[Answered]:
        """Some samples at a time, as many as this head is learned from."""
        rows = 0
        for one in self._from_the_first():
            if not self._is_shown:
                self._show(one.answers)
            rows += _rows(one.answers[head.name])
            yield one
            self._progress.advance(len(one.positions))
            if rows >= _wanted(head):
                return

    def _from_the_first(self) -> Iterator[Answered]:
        """What was kept, and after that what is asked now."""
        yield from self.kept
        there = sum(len(one.positions) for one in self.kept)
        lots = torch.split(self._order[there:], self._size)
        keeps = True  # what lies beyond one that has no room is not kept either
        for index, view, said in answers(self._teacher, self._samples, ((lot, 0) for lot in lots)):
            numbers = sum(rows.numel() for rows in said.values())
            keeps = keeps and numbers <= self._room
            one = Answered(index, view, said)
            if keeps:
                # A model may answer the next in the same memory.
                copied = {name: rows.clone() for name, rows in said.items()}
                one = Answered(index, view, copied)
                self.kept.append(one)
                self._room -= numbers
            yield one

    def _show(self, said: Mapping[str, Tensor]) -> None:
        """Tell how many samples all heads learn from, which the first answer says."""
        self._is_shown = True
        of_one = {name: max(1, _rows(rows[:1])) for name, rows in said.items()}
        needed = (-(-_wanted(head) // of_one[head.name]) for head in self._teacher.heads)
        self._progress.start("learning", sum(min(count, len(self._order)) for count in needed))


def _wanted(head: Head) -> int:
    """Rows of a head that are learned from."""
    return min(FITTED_ROWS, max(_LEAST_FITTED_ROWS, _FITTED_NUMBERS // head.size))


def _rows(said: Tensor) -> int:
    return said.shape[:-1].numel()
