"""What others store of a teacher's distribution, written anew from their descriptions.

None of their code runs here. Each scheme writes the bytes that its description counts, and reads
them back as the distribution that it trains a student with: the entries that it kept, and nothing
or a uniform tail for the rest.

Bytes per row, of k entries kept:
- dense fp16: 2 for each class.
- FKD (Shen and Xing, 2022, https://arxiv.org/abs/2112.01528): 8k, ids and values in 32 bits.
- TinyViT (Wu et al., 2022, https://arxiv.org/abs/2207.10666): 4 + 4k, a seed, int16 and fp16.
- DistillKit (Arcee): 2 for each exact entry, 4 for each coefficient of a curve through the others,
  ids in as few bits as do.
- Megatron-LM: 5k, fp16, uint16, and a byte for the id's 17th bit; then zstd-3.
- MaxText: 5k to 7k, float32 and a varint.
- RS-KD (Anshumann et al., 2025, https://arxiv.org/abs/2503.16870): 3 for each class that was drawn.

Probabilities are `(rows, classes)` float32. What is read back is a `Sparse`, or a `Dense`.
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import pyarrow as pa
import torch

from limbeck.signals import Dense, Rows, Sparse

Columns = dict[str, np.ndarray]
"""What is written of some rows: arrays whose bytes are the ones to count."""


class Competitor(Protocol):
    """A way to write rows of probabilities and to read them back."""

    @property
    def name(self) -> str: ...

    @property
    def kept(self) -> int:
        """How many entries it always keeps: it cannot write rows of fewer classes."""

    def encode(self, probabilities: np.ndarray, rng: np.random.Generator) -> Columns:
        """What is written of rows `(rows, classes)`; `rng` is for those that draw."""

    def decode(self, columns: Columns, classes: int) -> Rows:
        """What a student is shown of it."""


def raw_bytes(columns: Columns) -> int:
    """The bytes as they are."""
    return sum(column.nbytes for column in columns.values())


def zstd_bytes(columns: Columns, level: int = 3) -> int:
    """The bytes in a container that compresses each column: one frame of zstd for each byte of a
    number, so that high bytes, which hardly differ, lie together."""
    codec = pa.Codec("zstd", compression_level=level)
    total = 0
    for column in columns.values():
        planes = column.reshape(-1).view(np.uint8).reshape(-1, column.itemsize)
        for plane in planes.T:
            total += len(codec.compress(np.ascontiguousarray(plane).tobytes(), asbytes=True))
    return total


@dataclass(frozen=True)
class Dense16:
    """Every log-probability in 16 bits."""

    name: str = "dense fp16"
    kept: int = 1

    def encode(self, probabilities: np.ndarray, rng: np.random.Generator) -> Columns:
        with np.errstate(divide="ignore"):
            logs = np.maximum(np.log(probabilities), np.finfo(np.float16).min)
        return {"values": logs.astype(np.float16)}

    def decode(self, columns: Columns, classes: int) -> Rows:
        values = torch.from_numpy(columns["values"].astype(np.float64))
        return Dense(values=torch.log_softmax(values, dim=-1))


@dataclass(frozen=True)
class FKD:
    """The k largest in full, the rest spread evenly."""

    kept: int = 5

    @property
    def name(self) -> str:
        return f"FKD top-{self.kept}"

    def encode(self, probabilities: np.ndarray, rng: np.random.Generator) -> Columns:
        ids, values = largest(probabilities, self.kept)
        return {"ids": ids.astype(np.int32), "values": values.astype(np.float32)}

    def decode(self, columns: Columns, classes: int) -> Rows:
        return _uniform_tail(columns["ids"], columns["values"], classes)


@dataclass(frozen=True)
class TinyViT:
    """The k largest in half precision, the rest spread evenly, and the augmentation's seed.

    The tail is 1 less the sum of what was rounded, and is not clamped: where the sum is above 1 a
    student is shown negative probabilities. Ids beyond int16 take 32 bits.
    """

    kept: int = 10

    @property
    def name(self) -> str:
        return f"TinyViT top-{self.kept}"

    def encode(self, probabilities: np.ndarray, rng: np.random.Generator) -> Columns:
        ids, values = largest(probabilities, self.kept)
        narrow = probabilities.shape[1] <= 1 << 15
        return {
            "seeds": rng.integers(1 << 31, size=len(ids), dtype=np.int32),
            "ids": ids.astype(np.int16 if narrow else np.int32),
            "values": values.astype(np.float16),
        }

    def decode(self, columns: Columns, classes: int) -> Rows:
        return _uniform_tail(columns["ids"], columns["values"], classes, clamp=False)


@dataclass(frozen=True)
class DistillKit:
    """The k largest: some exactly in bfloat16, the logs of the others on a curve over their rank.

    The curve has the powers of the rank up to `degree`, and its square root, float32 coefficients,
    least squares. The rank is scaled to 0..1, as its option `normalize_t` does.
    """

    kept: int = 128
    exact: int = 16
    degree: int = 4
    uniform: bool = False
    """Whether what is missing is spread evenly ("symmetric_uniform") or is nothing ("zero")."""

    @property
    def name(self) -> str:
        tail = "uniform tail" if self.uniform else "zero"
        return f"DistillKit top-{self.kept}, {self.exact} exact, {tail}"

    def encode(self, probabilities: np.ndarray, rng: np.random.Generator) -> Columns:
        ids, values = largest(probabilities, self.kept)
        logs = np.log(np.maximum(values.astype(np.float64), 1e-38))  # (rows, kept)
        fitted, *_ = np.linalg.lstsq(self._terms, logs[:, self.exact :].T, rcond=None)
        exact = torch.from_numpy(logs[:, : self.exact]).bfloat16().view(torch.int16).numpy()
        return {
            "ids": _pack(ids, _id_bits(probabilities.shape[1])),
            "exact": exact,
            "terms": fitted.T.astype(np.float32),
        }

    def decode(self, columns: Columns, classes: int) -> Rows:
        exact = torch.from_numpy(columns["exact"]).view(torch.bfloat16).double().numpy()
        curve = columns["terms"].astype(np.float64) @ self._terms.T
        values = np.exp(np.concatenate([exact, curve], axis=1))  # (rows, kept)
        ids = _unpack(columns["ids"], _id_bits(classes), self.kept)
        return (_uniform_tail if self.uniform else _no_tail)(ids, values, classes)

    @property
    def _terms(self) -> np.ndarray:
        """`(kept - exact, degree + 2)`: the curve's terms at each rank that it stands for."""
        rank = np.arange(self.exact, self.kept) / (self.kept - 1)
        powers = [rank**power for power in range(self.degree + 1)]
        return np.stack([*powers, np.sqrt(rank)], axis=1)


