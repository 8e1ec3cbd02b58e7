"""DistillKit's compressed log-probabilities in Parquet files `data_N.parquet`.

One line is a text: `input_ids`; and of each token `bytepacked_indices`, k vocabulary ids of
ceil(log2 d) bits, most significant first; and `compressed_logprobs`: the largest `exact_k`
log-probabilities, falling; coefficients of a polynomial in the place that continues them; and
residuals, quantised in bins. With `delta_encoding` each number is the step from the one before.
The settings stand nowhere in the files: they are the user's to give.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Literal, Self

import numpy as np
import pyarrow as pa
import torch
from pydantic import BaseModel, BeforeValidator, Field, model_validator
from torch import Tensor

from limbeck._errors import OptionError, TargetsError
from limbeck._lookup import first_line
from limbeck.targets.importers._cache import (
    Cache,
    Entries,
    Importer,
    damaged_cache,
    most_if_rounded,
)

_TYPES = {
    "float16": torch.float16,
    "bfloat16": torch.bfloat16,
    "float32": torch.float32,
    "float64": torch.float64,
}
_MOST_IF_FITTED = 1.5
"""Where a polynomial or residuals of a few bits stand for some entries: a fit has no bound, but one
that gives half as much again as there is says nothing of the row."""
_BYTES = pa.list_(pa.list_(pa.uint8()))
_COLUMNS = {
    "input_ids": pa.list_(pa.uint64()),
    "compressed_logprobs": _BYTES,
    "bytepacked_indices": _BYTES,
}


def _power_or_name(term: object) -> object:
    if term in ("sqrt", "exp") or (type(term) is int and 0 <= term <= 64):
        return term
    raise ValueError(f'a polynomial term is a power from 0 to 64, "sqrt" or "exp", got {term!r}')


Term = Annotated[int | str, BeforeValidator(_power_or_name)]
FloatType = Literal["float16", "bfloat16", "float32", "float64"]


class ResidualBin(BaseModel):
    """Some residuals with one scale."""

    model_config = Importer.model_config

    scale_dtype: FloatType
    """Of the scale."""
    element_bits: Annotated[int, Field(ge=1, le=63)]
    """Of each residual."""
    num_elements: Annotated[int, Field(ge=1)]
    """How many residuals."""


class DistillKit(Importer):
    """The rows of every text, in the order of the files. Options are named as DistillKit does."""

    d: Annotated[int, Field(ge=2, lt=2**31)]
    """Size of the vocabulary."""
    k: Annotated[int, Field(ge=1)]
    """Entries that were kept."""
    exact_k: Annotated[int, Field(ge=0)]
    """How many of them as they are."""
    exact_dtype: FloatType = "float32"
    """Of these."""
    polynomial_terms: list[Term] = Field(default_factory=list)
    """Powers of the place, or "sqrt" or "exp" of it."""
    term_dtype: FloatType = "float32"
    """Of the coefficients."""
    residual_bins: list[ResidualBin] = Field(default_factory=list)
    """`scale_dtype`, `element_bits` and `num_elements` of each."""
    delta_encoding: bool = True
    """Whether steps are stored."""
    normalize_t: bool = False
    """Whether places are 0..1."""

    @model_validator(mode="after")
    def _fit(self) -> Self:
        binned = sum(each.num_elements for each in self.residual_bins)
        if not self.exact_k + binned <= self.k <= self.d:
            raise ValueError(
                "exact_k and the num_elements of all residual_bins are k at most, and k is d at "
                f"most, got {self.exact_k} + {binned}, {self.k} and {self.d}"
            )
        if self.exact_k < self.k and not self.polynomial_terms and not self.residual_bins:
            raise ValueError(
                f"k above exact_k takes polynomial_terms or residual_bins, got {self.k} and "
                f"{self.exact_k}, and none"
            )
        return self

    def read(self, path: Path, rows: int) -> Cache:
        """A folder of `data_N.parquet`, or one file. See `Importer`."""
        files = [path] if path.is_file() else sorted(path.glob("data_*.parquet"), key=_number)
        if not files:
            raise TargetsError(f"{path} holds no data_N.parquet of DistillKit. Name their folder.")
        return Cache(
            kept=self.k,
            most=most_if_rounded(self.k) if self.exact_k == self.k else _MOST_IF_FITTED,
            samples=(self._entries(file, *text) for file, text in _texts(files, list(_COLUMNS))),
            sequences=(
                tokens.to_numpy().astype(np.int64) for _, (tokens,) in _texts(files, ["input_ids"])
            ),
        )

    def _entries(
        self, file: Path, tokens: pa.Array, logs: pa.ListArray, ids: pa.ListArray
    ) -> Entries:
        if not len(logs) == len(ids) <= len(tokens):  # vLLM says nothing of the last token
            raise damaged_cache(
                file,
                f"a text of {len(tokens)} tokens has {len(logs)} rows of compressed_logprobs and "
                f"{len(ids)} of bytepacked_indices",
            )
        if not len(logs):
            return np.zeros((0, self.k), dtype=np.int64), np.zeros((0, self.k))
        bits = (self.d - 1).bit_length()
        packed = self._bytes(file, "compressed_logprobs", logs, self._width_of_logs())
        named = self._bytes(file, "bytepacked_indices", ids, _width(bits, self.k))
        return _unpacked(named, bits, self.k).numpy(), self._logs(packed).double().exp().numpy()

    def _bytes(self, file: Path, column: str, rows: pa.ListArray, width: int) -> Tensor:
        """`(rows, width)` uint8."""
        if odd := set(rows.value_lengths().to_pylist()) - {width}:
            raise OptionError(
                f"{file}: with these settings a row of {column} takes {width} bytes, got "
                f"{min(odd)}. Give those that DistillKit sampled with."
            )
        return torch.from_numpy(rows.flatten().to_numpy().reshape(-1, width).copy())

    def _width_of_logs(self) -> int:
        """Bytes of a row of compressed_logprobs."""
        numbers = self.exact_k * _TYPES[self.exact_dtype].itemsize
        numbers += len(self.polynomial_terms) * _TYPES[self.term_dtype].itemsize
        return numbers + sum(
            _TYPES[each.scale_dtype].itemsize + _width(each.element_bits, each.num_elements)
            for each in self.residual_bins
        )

    def _logs(self, packed: Tensor) -> Tensor:
        """The log-probabilities of each row, `(rows, k)`."""
        exact, packed = _numbers(packed, self.exact_k, _TYPES[self.exact_dtype])
        kind = _TYPES[self.term_dtype]
        coefficients, packed = _numbers(packed, len(self.polynomial_terms), kind)
        count = self.k - self.exact_k
        terms = _terms(self.polynomial_terms, count, self.normalize_t, kind)  # (count, terms)
        rest = (terms.float() * coefficients[:, None, :]).sum(-1)  # (rows, count)
        rest = rest + _residuals(packed, self.residual_bins, count)
        logs = torch.cat([exact, rest], dim=-1)
        return logs.cumsum(-1) if self.delta_encoding else logs


def _number(path: Path) -> int:
    return int("".join(filter(str.isdigit, path.stem)) or 0)


def _texts(files: Sequence[Path], columns: list[str]) -> Iterator[tuple[Path, list[pa.Array]]]:
    """The file of each text, and its cell in each column."""
    import pyarrow.parquet as pq

    for file in files:
        try:
            opened = pq.ParquetFile(file)
            missing = set(_COLUMNS) - set(opened.schema_arrow.names)
            if missing:
                raise damaged_cache(
                    file, f"it has no column {', '.join(sorted(missing))}, as older versions wrote"
                )
            for batch in opened.iter_batches(batch_size=64, columns=columns):
                whole = [_column(batch, name, file) for name in columns]
                for cells in zip(*whole, strict=True):
                    yield file, [cell.values for cell in cells]
        except (pa.ArrowException, OSError) as error:
            raise damaged_cache(file, first_line(error)) from error


def _column(batch: pa.RecordBatch, name: str, file: Path) -> pa.ListArray:
    """A column, of the type that DistillKit writes, without a hole at any depth."""
    try:
        column = batch.column(name).cast(_COLUMNS[name])
    except pa.ArrowException as error:
        raise damaged_cache(file, f"column {name}: {first_line(error)}") from error
    inner = column
    while not inner.null_count and pa.types.is_list(inner.type):
        inner = inner.flatten()
    if inner.null_count:
        raise damaged_cache(file, f"column {name} holds nothing at some place")
    return column


def _numbers(packed: Tensor, count: int, kind: torch.dtype) -> tuple[Tensor, Tensor]:
    """Numbers at the beginning of each row, `(rows, count)` float32, and what follows them."""
    width = count * kind.itemsize
    numbers = packed[:, :width].contiguous().view(kind) if width else packed[:, :0]
    return numbers.float(), packed[:, width:]


def _terms(terms: Sequence[int | str], count: int, normalize: bool, kind: torch.dtype) -> Tensor:
    """The value of each term at each place, `(count, terms)`."""
    place = torch.linspace(0, 1, count) if normalize else torch.arange(count, dtype=torch.float32)
    place = place.to(kind)
    known = {"sqrt": torch.sqrt, "exp": torch.exp}
    columns = [known[term](place) if isinstance(term, str) else place**term for term in terms]
    return torch.stack(columns, dim=-1) if columns else torch.zeros(count, 0)


def _residuals(packed: Tensor, bins: Sequence[ResidualBin], count: int) -> Tensor:
    """Of each row, `(rows, count)`; 0 behind the last bin."""
    found = []
    for each in bins:
        bits, elements = each.element_bits, each.num_elements
        scale, packed = _numbers(packed, 1, _TYPES[each.scale_dtype])
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
