"""Ask a teacher once what its modules give, and keep that."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from limbeck._progress import Progress, Silence
from limbeck.api._given import Given, TeacherLike, as_teacher
from limbeck.methods.features import inside
from limbeck.signals import Head
from limbeck.targets import TransferSet
from limbeck.targets import capture as _capture
from limbeck.teachers import Teacher

_NUM_SAMPLES = 8
"""Samples that are put through for the shapes."""


def capture_features(
    teacher: TeacherLike,
    data: Any,
    paths: Sequence[str],
    out: str | Path,
    *,
    codec: str = "real8",
    codec_options: Mapping[str, Any] | None = None,
    views: int = 1,
    heads: Sequence[Head] = (),
    batch_size: int = 512,
    progress: Progress = Silence(),  # noqa: B008  (it holds nothing)
) -> TransferSet:
    """Store what modules inside `teacher` give for each sample, as a transfer set of its own.

    `distil(..., features=)` then needs no teacher. Interrupted or killed, it goes on where it
    stopped.

    Args:
        teacher: A torch module. It is left frozen.
        data: The samples that students will be trained on.
        paths: Modules of the teacher: `["layer3"]`.
        out: The transfer set's folder, or its URL.
        codec: "real8", a byte a number; "real16"; "principal"; or "dense32".
        codec_options: The codec's own options.
        views: How many views of each sample to ask for.
        heads: What the teacher answers; told from the labels if left out.
        batch_size: Samples that are asked at once.
        progress: Who watches.

    Raises:
        ModelError: The teacher is no torch module, or has no such module.
        ShapeError: A module gives neither maps, nor tokens, nor vectors.
        TargetsError: The folder holds something else.
    """
    if not heads and isinstance(teacher, Teacher):
        heads = teacher.heads
    given = Given.of(data, heads, labels=False, reads=("train",))
    some = given.train.fetch(torch.arange(min(_NUM_SAMPLES, len(given.train)))).inputs
    return _capture(
        inside(as_teacher(teacher, given.heads, "logits"), some, list(paths)),
        given.train,
        out,
        codec=codec,
        codec_options=codec_options,
        views=views,
        batch_size=batch_size,
        progress=progress,
    )