@dataclass(frozen=True)
class Megatron:
    """The k largest log-probabilities in half precision; the rest is nothing.

    Its ids end at 2^17. Beyond that, which it refuses, the byte of the 17th bit is used whole: what
    its bytes would be if it did not.
    """

    kept: int = 128

    @property
    def name(self) -> str:
        return f"Megatron-LM top-{self.kept}"

    def encode(self, probabilities: np.ndarray, rng: np.random.Generator) -> Columns:
        ids, values = largest(probabilities, self.kept)
        logs = np.log(np.maximum(values, np.finfo(np.float32).tiny))
        return {
            "values": logs.astype(np.float16),
            "ids": (ids & 0xFFFF).astype(np.uint16),
            "high": (ids >> 16).astype(np.uint8),
        }

    def decode(self, columns: Columns, classes: int) -> Rows:
        ids = columns["ids"].astype(np.int64) | columns["high"].astype(np.int64) << 16
        return _no_tail(ids, np.exp(columns["values"].astype(np.float64)), classes)


@dataclass(frozen=True)
class MaxText:
    """The k largest in float32, ids in groups of 7 bits; the rest is nothing.

    The frame of its records (tf.Example) is not counted.
    """

    kept: int = 128

    @property
    def name(self) -> str:
        return f"MaxText top-{self.kept}"

    def encode(self, probabilities: np.ndarray, rng: np.random.Generator) -> Columns:
        ids, values = largest(probabilities, self.kept)
        logs = np.log(np.maximum(values, np.finfo(np.float32).tiny))
        return {"values": logs.astype(np.float32), "ids": _to_varints(ids.reshape(-1))}

    def decode(self, columns: Columns, classes: int) -> Rows:
        values = np.exp(columns["values"].astype(np.float64))
        return _no_tail(_from_varints(columns["ids"]).reshape(values.shape), values, classes)


