"""Megatron-LM's cached log-probabilities: `cpC_dpD__I.tar`.

A tar of process (C, D) holds `_meta.json`, then `ITERATION.pt.zst`: what torch.save made of
{"values", "indices_low", "bit_17"}, each a list with a tensor `(tokens, samples, k)` for each
micro-batch: log-probabilities, and ids in 16 bits and one more. torch.save writes a zip archive
with the numbers of each tensor in a file of its own, and a pickle that says how they belong
together. That pickle is never loaded: its instructions are listed, and the sizes read off.
"""

import io
import pickletools
import re
import tarfile
import zipfile
from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray

from limbeck._errors import TargetsError
from limbeck._files import parse_json
from limbeck._lookup import first_line
from limbeck.targets.importers._cache import Cache, Entries, damaged_cache

_TAR = re.compile(r"cp(\d+)_dp(\d+)__(\d+)\.tar")
_MEMBER = re.compile(r"(\d+)\.pt\.zst")
_TYPES = {"fp16": torch.float16, "bf16": torch.bfloat16, "fp32": torch.float32}
_NOTHING = -1e3
"""A log-probability up to this is a mark that nothing was kept."""
_NUMBERS = ("BININT", "BININT1", "BININT2")
_NOTES = ("BINPUT", "LONG_BINPUT", "MEMOIZE", "MARK")


def megatron(path: Path) -> Cache:
    """The rows of every sample: by iteration, micro-batch, process, and place in the batch.

    That is the order in which Megatron's sampler takes them. Caches that were written with context
    parallelism, where a process holds parts of sequences only, are refused.

    Args:
        path: The folder of the tars.
    """
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
    streams = {
        process: _iterations([tar for _, own, _, tar in sorted(found) if own == process])
        for process in processes
    }
    kept = max(_kept(tar) for _, _, _, tar in found)

    def samples() -> Iterator[Entries]:
        for steps in zip_longest(*(streams[process] for process in processes)):
            if None in steps or len({(number, len(batches)) for number, batches in steps}) > 1:
                raise damaged_cache(path, "its processes do not hold the same iterations")
            for several in zip(*(batches for _, batches in steps), strict=True):
                for ids, probabilities in several:
                    yield from zip(ids.swapaxes(0, 1), probabilities.swapaxes(0, 1), strict=True)

    return Cache(kept=kept, samples=samples())


def _kept(tar: Path) -> int:
    return int(_meta(tar)["k"])


def _meta(tar: Path) -> dict[str, Any]:
    for name, raw in _members(tar):
        if name == "_meta.json":
            try:
                return dict(parse_json(raw)["saver"])
            except (ValueError, KeyError, TypeError) as error:
                raise damaged_cache(tar, f"_meta.json: {first_line(error)}") from error
    raise damaged_cache(tar, "it holds no _meta.json")


def _iterations(tars: list[Path]) -> Iterator[tuple[int, list[Entries]]]:
    """Number and micro-batches, each `(tokens, samples, kept)`, of each iteration of a process."""
    for tar in tars:
        kind = _TYPES[_meta(tar)["save_dtype"]]
        for name, raw in _members(tar):
            if member := _MEMBER.fullmatch(name):
                yield int(member[1]), _micro_batches(raw, kind, tar)


def _members(tar: Path) -> Iterator[tuple[str, bytes]]:
    try:
        with tarfile.open(tar) as opened:
            for member in opened:
                if member.isreg() and (file := opened.extractfile(member)):
                    yield member.name, file.read()
    except (tarfile.TarError, OSError) as error:
        raise damaged_cache(tar, first_line(error)) from error


def _micro_batches(raw: bytes, kind: torch.dtype, tar: Path) -> list[Entries]:
    try:
        with pa.CompressedInputStream(pa.BufferReader(raw), "zstd") as stream:
            saved = zipfile.ZipFile(io.BytesIO(stream.read()))
        names = {name.partition("/")[2]: name for name in saved.namelist()}
        sizes = _sizes(saved.read(names["data.pkl"]))
        count, rest = divmod(len(sizes), 3)
        if rest or not count:
            raise ValueError(f"expected tensors in three lists, got {len(sizes)}")
        arrays = [
            _array(saved.read(names[f"data/{file}"]), size, (kind, torch.uint16, torch.bool)[i])
            for i, of_kind in enumerate((sizes[:count], sizes[count : 2 * count], sizes[-count:]))
            for file, size in of_kind
        ]
    except (pa.ArrowException, zipfile.BadZipFile, OSError, ValueError, KeyError) as error:
        raise damaged_cache(tar, first_line(error)) from error
    found = []
    for values, low, high in zip(
        arrays[:count], arrays[count : 2 * count], arrays[-count:], strict=True
    ):
        ids = low.astype(np.int64) | (high.astype(np.int64) << 16)
        nothing = values <= _NOTHING
        found.append((np.where(nothing, 0, ids), np.where(nothing, 0.0, np.exp(values))))
    return found


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
                if offset or len(size) != 3 or not _in_a_row(size, tuples[1]):
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


def _array(raw: bytes, size: tuple[int, ...], kind: torch.dtype) -> NDArray[Any]:
    tensor = torch.frombuffer(bytearray(raw), dtype=kind).reshape(size)
    return (tensor.double() if kind.is_floating_point else tensor).numpy()
