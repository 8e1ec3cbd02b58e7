"""DistillKit's compressed log-probabilities in Parquet files `data_N.parquet`.

One line is a text: `input_ids`; and of each token `bytepacked_indices`, k vocabulary ids of
ceil(log2 d) bits, most significant first; and `compressed_logprobs`: the largest `exact_k`
log-probabilities, falling; coefficients of a polynomial in the place that continues them; and
residuals, quantised in bins. With `delta_encoding` each number is the step from the one before.
The settings stand nowhere in the files: they are the user's to give.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from limbeck._errors import OptionError, TargetsError
from limbeck._lookup import first_line
from limbeck.targets.importers._cache import Cache, Entries, damaged_cache

_TYPES = {
    "float16": torch.float16,
    "bfloat16": torch.bfloat16,
    "float32": torch.float32,
    "float64": torch.float64,
}
_COLUMNS = ["input_ids", "compressed_logprobs", "bytepacked_indices"]


def distillkit(
    path: Path,
    *,
    d: int,
    k: int,
    exact_k: int,
    exact_dtype: str = "float32",
    polynomial_terms: Sequence[int | str] = (),
    term_dtype: str = "float32",
    residual_bins: Sequence[Mapping[str, Any]] = (),
    delta_encoding: bool = True,
    normalize_t: bool = False,
) -> Cache:
    """The rows of every text, in the order of the files. Options are named as DistillKit does.

    Args:
        path: The folder of `data_N.parquet`, or one file.
        d: Size of the vocabulary.
        k: Entries that were kept.
        exact_k: How many of them as they are.
        exact_dtype: "float16", "bfloat16", "float32" or "float64".
        polynomial_terms: Powers of the place, or "sqrt" or "exp" of it.
        term_dtype: Of the coefficients.
        residual_bins: `scale_dtype`, `element_bits` and `num_elements` of each.
        delta_encoding: Whether steps are stored.
        normalize_t: Whether places are 0..1.
    """
    for name, given in (("exact_dtype", exact_dtype), ("term_dtype", term_dtype)):
        if given not in _TYPES:
            raise OptionError(f"{name} must be one of {', '.join(_TYPES)}, got {given!r}.")
    files = [path] if path.is_file() else sorted(path.glob("data_*.parquet"), key=_number)
    if not files:
        raise TargetsError(f"{path} holds no data_N.parquet of DistillKit. Name their folder.")
    terms = _terms(polynomial_terms, k - exact_k, normalize_t, _TYPES[term_dtype])
    bits = max(1, (d - 1).bit_length())

    def decoded(packed: Tensor) -> Tensor:
        exact, packed = _numbers(packed, exact_k, _TYPES[exact_dtype])
        coefficients, packed = _numbers(packed, terms.shape[1], _TYPES[term_dtype])
        rest = (terms.float() * coefficients[:, None, :]).sum(-1)  # (rows, k - exact_k)
        rest = rest + _residuals(packed, residual_bins, k - exact_k)
        logs = torch.cat([exact, rest], dim=-1)
        return logs.cumsum(-1) if delta_encoding else logs

    def entries(line: Mapping[str, Any]) -> Entries:
        packed = [_matrix(line[name], path) for name in _COLUMNS[1:]]
        if packed[1].shape[-1] < _width(bits, k):
            raise damaged_cache(
                path, f"{k} ids of {bits} bits do not fit in {packed[1].shape[-1]} bytes"
            )
        logs = decoded(packed[0]).double()
        ids = _unpacked(packed[1], bits, k)
        return ids.numpy(), logs.exp().numpy()

    return Cache(
        kept=k,
        samples=map(entries, _lines(files)),
        sequences=(np.asarray(line["input_ids"], dtype=np.int64) for line in _lines(files)),
    )


def _number(path: Path) -> int:
    return int("".join(filter(str.isdigit, path.stem)) or 0)


def _lines(files: Sequence[Path]) -> Iterator[Mapping[str, Any]]:
    import pyarrow.parquet as pq

    for file in files:
        try:
            opened = pq.ParquetFile(file)
            missing = set(_COLUMNS) - set(opened.schema_arrow.names)
            if missing:
                raise damaged_cache(
                    file, f"it has no column {', '.join(sorted(missing))}, as older versions wrote"
                )
            for batch in opened.iter_batches(batch_size=64, columns=_COLUMNS):
                yield from batch.to_pylist()
        except (pa.ArrowException, OSError) as error:
            raise damaged_cache(file, first_line(error)) from error


def _matrix(rows: Sequence[Sequence[int]], path: Path) -> Tensor:
    widths = {len(row) for row in rows}
    if len(widths) != 1:
        raise damaged_cache(path, f"the tokens of a text take {sorted(widths)} bytes, not as many")
    return torch.tensor(rows, dtype=torch.uint8)


def _numbers(packed: Tensor, count: int, kind: torch.dtype) -> tuple[Tensor, Tensor]:
    """Numbers at the beginning of each row, `(rows, count)` float32, and what follows them."""
    width = count * kind.itemsize
    if packed.shape[-1] < width:
        raise OptionError(
            f"these settings need {width} more bytes in each row of compressed_logprobs than "
            f"there are, got {packed.shape[-1]}. Give those that DistillKit sampled with."
        )
    numbers = packed[:, :width].contiguous().view(kind) if width else packed[:, :0]
    return numbers.float(), packed[:, width:]


def _terms(terms: Sequence[int | str], count: int, normalize: bool, kind: torch.dtype) -> Tensor:
    """The value of each term at each place, `(count, terms)`."""
    place = torch.linspace(0, 1, count) if normalize else torch.arange(count, dtype=torch.float32)
    place = place.to(kind)
    known = {"sqrt": torch.sqrt, "exp": torch.exp}
    columns = []
    for term in terms:
        if isinstance(term, str) and term not in known:
            raise OptionError(f'a polynomial term is a power, "sqrt" or "exp", got "{term}".')
        columns.append(known[term](place) if isinstance(term, str) else place**term)
    return torch.stack(columns, dim=-1) if columns else torch.zeros(count, 0)


def _residuals(packed: Tensor, bins: Sequence[Mapping[str, Any]], count: int) -> Tensor:
    found = []
    for each in bins:
        bits, elements = int(each["element_bits"]), int(each["num_elements"])
        scale, packed = _numbers(packed, 1, _TYPES[each["scale_dtype"]])
        width = _width(bits, elements)
        levels = _unpacked(packed[:, :width], bits, elements).float()
        packed = packed[:, width:]
        signed = levels * 2 - 1 if bits == 1 else levels - 2 ** (bits - 1)
        found.append(signed * scale)
    whole = torch.cat([torch.zeros(len(packed), 0), *found], dim=-1)
    return torch.nn.functional.pad(whole, (0, count - whole.shape[-1]))


def _unpacked(packed: Tensor, bits: int, count: int) -> Tensor:
    """Numbers one after the other, most significant bit first: `(rows, count)`."""
    raw = np.unpackbits(packed.numpy(), axis=-1)[:, : count * bits].astype(np.int64)
    places = np.arange(bits - 1, -1, -1)
    return torch.from_numpy((raw.reshape(len(raw), count, bits) << places).sum(-1))


def _width(bits: int, count: int) -> int:
    return -(-count * bits // 8)