@dataclass(frozen=True)
class RandomSampling:
    """RS-KD: N classes drawn in proportion to their probability, with how often each came.

    Unbiased: what is read has the right mean. An entry takes 24 bits, as many for the id as it
    needs and the others for the count; what was drawn more often than fits is written twice. Each
    row begins with its number of entries.
    """

    draws: int = 50
    kept: int = 1

    @property
    def name(self) -> str:
        return f"RS-KD {self.draws} draws"

    def encode(self, probabilities: np.ndarray, rng: np.random.Generator) -> Columns:
        wanted = probabilities.astype(np.float64)
        counts = rng.multinomial(self.draws, wanted / wanted.sum(axis=1, keepdims=True))
        rows, ids = np.nonzero(counts)
        often = counts[rows, ids]
        room = 1 << (24 - _id_bits(probabilities.shape[1]))
        times = -(-often // room)
        rows, ids, often = (np.repeat(each, times) for each in (rows, ids, often))
        place = np.arange(len(rows)) - np.repeat(np.cumsum(times) - times, times)
        often = np.clip(often - place * room, 1, room)
        order = np.lexsort((ids, -often, rows))
        entries = (ids * room + often - 1)[order].astype("<u4")
        return {
            "lengths": np.bincount(rows, minlength=len(counts)).astype(
                np.uint8 if self.draws < 256 else np.uint16
            ),
            "entries": entries.view(np.uint8).reshape(-1, 4)[:, :3].reshape(-1).copy().view("V3"),
        }

    def decode(self, columns: Columns, classes: int) -> Rows:
        parts = columns["entries"].view(np.uint8).reshape(-1, 3).astype(np.int64)
        entries = parts @ (1, 1 << 8, 1 << 16)
        room = 1 << (24 - _id_bits(classes))
        lengths = columns["lengths"].astype(np.int64)
        rows = np.repeat(np.arange(len(lengths)), lengths)
        place = np.arange(len(rows)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        ids = np.zeros((len(lengths), lengths.max(initial=1)), np.int64)
        values = np.zeros(ids.shape)
        ids[rows, place] = entries // room
        values[rows, place] = (entries % room + 1) / self.draws
        return Sparse(
            ids=torch.from_numpy(ids),
            probabilities=torch.from_numpy(values),
            tail=torch.zeros(len(ids), dtype=torch.float64),
            drawn=torch.from_numpy(values > 0),
        )


COMPETITORS: tuple[Competitor, ...] = (
    Dense16(),
    FKD(),
    TinyViT(kept=10),
    TinyViT(kept=100),
    DistillKit(),
    DistillKit(uniform=True),
    DistillKit(kept=50, exact=1, degree=1),
    DistillKit(kept=50, exact=1, degree=1, uniform=True),
    Megatron(),
    MaxText(),
    RandomSampling(draws=16),
    RandomSampling(draws=50),
    RandomSampling(draws=200),
)


def largest(probabilities: np.ndarray, kept: int) -> tuple[np.ndarray, np.ndarray]:
    """Ids and values of the `kept` largest entries of each row, largest first."""
    values, ids = torch.from_numpy(probabilities).topk(kept, dim=-1)
    return ids.numpy(), values.numpy()


def _no_tail(ids: np.ndarray, values: np.ndarray, classes: int) -> Sparse:
    """What was kept, made to sum to 1."""
    kept = torch.from_numpy(values.astype(np.float64))
    return Sparse(
        ids=torch.from_numpy(ids.astype(np.int64)),
        probabilities=kept / kept.sum(dim=-1, keepdim=True),
        tail=torch.zeros(len(kept), dtype=torch.float64),
    )


def _uniform_tail(ids: np.ndarray, values: np.ndarray, classes: int, *, clamp: bool = True) -> Rows:
    """What was kept, and what is missing to 1 spread evenly; more than 1 is scaled down."""
    kept = torch.from_numpy(values.astype(np.float64))
    tail = 1 - kept.sum(dim=-1)
    if clamp:
        tail = tail.clamp_min(0.0)
        kept = kept / (kept.sum(dim=-1) + tail)[:, None]
    return Sparse(
        ids=torch.from_numpy(ids.astype(np.int64)),
        probabilities=kept,
        tail=tail,
        tail_shape=torch.zeros(classes, dtype=torch.float64),
    )


def _id_bits(classes: int) -> int:
    return max(1, (classes - 1).bit_length())


def _pack(ids: np.ndarray, bits: int) -> np.ndarray:
    """Each row's ids one after the other, `bits` bits each, to whole bytes."""
    each = (ids[:, :, None] >> np.arange(bits)) & 1  # (rows, kept, bits)
    return np.packbits(each.reshape(len(ids), -1).astype(np.uint8), axis=1)


def _unpack(packed: np.ndarray, bits: int, kept: int) -> np.ndarray:
    each = np.unpackbits(packed, axis=1, count=kept * bits).reshape(len(packed), kept, bits)
    return each.astype(np.int64) @ (1 << np.arange(bits))


def _to_varints(numbers: np.ndarray) -> np.ndarray:
    """Little groups of 7 bits, the 8th says that another group follows."""
    groups = (numbers[:, None] >> np.arange(0, 35, 7)) & 0x7F  # (numbers, 5)
    length = 1 + sum((numbers >> shift > 0).astype(np.int64) for shift in range(7, 35, 7))
    place = np.arange(5)
    more = np.where(place < length[:, None] - 1, 0x80, 0)
    return (groups | more)[place < length[:, None]].astype(np.uint8)


def _from_varints(written: np.ndarray) -> np.ndarray:
    last = written < 0x80
    number = np.cumsum(last) - last
    begins = np.flatnonzero(np.r_[True, last[:-1]])
    shift = 7 * (np.arange(len(written)) - begins[number])
    return np.bincount(number, (written & 0x7F).astype(np.int64) << shift).astype(np.int64)
