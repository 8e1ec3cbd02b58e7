"""Megatron-LM's cached log-probabilities: `cpC_dpD__I.tar`.

A tar of process (C, D) holds `_meta.json`, then `ITERATION.pt.zst`: what torch.save made of
{"values", "indices_low", "bit_17"}, each a list with a tensor `(tokens, samples, k)` for each
micro-batch: log-probabilities, and ids in 16 bits and one more. torch.save writes a zip archive
with the numbers of each tensor in a file of its own, and a pickle that says how they belong
together. That pickle is never loaded: its instructions are listed, and the sizes read off.
"""

import io
import math
import pickletools
import re
import tarfile
import zipfile
from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from limbeck._errors import DataError, TargetsError
from limbeck._files import parse_json
from limbeck._lookup import first_line
from limbeck._validation import explain, first_fault
from limbeck.targets.importers._cache import (
    Cache,
    Entries,
    Importer,
    damaged_cache,
    most_if_rounded,
)

_TAR = re.compile(r"cp(\d+)_dp(\d+)__(\d+)\.tar")
_MEMBER = re.compile(r"(\d{1,18})\.pt\.zst")
_TYPES = {"fp16": torch.float16, "bf16": torch.bfloat16, "fp32": torch.float32}
_NOTHING = -1e3
"""A log-probability up to this is a mark that nothing was kept."""
_PICKLE = 4 << 20
"""Bytes in which the pickle ends: it takes some 200 of each tensor."""
_RECORD = 1 << 10
"""Bytes, at most, that the archive takes to name a file of its own."""
_RECORDS = 16
"""Files of the archive, at most, that hold no tensor."""
_NUMBERS = ("BININT", "BININT1", "BININT2")
_NOTES = ("BINPUT", "LONG_BINPUT", "MEMOIZE", "MARK")


class _Saver(BaseModel):
    model_config = ConfigDict(frozen=True, strict=True)

    k: Annotated[int, Field(ge=1)]
    save_dtype: Literal["fp16", "bf16", "fp32"]


class _Meta(BaseModel):
    saver: _Saver


class Megatron(Importer):
    """The rows of every sample: by iteration, micro-batch, process, and place in the batch.

    That is the order in which Megatron's sampler takes them. Caches that were written with context
    parallelism, where a process holds parts of sequences only, are refused.
    """

    def read(self, path: Path, rows: int) -> Cache:
        """The folder of the tars. See `Importer`."""
        tars = [(tar, _TAR.fullmatch(tar.name)) for tar in sorted(path.glob("*.tar"))]
        found = [(int(name[3]), int(name[2]), int(name[1]), tar) for tar, name in tars if name]
        if not found:
            raise TargetsError(f"{path} holds no cpC_dpD__I.tar of Megatron-LM. Name their folder.")
        if any(context for _, _, context, _ in found):
            raise TargetsError(
                f"{path} was written with context parallelism: each tar holds parts of sequences, "
                "which cannot be put together here. Write it with --context-parallel-size 1."
            )
        processes = sorted({process for _, process, _, _ in found})
        streams = [
            _iterations([tar for _, own, _, tar in sorted(found) if own == process], rows)
            for process in processes
        ]
        kept = max(_saver(tar).k for _, _, _, tar in found)
        return Cache(kept=kept, most=most_if_rounded(kept), samples=_samples(path, streams))


def _samples(path: Path, streams: list[Iterator[tuple[int, list[Entries]]]]) -> Iterator[Entries]:
    """What several processes wrote, put together."""
    for steps in zip_longest(*streams):
        if None in steps or len({(number, len(batches)) for number, batches in steps}) > 1:
            raise damaged_cache(path, "its processes do not hold the same iterations")
        for several in zip(*(batches for _, batches in steps), strict=True):
            for ids, probabilities in several:
                yield from zip(ids.swapaxes(0, 1), probabilities.swapaxes(0, 1), strict=True)


def _saver(tar: Path) -> _Saver:
    """How the rows of a tar were kept."""
    for name, raw in _members(tar):
        if name == "_meta.json":
            try:
                return _Meta.model_validate(parse_json(raw)).saver
            except ValidationError as error:
                why = explain(first_fault(error), _Meta).removesuffix(".")
            except ValueError as error:
                why = first_line(error)
            raise damaged_cache(tar, f"_meta.json: {why}")
    raise damaged_cache(tar, "it holds no _meta.json")


def _iterations(tars: list[Path], rows: int) -> Iterator[tuple[int, list[Entries]]]:
    """Number and micro-batches, each `(tokens, samples, kept)`, of each iteration of a process."""
    for tar in tars:
        saver = _saver(tar)
        for name, raw in _members(tar):
            if member := _MEMBER.fullmatch(name):
                try:
                    batches = _micro_batches(raw, saver, rows, f"{name} of {tar}")
                except DataError:
                    raise
                except (
                    pa.ArrowException,
                    zipfile.BadZipFile,
                    OSError,
                    ValueError,
                    KeyError,
                    RuntimeError,
                ) as error:
                    raise damaged_cache(tar, f"{name}: {first_line(error)}") from error
                yield int(member[1]), batches


