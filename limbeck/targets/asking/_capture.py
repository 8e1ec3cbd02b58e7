"""Ask the teacher once, and keep what it says."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from torch import nn

from limbeck._errors import DataError, StorageError, TargetsError
from limbeck._files import only_writer, write_along
from limbeck._lookup import check_choice
from limbeck._progress import Progress, Silence
from limbeck._shapes import check_count, check_positive
from limbeck.data import Samples
from limbeck.signals import Head
from limbeck.targets.asking._answers import AT_ONCE, Answered, Batches
from limbeck.targets.asking._ask import (
    Processes,
    Work,
    ask_here,
    keep,
    missing,
    work_of,
)
from limbeck.targets.asking._learn import learn
from limbeck.targets.asking._ray import ask_with_ray
from limbeck.targets.asking._settle_codec import planned_codec, with_choice, with_codec_of
from limbeck.targets.codecs import Codec
from limbeck.targets.encoding._choose import AUTO
from limbeck.targets.encoding._compress import check_compress
from limbeck.targets.format._differences import differences
from limbeck.targets.format._from_shards import manifest_of
from limbeck.targets.format._index import data_fingerprint
from limbeck.targets.format._manifest import (
    MANIFEST,
    HeadRecord,
    Settings,
    TeacherRecord,
    write_manifest,
)
from limbeck.targets.format._remote import Place, place_of
from limbeck.targets.format._shard_writer import remove_leftovers, salvage
from limbeck.targets.format._shards import begun, index_of, whole_shards
from limbeck.targets.format._state_file import (
    NOTHING,
    States,
    state_in,
    state_path,
    states_in,
    write_states,
)
from limbeck.targets.reading._compare import compare
from limbeck.targets.reading._transfer_set import TransferSet
from limbeck.teachers import Teacher

ASKED_AGAIN = 8
"""Samples that a callable is asked about again when its transfer set is gone on with."""


ENGINES: dict[str, Callable[[Work, Place, Batches, Processes, Progress], None]] = {
    "here": ask_here,
    "ray": ask_with_ray,
}
"""Where the teacher is asked, by name."""


def capture(
    teacher: Teacher,
    samples: Samples,
    folder: Path | str,
    *,
    compress: str = "softmax",
    temperature: float = 4.0,
    codec: str = "dense16",
    codec_options: Mapping[str, Any] | None = None,
    budget: str | None = None,
    max_kl: float | None = None,
    like: Path | str | None = None,
    views: int = 1,
    batch_size: int = 512,
    processes: Processes = Processes(),  # noqa: B008  (frozen)
    engine: str = "here",
    progress: Progress = Silence(),  # noqa: B008  (holds nothing)
) -> TransferSet:
    """Ask `teacher` about every sample once, and store what it says as a transfer set.

    Answers are encoded and written while the teacher answers more, or between. Interrupted or
    killed, it goes on where it stopped: rows in whole blocks are not asked again. Done already, it
    returns at once.

    A codec that learns is told some 16 thousand rows first, a quarter of a batch at a time. They
    are stored when it has learned: stopped before that, nothing is kept, and they are asked again.

    Args:
        teacher: Who is asked.
        samples: About what. Samples of the same content are asked and stored once.
        folder: Where to: a path, or an fsspec URL such as "s3://bucket/folder"; of this transfer
            set alone.
        compress: "softmax" for logits, "normalised" for probabilities and other scores. Numbers
            of real heads are kept as they are.
        temperature: T > 0. The higher, the more the small probabilities show; 1 is what the
            teacher says.
        codec: A key of `CODECS`: "dense16", "dense32", "sqrt8", ..., "topk"; or "auto": some
            thousand rows are tried, and the codec is chosen by `budget` and `max_kl`.
        codec_options: The codec's own: `{"k": 8}` for topk.
        budget: For "auto": "16 B/row", or "20 MB" for all rows; what is stored, keys and all.
        max_kl: For "auto": nats a row that may be lost, above 0.
        like: Another transfer set, or its URL, whose codec is taken, with all that it learned of
            its rows: the two can be merged.
        views: How many views of each sample, from view 0, the sample as it came.
        batch_size: Samples the teacher is asked about at once, or fewer where their answers would
            take more than 256 MiB. It moves speed and memory only.
        processes: Who else asks, into the same folder.
        engine: "here"; or "ray": in every worker of the Ray cluster that is connected, or of one
            that is started on this machine. They must share the folder.
        progress: Is told how far it has come.

    Raises:
        OptionError: An option is out of range, or does not fit the teacher.
        ModelError: The teacher's answers are not what its heads say, or not what `compress` takes.
        TargetsError: The folder holds rows of something else, or damaged ones.
        StorageError: The folder cannot be written, or another process does; what is whole stays.
    """
    place = place_of(folder)
    folder = place.folder
    check_choice("engine", engine, ENGINES)
    check_count(batch_size=batch_size, views=views)
    planned = planned_codec(
        teacher.heads,
        codec=codec,
        codec_options=codec_options or {},
        budget=budget,
        max_kl=max_kl,
        like=like,
    )
    settings = _settings(teacher, samples, compress, temperature, planned, views)
    done = place.open()
    states: States | None = None
    if like is not None:
        settings, states = with_codec_of(TransferSet(like), settings, teacher.heads)
    if codec == AUTO:
        if processes.index == 0:
            place.fetch(place.names())
            settings = with_choice(teacher, samples, settings, folder, budget, max_kl, progress)
        settings = processes.share(settings)
    if done:
        finished = TransferSet(folder)
        _refuse_others(folder, settings, finished.manifest.settings)
        _ask_again(finished, teacher, samples)
        return finished
    place.begin()
    batch_size = min(batch_size, _affordable(samples, teacher.heads))
    goes_on = False
    with ExitStack() as stack:
        if processes.index == 0:
            let_fellows_in = stack.enter_context(only_writer(folder))
            place.pull()
            goes_on = _begin(teacher, samples, place, settings, states, batch_size, progress)
            let_fellows_in()
        processes.wait()
        if processes.index > 0:
            stack.enter_context(write_along(folder))
        place.pull()
        shards = whole_shards(folder)
        state = shards[0].settings.state if shards else state_in(folder)
        settings = settings.model_copy(update={"state": state})
        processes.wait()  # nobody adds a shard before all have seen the same ones
        work = work_of(teacher, samples, settings, shards)
        progress.start("targets", work.total)
        progress.advance(sum(len(shard.keys) for shard in shards))
        batches = missing(samples.keys, views, shards, batch_size)
        ENGINES[engine](work, place, batches, processes, progress)
        processes.wait()
        if processes.index == 0:
            place.pull()
            _finish(folder, settings)
            place.put(MANIFEST)
        processes.wait()
    place.open()
    made = TransferSet(folder)
    if processes.share(goes_on) and shards:
        try:
            _ask_again(made, teacher, samples)
        except TargetsError:
            place.remove(MANIFEST)
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
    """Of the rows that are to be stored; what the codec will learn is not known yet."""
    check_positive(temperature=temperature)
    if len(samples) == 0:
        raise DataError("there are no samples to ask the teacher about. Give it some.")
    if any(head.space in ("categorical", "binary") for head in teacher.heads):
        check_compress(compress, teacher.outputs)
    return Settings(
        teacher=TeacherRecord(fingerprint=teacher.fingerprint, name=_class_name(teacher.model)),
        data=data_fingerprint(samples.keys),
        transform=str(samples.views),
        views=int(views),
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
    # What was learned follows from the others, unless it was brought from elsewhere.
    fields = set(Settings.model_fields) - ({"state"} if expected.state == NOTHING else set())
    found = differences({name: getattr(expected, name) for name in sorted(fields)}, got)
    if found:
        raise TargetsError(
            f"{folder} holds a transfer set of something else: {'; '.join(found)}. Choose another "
            "folder, or delete this one to capture it anew."
        )


def _affordable(samples: Samples, heads: Sequence[Head]) -> int:
    """How many samples' answers have room at once, by what the labels say of a sample's rows."""
    rows = [
        int(samples.labels[head.name].shape[1]) if _has_rows(samples, head) else 1 for head in heads
    ]
    numbers = sum(count * head.size for count, head in zip(rows, heads, strict=True))
    return max(1, AT_ONCE // numbers)


def _has_rows(samples: Samples, head: Head) -> bool:
    labels = samples.labels.get(head.name)
    return labels is not None and head.space == "categorical" and labels.dim() > 1


def _begin(
    teacher: Teacher,
    samples: Samples,
    place: Place,
    settings: Settings,
    states: States | None,
    batch_size: int,
    progress: Progress,
) -> bool:
    """Keep what an interrupted capture left, or let the codec learn what it needs to store.

    What the teacher was asked for that is stored at once. Returns whether there were rows before.

    Args:
        teacher: Who is asked.
        samples: About what.
        place: Where rows will be.
        settings: Of what is stored.
        states: What the codec learned elsewhere; None to let it learn.
        batch_size: Samples that are asked about at once.
        progress: Is told how far the codec has come.
    """
    folder = place.folder
    shards = whole_shards(folder)
    for shard in shards:
        _refuse_others(folder, settings, shard.settings)
    if schema := begun(folder, shards, settings):
        salvage(folder, schema, shards)
        return True
    for name in states_in(folder):
        place.remove(name)  # what was learned for rows that were never stored
    answered: list[Answered] = []
    if states is None:
        states, answered = learn(teacher, samples, settings, batch_size, progress)
    if checksum := write_states(folder, states):
        place.put(state_path(folder, checksum).name)
    settings = settings.model_copy(update={"state": state_in(folder)})
    keep(work_of(teacher, samples, settings, []), place, answered, number=0)
    return False


def _finish(folder: Path, settings: Settings) -> None:
    shards = whole_shards(folder)
    if fault := index_of(shards).fault(views=settings.views, data=settings.data):
        raise StorageError(
            f"files in {folder} were lost while it was written: {fault}. Run the same command "
            "again: only what is missing is asked."
        )
    write_manifest(folder, manifest_of(shards))
    remove_leftovers(folder)
