"""Ask the teacher about what is missing, and store what it says: the work between begin and end."""

import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from limbeck._progress import Progress
from limbeck.data import Samples
from limbeck.targets.asking._answers import Answered, Batches, answers
from limbeck.targets.asking._store import Store, storing
from limbeck.targets.encoding._encoder import Encoder, rows_per_sample_of
from limbeck.targets.format._blocks import RowsPerSample, rows_of_a_sample, shard_schema
from limbeck.targets.format._index import Keys, distinct
from limbeck.targets.format._manifest import Settings
from limbeck.targets.format._remote import Place
from limbeck.targets.format._shard_writer import ShardWriter
from limbeck.targets.format._shards import Shard, index_of
from limbeck.targets.format._state_file import read_states
from limbeck.teachers import Teacher


@dataclass(frozen=True, kw_only=True)
class Processes:
    """Which of several processes this is, that ask copies of one teacher for a part each."""

    index: int = 0
    """0 up to `count`. Process 0 begins and ends the work for all."""
    count: int = 1
    """How many there are."""
    wait: Callable[[], None] = lambda: None
    """Until every process is here."""
    share: Callable[[Any], Any] = lambda own: own
    """What process 0 gives it, in every process."""


@dataclass(frozen=True, kw_only=True)
class Work:
    """Who is asked about what, and how that is stored; the same for whoever does a part of it."""

    teacher: Teacher
    samples: Samples
    settings: Settings
    total: int
    """Of all (sample, view), stored already or not."""
    rows_per_sample: RowsPerSample | None
    """Of what is stored already; None of nothing."""
    number: int
    """Of the first shard that may be written."""


def work_of(
    teacher: Teacher, samples: Samples, settings: Settings, shards: Sequence[Shard]
) -> Work:
    """The work that is begun, of which `shards` are whole."""
    return Work(
        teacher=teacher,
        samples=samples,
        settings=settings,
        total=len(distinct(samples.keys)) * settings.views,
        rows_per_sample=shards[0].rows_per_sample if shards else None,
        number=1 + max((shard.number for shard in shards), default=-1),
    )


def missing(
    keys: Keys, views: int, shards: Sequence[Shard], batch_size: int
) -> Iterator[tuple[Tensor, int]]:
    """What is not in `shards` yet."""
    first = np.sort(np.unique(keys, return_index=True)[1])
    there = index_of(shards)
    for view in range(views):
        absent = first[~there.contain(keys[first], np.full(len(first), view, dtype=np.int32))]
        for start in range(0, len(absent), batch_size):
            yield torch.from_numpy(absent[start : start + batch_size]), view


def ask_here(
    work: Work, place: Place, batches: Batches, processes: Processes, progress: Progress
) -> None:
    """Ask in this process, and in its fellows, for every so-and-so-many-th batch each."""

    def own() -> Iterator[tuple[Tensor, int]]:
        for number, (index, view) in enumerate(batches):
            if number % processes.count == processes.index:
                yield index, view
            else:
                progress.advance(len(index))

    begun_at, asked = time.monotonic(), 0

    def told(samples: int, rows: int, so_far: int) -> None:
        nonlocal asked
        asked += rows
        rate = asked * processes.count / (time.monotonic() - begun_at)
        progress.advance(samples, **{"rows/s": rate, "MB": so_far / 1e6})

    number = work.number + processes.index
    ask_about(work, place, own(), number=number, step=processes.count, told=told)


def ask_about(
    work: Work,
    place: Place,
    batches: Batches,
    *,
    number: int,
    step: int,
    told: Callable[[int, int, int], None],
) -> int:
    """Ask about some batches, and store what is said; returns the bytes of the shards.

    Args:
        work: What this is a part of.
        place: Where shards go.
        batches: What is asked.
        number: Of the first shard.
        step: From one shard's number to the next: as many as there are parts.
        told: Hears after each answer how many samples and rows it had, and of the bytes so far.
    """
    answered = answers(work.teacher, work.samples, batches)
    return keep(work, place, answered, number=number, step=step, told=told)


def keep(
    work: Work,
    place: Place,
    answered: Iterable[Answered],
    *,
    number: int,
    step: int = 1,
    told: Callable[[int, int, int], None] = lambda samples, rows, so_far: None,
) -> int:
    """Store what was answered; see `ask_about`."""
    store, rows = None, 0
    with ExitStack() as stack:
        for index, view, said in answered:
            if store is None:
                per_sample = work.rows_per_sample or rows_per_sample_of(said)
                rows = rows_of_a_sample(per_sample)
                store = stack.enter_context(_store(work, place, per_sample, number, step))
            store.put(work.samples.keys[index.numpy()], view, said)
            told(len(index), len(index) * rows, store.so_far)
    return 0 if store is None else store.written


def _store(
    work: Work, place: Place, rows_per_sample: RowsPerSample, number: int, step: int
) -> AbstractContextManager[Store]:
    settings = work.settings
    states = read_states(place.folder, settings)
    encoder = Encoder(settings, rows_per_sample, states, samples=work.total)
    schema = shard_schema(settings, rows_per_sample)
    writer = ShardWriter(place.folder, schema, number=number, step=step, closed=place.put)
    return storing(encoder, writer, beside=_has_a_processor_to_spare(work.teacher, processes=step))


def _has_a_processor_to_spare(teacher: Teacher, *, processes: int) -> bool:
    """Whether answering leaves one idle: that of a teacher elsewhere does, or on few threads."""
    if not isinstance(teacher.model, nn.Module) or teacher.device.type != "cpu":
        return True
    return processes * torch.get_num_threads() < (os.cpu_count() or 1)
