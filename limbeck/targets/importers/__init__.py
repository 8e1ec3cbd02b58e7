"""Rows that other tools cached, as transfer sets.

Their rows are found by position, ours by the content of the sample: who imports gives the samples
in the order of the cache, once, and from then on no order matters.
"""

from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import ValidationError

from limbeck._errors import DataError, OptionError, TargetsError
from limbeck._lookup import check_choice
from limbeck._validation import explain, first_fault
from limbeck.data import Samples
from limbeck.signals import Head
from limbeck.targets._write_set import write_set
from limbeck.targets.codecs import Arrays, make_codec
from limbeck.targets.codecs._topk import topk_parts
from limbeck.targets.encoding._encoder import Stored
from limbeck.targets.format._faithfulness import Faithfulness
from limbeck.targets.format._index import data_fingerprint
from limbeck.targets.format._manifest import HeadRecord, Origin, Settings, TeacherRecord
from limbeck.targets.importers._cache import Cache, Entries, Importer
from limbeck.targets.importers._distillkit import DistillKit
from limbeck.targets.importers._megatron import Megatron
from limbeck.targets.importers._tinyvit import TinyViT
from limbeck.targets.reading._transfer_set import TransferSet

IMPORTERS: dict[str, type[Importer]] = {
    "distillkit": DistillKit,
    "megatron": Megatron,
    "tinyvit": TinyViT,
}
"""Every layout by name; its fields are its options."""
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

    A row whose probabilities, as the tool rounded them, sum to more than 1 is divided by its sum;
    one that sums to more than rounding explains is refused.
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
    importer = _importer(layout, options or {})
    if not len(samples):
        raise DataError("there are no samples. Give all of those that the cache was made of.")
    tokens = _tokens(samples)
    cache = importer.read(Path(path), len(samples) * (tokens or 1))
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
    rows = None if cache.transform else tokens
    stored = _stored(cache, samples, made, rows, path)
    return write_set(out, settings, {head: rows}, {head: {}}, stored)


def _importer(layout: str, options: Mapping[str, Any]) -> Importer:
    check_choice("layout", layout, IMPORTERS)
    kind = IMPORTERS[layout]
    if options and not kind.model_fields:
        raise OptionError(f"layout {layout} has no options, got {', '.join(options)}.")
    try:
        return kind.model_validate(dict(options))
    except ValidationError as error:
        raise OptionError(
            f"options of layout {layout}: {explain(first_fault(error), kind)} Give those that the "
            "cache was made with."
        ) from None


def _tokens(samples: Samples) -> int | None:
    """How many each sample has, if they are texts."""
    inputs = samples.fetch(torch.tensor([0])).inputs
    if isinstance(inputs, dict):
        return int(inputs["input_ids"].shape[1]) if "input_ids" in inputs else None
    whole = inputs.dtype in (torch.int32, torch.int64) and inputs.dim() == 2
    return int(inputs.shape[1]) if whole else None


def _stored(
    cache: Cache, samples: Samples, head: Head, rows: int | None, path: Path | str
) -> Iterator[Stored]:
    count = 0
    while several := list(islice(cache.samples, _AT_ONCE)):
        index = torch.arange(count, count + len(several))
        count += len(several)
        if count > len(samples):
            raise _other_number(len(samples), f"{count} or more")
        if cache.sequences is not None:
            _check_tokens(list(islice(cache.sequences, len(several))), samples, index)
        parts = [
            _parts(entries, cache, head, rows or 1, f"sample {number} in {path}")
            for number, entries in enumerate(several, start=int(index[0]))
        ]
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
    if isinstance(inputs, dict) and "input_ids" not in inputs:
        raise DataError(f"the samples have {', '.join(inputs)}, but no input_ids. Give texts.")
    tokens = inputs["input_ids"] if isinstance(inputs, dict) else inputs
    for number, (sequence, given) in enumerate(zip(sequences, tokens.numpy(), strict=True)):
        if not np.array_equal(sequence, given[: len(sequence)]):
            raise DataError(
                f"sample {int(index[number])} is another text than the cache has there. Give the "
                "samples in its order."
            )


def _parts(entries: Entries, cache: Cache, head: Head, rows: int, where: str) -> Arrays:
    """What codec topk stores of the rows of one sample."""
    ids, probabilities = entries
    kept = cache.kept
    if len(ids) > rows:
        raise DataError(
            f"{where} has {len(ids)} rows, but {rows} in the samples. Give them as long as the "
            "cache has them."
        )
    _check(ids >= 0, ids, where, "names class {}, but they count from 0. Make it again.")
    _check(
        ids < head.size,
        ids,
        where,
        f"names class {{}}, got {head.size} classes. Give the number of classes, or the size of "
        "the vocabulary, that the teacher had.",
    )
    possible = np.isfinite(probabilities) & (probabilities >= 0)
    _check(possible, probabilities, where, "has a probability of {}. Make it again.")
    total = probabilities.sum(axis=1, keepdims=True)
    _check(
        total <= cache.most,
        total,
        where,
        f"sums to {{:.4g}}, where rounding leaves {cache.most:.4g} at most. Give the options that "
        "the cache was made with, such as exact_dtype and delta_encoding, if its layout has any; "
        "else make it again.",
    )
    whole = np.zeros((rows, kept))
    whole[: len(ids), : ids.shape[1]] = probabilities
    named = np.zeros((rows, kept), dtype=np.int64)
    named[: len(ids), : ids.shape[1]] = ids
    ordered = np.sort(np.where(whole > 0, named, -1 - np.arange(kept)), axis=1)
    once = ordered[:, 1:] != ordered[:, :-1]
    _check(once, ordered, where, "names class {} twice. Make it again.")
    whole /= np.maximum(whole.sum(axis=1, keepdims=True), 1.0)
    return topk_parts(named, whole, head)


def _check(right: NDArray[np.bool_], found: NDArray[Any], where: str, says: str) -> None:
    """Refuse the first entry, of `(rows, kept)`, that is not right; `says` puts it at {}."""
    if not right.all():
        row, place = np.argwhere(~right)[0]
        raise TargetsError(f"row {row} of {where} {says.format(found[row, place])}")


__all__ = ["IMPORTERS", "Cache", "import_set"]