def _members(tar: Path) -> Iterator[tuple[str, bytes]]:
    try:
        room = tar.stat().st_size
        with tarfile.open(tar, "r:") as opened:
            for member in opened:
                if member.size > room:
                    raise damaged_cache(tar, f"{member.name} is said to be larger than the tar is")
                if member.isreg() and (file := opened.extractfile(member)):
                    yield member.name, file.read()
    except (tarfile.TarError, OSError) as error:
        raise damaged_cache(tar, first_line(error)) from error


def _micro_batches(raw: bytes, saver: _Saver, rows: int, where: str) -> list[Entries]:
    types = (_TYPES[saver.save_dtype], torch.uint16, torch.bool)
    with pa.CompressedInputStream(pa.BufferReader(raw), "zstd") as stream:
        head = stream.read(_PICKLE)
        tensors = _sizes(_first_file(head))
        count, rest = divmod(len(tensors), 3)
        if rest or not count:
            raise ValueError(f"expected tensors in three lists, got {len(tensors)}")
        sizes = [size for _, size in tensors[:count]]
        if sizes * 3 != [size for _, size in tensors]:
            raise ValueError("its three lists are of tensors of other sizes")
        if not all(size[2] <= saver.k for size in sizes):
            raise ValueError(f"it keeps {max(size[2] for size in sizes)} entries, not {saver.k}")
        if (claimed := sum(size[0] * size[1] for size in sizes)) > rows:
            raise DataError(
                f"{where} has {claimed} rows, but all samples together {rows}. Give all of those "
                "that the cache was made of."
            )
        numbers = sum(map(math.prod, sizes)) * sum(kind.itemsize for kind in types)
        whole = head + stream.read(numbers + (len(tensors) + _RECORDS) * _RECORD)
        if stream.read(1):
            raise ValueError("it unpacks to more than its tensors take")
    saved = zipfile.ZipFile(io.BytesIO(whole))
    names = {name.partition("/")[2]: name for name in saved.namelist()}
    arrays = [
        _array(saved, names[f"data/{file}"], size, types[place // count])
        for place, (file, size) in enumerate(tensors)
    ]
    found = []
    for values, low, high in zip(
        arrays[:count], arrays[count : 2 * count], arrays[-count:], strict=True
    ):
        ids = low.astype(np.int64) | (high.astype(np.int64) << 16)
        nothing = values <= _NOTHING
        found.append((np.where(nothing, 0, ids), np.where(nothing, 0.0, np.exp(values))))
    return found


def _first_file(archive: bytes) -> bytes:
    """From where the pickle begins, which torch.save writes first, and does not compress."""
    name, extra = (int.from_bytes(archive[at : at + 2], "little") for at in (26, 28))
    if archive[:4] != b"PK\3\4" or not archive[30 : 30 + name].endswith(b"/data.pkl"):
        raise ValueError("it does not begin as torch.save writes it")
    return archive[30 + name + extra :]


def _sizes(pickle: bytes) -> list[tuple[str, tuple[int, ...]]]:
    """File and size of each tensor, in the order of the lists, read off a pickle's instructions.

    A tensor is: the name of its file, in what refers to it (BINPERSID); where in it the tensor
    begins; its size; its strides.
    """
    found = []
    file = text = ""
    numbers: list[int] = []
    tuples: list[list[int]] = []
    for instruction, argument, _ in pickletools.genops(pickle):
        name = instruction.name
        if name in ("BINUNICODE", "SHORT_BINUNICODE"):
            text = str(argument) if str(argument).isdecimal() else text
        elif name == "BINPERSID":
            file, numbers, tuples = text, [], []
        elif not file or name in _NOTES:
            continue
        elif name in _NUMBERS:
            numbers.append(int(argument or 0))
        elif name.startswith("TUPLE") and len(tuples) < 2:
            tuples.append(numbers)
            numbers = []
            if len(tuples) == 2:
                offset, *size = tuples[0]
                if offset or len(size) != 3 or min(size) < 1 or not _in_a_row(size, tuples[1]):
                    raise ValueError(f"tensor {file} does not lie as torch.save writes it")
                found.append((file, tuple(size)))
                file = ""
        else:
            raise ValueError(f"tensor {file} is described by {name}, which torch.save never writes")
    return found


def _in_a_row(size: list[int], strides: list[int]) -> bool:
    """Whether numbers lie one after the other; a stride along an axis of one moves nothing."""
    expected = (size[1] * size[2], size[2], 1)
    return all(
        one == 1 or stride == wanted
        for one, stride, wanted in zip(size, strides, expected, strict=True)
    )


def _array(
    saved: zipfile.ZipFile, name: str, size: tuple[int, ...], kind: torch.dtype
) -> NDArray[Any]:
    there = saved.getinfo(name)
    if (
        there.compress_type != zipfile.ZIP_STORED
        or there.file_size != math.prod(size) * kind.itemsize
    ):
        raise ValueError(f"{name} does not hold {' x '.join(map(str, size))} numbers")
    tensor = torch.frombuffer(bytearray(saved.read(name)), dtype=kind).reshape(size)
    return (tensor.double() if kind.is_floating_point else tensor).numpy()
