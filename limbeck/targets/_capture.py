"""Ask the teacher once, and keep what it says."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from limbeck._errors import DataError, OptionError, TargetsError
from limbeck._files import storage_errors
from limbeck._progress import Progress, Silence
from limbeck._shapes import check_positive
from limbeck.data import Samples
from limbeck.targets._compare import compare
from limbeck.targets._compress import check_compress
from limbeck.targets._differences import differences
from limbeck.targets._encoder import Encoder, rows_per_sample_of
from limbeck.targets._index import data_fingerprint
from limbeck.targets._manifest import (
    MANIFEST,
    HeadRecord,
    Settings,
    TeacherRecord,
    write_manifest,
)
from limbeck.targets._shard_writer import ShardWriter
from limbeck.targets._shards import Shard, manifest_of, whole_shards
from limbeck.targets._transfer_set import TransferSet
from limbeck.targets.codecs import Codec, make_codec
from limbeck.teachers import Teacher

ASKED_AGAIN = 8
"""Samples that a callable is asked about again when its transfer set is gone on with."""


def capture(
    teacher: Teacher,
    samples: Samples,
    folder: Path | str,
    *,
    compress: str = "softmax",
    temperature: float = 4.0,
    codec: str = "dense16",
    codec_options: Mapping[str, Any] | None = None,
    views: int = 1,
    batch_size: int = 512,
    progress: Progress = Silence(),  # noqa: B008  (holds nothing)
) -> TransferSet:
    """Ask `teacher` about every sample once, and store what it says as a transfer set.

    Interrupted, it goes on where it stopped: rows that are in whole shards are not asked again.
    Done already, it returns at once.

    Args:
        teacher: Who is asked.
        samples: About what. Samples of the same content are asked and stored once.
        folder: Where to; of this transfer set alone.
        compress: "softmax" for logits, "normalised" for probabilities and other scores. Numbers
            of real heads are kept as they are.
        temperature: T > 0. The higher, the more the small probabilities show; 1 is what the
            teacher says.
        codec: A key of `CODECS`: "dense16", "dense32", "sqrt8", ..., "topk".
        codec_options: The codec's own: `{"k": 8}` for topk.
        views: How many views of each sample, from view 0, the sample as it came.
        batch_size: Samples the teacher is asked about at once. It moves speed and memory only.
        progress: Is told how far it has come.

    Raises:
        OptionError: An option is out of range, or does not fit the teacher.
        ModelError: The teacher's answers are not what its heads say, or not what `compress` takes.
        TargetsError: The folder holds rows of something else, or damaged ones.
        StorageError: The folder cannot be written; what is whole stays.
    """
    folder = Path(folder)
    settings = _settings(
        teacher, samples, compress, temperature, make_codec(codec, codec_options or {}), views
    )
    if batch_size < 1:
        raise OptionError(f"batch_size must be 1 or more, got {batch_size}.")
    with storage_errors(folder):
        done = (folder / MANIFEST).exists()
    if done:
        finished = TransferSet(folder)
        _refuse_others(folder, settings, finished.manifest.settings)
        _ask_again(finished, teacher, samples)
        return finished
    with storage_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        for leftover in folder.glob(".*.part"):
            leftover.unlink()
    shards = whole_shards(folder)
    for shard in shards:
        _refuse_others(folder, settings, shard.settings)
    _ask(teacher, samples, folder, settings, shards, batch_size, progress)
    write_manifest(folder, manifest_of(whole_shards(folder)))
    made = TransferSet(folder)
    if shards:
        try:
            _ask_again(made, teacher, samples)
        except TargetsError:
            (folder / MANIFEST).unlink()
            raise
    return made


def _ask_again(targets: TransferSet, teacher: Teacher, samples: Samples) -> None:
    """Refuse rows that a callable does not give now: its name, unlike weights, proves nothing."""
    if not isinstance(teacher.model, nn.Module):
        compare(targets, teacher, samples, limit=ASKED_AGAIN)


def _settings(
    teacher: Teacher,
    samples: Samples,
    compress: str,
    temperature: float,
    codec: Codec,
    views: int,
) -> Settings:
    check_positive(temperature=temperature)
    if views < 1:
        raise OptionError(f"views must be 1 or more, got {views}.")
    if len(samples) == 0:
        raise DataError("there are no samples to ask the teacher about. Give it some.")
    if any(head.space in ("categorical", "binary") for head in teacher.heads):
        check_compress(compress, teacher.outputs)
    for head in teacher.heads:
        codec.columns(head)  # refuses a head that it cannot store
    return Settings(
        teacher=TeacherRecord(fingerprint=teacher.fingerprint, name=_class_name(teacher.model)),
        data=data_fingerprint(samples.keys),
        transform=str(samples.views),
        views=views,
        heads=tuple(HeadRecord.of(head) for head in teacher.heads),
        compress=compress,
        temperature=float(temperature),
        codec=codec.name,
        codec_options=codec.options,
    )


def _class_name(model: Any) -> str:
    kind = type(model)
    name = kind.__qualname__ if isinstance(model, nn.Module) else None
    return str(name or getattr(model, "__qualname__", kind.__qualname__))


def _refuse_others(folder: Path, expected: Settings, got: Settings) -> None:
    found = differences({name: getattr(expected, name) for name in Settings.model_fields}, got)
    if found:
        raise TargetsError(
            f"{folder} holds a transfer set of something else: {'; '.join(found)}. Choose another "
            "folder, or delete this one to capture it anew."
        )


def _ask(
    teacher: Teacher,
    samples: Samples,
    folder: Path,
    settings: Settings,
    shards: Sequence[Shard],
    batch_size: int,
    progress: Progress,
) -> None:
    """Store what is not in `shards` yet."""
    asked = len(np.unique(samples.keys)) * settings.views
    progress.start("targets", asked)
    progress.advance(sum(len(shard.keys) for shard in shards))
    number = 1 + max((shard.number for shard in shards), default=-1)
    encoder: Encoder | None = None
    with ShardWriter(folder, number=number) as writer:
        for index, view in _missing(samples.keys, settings.views, shards, batch_size):
            answers = teacher.answer(samples.fetch(index, view).inputs)
            if encoder is None:
                encoder = Encoder(
                    settings, shards[0].rows_per_sample if shards else rows_per_sample_of(answers)
                )
            for columns, faithfulness in encoder.encode(samples.keys[index.numpy()], view, answers):
                writer.add(encoder.schema, columns, faithfulness)
            progress.advance(len(index))


def _missing(
    keys: NDArray[np.uint64], views: int, shards: Sequence[Shard], batch_size: int
) -> Iterator[tuple[Tensor, int]]:
    """Batches of positions, and the view that is to be asked of them."""
    first = np.sort(np.unique(keys, return_index=True)[1])
    for view in range(views):
        there = [shard.keys[shard.views == view] for shard in shards]
        missing = first[~np.isin(keys[first], np.concatenate(there))] if there else first
        for start in range(0, len(missing), batch_size):
            yield torch.from_numpy(missing[start : start + batch_size]), view
