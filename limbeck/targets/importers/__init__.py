"""Rows that other tools cached, as transfer sets.

Their rows are found by position, ours by the content of the sample: who imports gives the samples
in the order of the cache, once, and from then on no order matters.
"""

from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from limbeck._errors import DataError, OptionError, TargetsError
from limbeck._lookup import check_choice, check_options
from limbeck.data import Samples
from limbeck.signals import Head
from limbeck.targets._write_set import write_set
from limbeck.targets.codecs import Arrays, make_codec
from limbeck.targets.encoding._encoder import Stored
from limbeck.targets.format._faithfulness import Faithfulness
from limbeck.targets.format._index import data_fingerprint
from limbeck.targets.format._manifest import HeadRecord, Origin, Settings, TeacherRecord
from limbeck.targets.importers._cache import Cache, Entries
from limbeck.targets.importers._distillkit import distillkit
from limbeck.targets.importers._megatron import megatron
from limbeck.targets.importers._tinyvit import tinyvit
from limbeck.targets.reading._transfer_set import TransferSet

IMPORTERS: dict[str, Callable[..., Cache]] = {
    "distillkit": distillkit,
    "megatron": megatron,
    "tinyvit": tinyvit,
}
"""Every layout by name; called with a path and its own options."""
_AT_ONCE = 256


def import_set(
    layout: str,
    path: Path | str,
    out: Path | str,
    *,
    samples: Samples,
    classes: int,
    head: str = "label",
    teacher: str = "unknown",
    options: Mapping[str, Any] | None = None,
) -> TransferSet:
    """Make a transfer set of rows that another tool cached, with codec topk, flagged biased.

    A row whose probabilities, as the tool rounded them, sum to more than 1 is divided by its sum.
    Rows of a sample that the cache does not have, at the end of a shorter text, name nothing.

    Args:
        layout: A key of `IMPORTERS`.
        path: Where the cache lies.
        out: A folder that is new, or its URL.
        samples: What was asked about, in the order of the cache.
        classes: Of the head, or the size of the vocabulary.
        head: Its name.
        teacher: Whose rows they are, for people: no cache says it in a way that can be checked.
        options: The layout's own.

    Raises:
        OptionError: There is no such layout or option.
        DataError: These are not the samples of the cache.
        TargetsError: The cache is not what it must be.
    """
    check_choice("layout", layout, IMPORTERS)
    check_options(
        f"layout {layout}", IMPORTERS[layout], options or {}, section="options", given=["path"]
    )
    cache = IMPORTERS[layout](Path(path), **(options or {}))
    if len(np.unique(samples.keys)) < len(samples):
        raise DataError("some samples are there twice. Give each one once, as the cache has it.")
    made = Head(name=head, space="categorical", size=classes)
    if cache.kept > classes:
        raise OptionError(f"classes must be the {cache.kept} kept ones or more, got {classes}.")
    codec = make_codec("topk", {"k": cache.kept})
    settings = Settings(
        teacher=TeacherRecord(fingerprint="unknown", name=teacher),
        data=data_fingerprint(samples.keys),
        transform=cache.transform or str(samples.views),
        views=1,
        heads=(HeadRecord.of(made),),
        compress="softmax",
        temperature=1.0,
        codec=codec.name,
        codec_options=codec.options,
        origin=Origin(path=(layout,), biased=True, kl_to_teacher=None),
    )
    rows = _rows(samples, cache)
    stored = _stored(cache, samples, made, rows)
    return write_set(out, settings, {head: rows}, {head: {}}, stored)


def _rows(samples: Samples, cache: Cache) -> int | None:
    """How many rows each sample has: one for each token of a text; None for a single one."""
    inputs = samples.fetch(torch.tensor([0])).inputs
    if isinstance(inputs, dict):
        return int(inputs["input_ids"].shape[1])
    whole = inputs.dtype in (torch.int32, torch.int64) and inputs.dim() == 2
    return int(inputs.shape[1]) if whole and cache.transform is None else None


def _stored(cache: Cache, samples: Samples, head: Head, rows: int | None) -> Iterator[Stored]:
    count = 0
    while several := list(islice(cache.samples, _AT_ONCE)):
        index = torch.arange(count, count + len(several))
        count += len(several)
        if count > len(samples):
            raise _other_number(len(samples), f"{count} or more")
        if cache.sequences is not None:
            _check_tokens(list(islice(cache.sequences, len(several))), samples, index)
        parts = [_parts(entries, cache.kept, head, rows or 1) for entries in several]
        columns: dict[str, NDArray[Any]] = {
            f"{head.name}.{name}": np.concatenate([part[name] for part in parts])
            for name in parts[0]
        }
        columns["key"] = samples.keys[index.numpy()]
        columns["view"] = np.zeros(len(several), dtype=np.int32)
        yield columns, Faithfulness(rows=len(several) * (rows or 1))
    if count != len(samples):
        raise _other_number(len(samples), str(count))


def _other_number(given: int, there: str) -> DataError:
    return DataError(
        f"the cache has rows of {there} samples, got {given} samples. Give all of those that it "
        "was made of, in its order."
    )


def _check_tokens(sequences: list[NDArray[Any]], samples: Samples, index: torch.Tensor) -> None:
    inputs = samples.fetch(index).inputs
    tokens = inputs["input_ids"] if isinstance(inputs, dict) else inputs
    for number, (sequence, given) in enumerate(zip(sequences, tokens.numpy(), strict=True)):
        if not np.array_equal(sequence, given[: len(sequence)]):
            raise DataError(
                f"sample {int(index[number])} is another text than the cache has there. Give the "
                "samples in its order."
            )


def _parts(entries: Entries, kept: int, head: Head, rows: int) -> Arrays:
    """What codec topk stores of the rows of one sample."""
    ids, probabilities = entries
    if len(ids) > rows:
        raise DataError(f"a sample has {len(ids)} rows in the cache, but {rows} in the samples.")
    if ids.max(initial=0) >= head.size or ids.min(initial=0) < 0:
        raise TargetsError(
            f"the cache names class {int(ids.max())}, got {head.size} classes. Give the number of "
            "classes, or the size of the vocabulary, that the teacher had."
        )
    if not np.isfinite(probabilities).all():
        raise TargetsError("the cache holds a probability that is not finite. Make it again.")
    whole = np.zeros((rows, kept))
    whole[: len(ids), : ids.shape[1]] = probabilities
    named = np.zeros((rows, kept), dtype=np.int64)
    named[: len(ids), : ids.shape[1]] = ids
    ordered = np.sort(np.where(whole > 0, named, -1 - np.arange(kept)), axis=1)
    if (ordered[:, 1:] == ordered[:, :-1]).any():
        raise TargetsError("the cache names a class twice in one row. Make it again.")
    whole /= np.maximum(whole.sum(axis=1, keepdims=True), 1.0)
    halves = whole.astype(np.float16)
    halves = np.where(halves > whole, np.nextafter(halves, np.float16(0)), halves)
    tail = np.maximum(1.0 - halves.astype(np.float64).sum(axis=1, keepdims=True), 0.0)
    return {
        "ids": named.astype(np.min_scalar_type(head.size - 1)),
        "probabilities": halves,
        "tail": tail.astype(np.float32),
    }


__all__ = ["IMPORTERS", "Cache", "import_set"]
