"""Ask a teacher once, and keep what it says."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from limbeck._outputs import Outputs
from limbeck._progress import Progress, Silence
from limbeck.api._given import Given, TeacherLike, as_teacher
from limbeck.signals import Head
from limbeck.targets import TransferSet
from limbeck.targets import capture as _capture
from limbeck.teachers import Teacher


def capture(
    teacher: TeacherLike,
    data: Any,
    out: str | Path,
    *,
    outputs: Outputs = "logits",
    temperature: float = 4.0,
    codec: str = "dense16",
    codec_options: dict[str, Any] | None = None,
    budget: str | None = None,
    max_kl: float | None = None,
    like: str | Path | None = None,
    views: int = 1,
    heads: Sequence[Head] = (),
    batch_size: int = 512,
    engine: str = "here",
    progress: Progress = Silence(),  # noqa: B008  (it holds nothing)
) -> TransferSet:
    """Ask a teacher for every training sample, once, and keep what it says in the folder `out`.

    Called again with the same arguments it goes on where it stopped, or returns at once.

    Args:
        teacher: A torch module (a Keras model on the torch backend is one), a callable from numpy
            arrays to numpy arrays, or a `Teacher`. A module is frozen.
        data: A `DataSet`, whose training split is taken, or samples.
        out: A folder that is new, or holds targets made by the same call; or the fsspec URL of
            one, such as "s3://bucket/folder".
        outputs: "logits", which are put through a softmax, or "probabilities": non-negative
            scores, which are normalised to sum to 1. A `Teacher` knows its own.
        temperature: T > 0 that the targets are softened with.
        codec: "dense32", "dense16", "sqrt8", ...; or "auto": chosen by `budget` and `max_kl`.
        codec_options: The codec's own options: `{"k": 8}` for topk.
        budget: For "auto": "16 B/row", or "20 MB" for all rows.
        max_kl: For "auto": nats of KL divergence that a row may lose.
        like: Another transfer set, whose codec is taken with all that it learned of its rows: the
            two can be merged.
        views: How many views of each sample to ask for; 1 is the sample as it came.
        heads: What the teacher answers; told from the labels if left out. A `Teacher` knows its
            own.
        batch_size: Samples that are asked at once.
        engine: "here", or "ray": on many machines.
        progress: Who watches.

    Raises:
        ModelError: The teacher's answers are not what they should be.
        TargetsError: The folder holds something else.
    """
    if not heads and isinstance(teacher, Teacher):
        heads = teacher.heads
    given = Given.of(data, heads, labels=False, reads=("train",))
    made = as_teacher(teacher, given.heads, outputs)
    return _capture(
        made,
        given.train,
        out,
        compress="softmax" if made.outputs == "logits" else "normalised",
        temperature=temperature,
        codec=codec,
        codec_options=codec_options,
        budget=budget,
        max_kl=max_kl,
        like=like,
        views=views,
        batch_size=batch_size,
        engine=engine,
        progress=progress,
    )
