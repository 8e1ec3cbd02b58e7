"""What a row costs on disk and what it loses: Limbeck's codecs and the published ones, same rows.

Rows are those of four real teachers and of two simulated vocabularies. Codecs that learn something
learn it from other rows. Bytes are those of blocks of 8192 rows, or of all rows where there are
fewer, each column compressed with zstd at level 3, as in a shard. Keys, 8 bytes a sample, are not
in them; what a codec learns once for a whole set is given apart.

python bench/targets.py            writes the table, and two pictures for the docs
python bench/targets.py --quick    few rows and codecs; writes nothing
"""

import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from _competitors import (
    FKD,
    Competitor,
    Dense16,
    DistillKit,
    MaxText,
    Megatron,
    RandomSampling,
    TinyViT,
    raw_bytes,
    zstd_bytes,
)
from _fidelity import Fidelity
from _picture import picture
from _results import bar, write
from _simulated import Simulated
from _teachers import rows
from scipy import stats
from torch import Tensor

from limbeck._errors import OptionError
from limbeck.report import CodecPoint, write_codec_curve
from limbeck.signals import Head, Rows, Sparse
from limbeck.targets import make_codec
from limbeck.targets.codecs import Arrays, Codec
from limbeck.targets.encoding._encoder import row_seeds
from limbeck.targets.format._blocks import BLOCK_ROWS
from limbeck.targets.format._columns import joined

QUICK = "--quick" in sys.argv
DOCS = Path(__file__).parents[1] / "docs"
LEARNED_ROWS = 4096
CHUNK_NUMBERS = 1 << 24
APART = " (keys, and what is learned once, apart)"


@dataclass(frozen=True)
class Source:
    """Rows of one teacher at one temperature."""

    name: str
    split: str
    """What is stored; a codec learns from `other`."""
    other: str
    limit: int
    temperature: float = 1.0

    @property
    def title(self) -> str:
        return f"{self.name}, T = {self.temperature:g}"

    def log_probabilities(self, split: str, limit: int) -> Iterator[Tensor]:
        """`(rows, classes)` float32, some rows at a time."""
        if self.name.startswith("simulated"):
            made = Simulated(self.name, seed=1 if split == self.other else 0)
            for logits, _ in made.batches(limit=limit):
                yield torch.log_softmax(torch.from_numpy(logits) / self.temperature, -1)
            return
        said = rows(self.name, split)
        # A fixed shuffle: rows of one sentence must not lie together in what is learned from.
        limit = min(limit, len(said))
        step = max(1, CHUNK_NUMBERS // len(said.bias))
        for start in range(0, limit, step):
            logits = torch.from_numpy(said.logits(start, min(start + step, limit)))
            yield torch.log_softmax(logits / self.temperature, -1)


SOURCES = [
    Source("digits", "train", "test", 1437),
    Source("digits", "train", "test", 1437, 4.0),
    Source("mnist", "train", "test", 60_000),
    Source("mnist", "train", "test", 60_000, 4.0),
    Source("words1000", "test", "train", 32_768),
    Source("words", "test", "train", 8192),
    Source("simulated-32k", "test", "other", 8192),
    Source("simulated-152k", "test", "other", 4096),
]
FEW = [
    ("dense16", {}),
    *((f"sqrt{bits}", {}) for bits in (4, 5, 6, 8)),
    *(("sqrt", {"levels": levels}) for levels in (7, 11, 20, 25, 40)),
]
SELECTED = [
    ("selected", {"levels": levels, "cost": cost})
    for levels, cost in ((31, 1e-2), (63, 3e-3), (127, 1e-3), (127, 3e-4), (255, 1e-4))
]
PRINCIPAL = [("principal", {"step": step}) for step in (0.25, 0.15, 0.1, 0.07, 0.05, 0.035, 0.025)]
# The search looks at each row by itself, some hundred a second at 1000 classes.
SEARCHED = [
    ("principal", {"step": step, "cost": cost})
    for step, cost in ((0.12, 5e-4), (0.09, 2e-4), (0.06, 2e-4), (0.038, 5e-5))
]
SEARCHED_ROWS = 8192
THRESHOLD = [("threshold", {"tau": tau}) for tau in (0.05, 0.02, 0.01, 0.006)]
OURS: dict[str, list[tuple[str, dict[str, Any]]]] = {
    "digits": [*FEW, *SELECTED, *PRINCIPAL, *SEARCHED],
    "mnist": [*FEW, *SELECTED, *PRINCIPAL, *SEARCHED],
    "words1000": [("dense16", {}), ("sqrt8", {}), *SELECTED, *PRINCIPAL, *SEARCHED, *THRESHOLD],
    "words": [("dense16", {}), *SELECTED, *PRINCIPAL, *THRESHOLD],
    "simulated-32k": [*SELECTED[:4], *THRESHOLD],
    "simulated-152k": [*SELECTED[1:3], *THRESHOLD],
}
WORDS_RIVALS: list[Competitor] = [
    DistillKit(),
    DistillKit(uniform=True),
    DistillKit(50, 1, 1),
    Megatron(),
    MaxText(128),
    RandomSampling(16),
    RandomSampling(50),
    RandomSampling(200),
]
RIVALS: dict[str, list[Competitor]] = {
    "digits": [Dense16()],
    "mnist": [Dense16()],
    "words1000": [
        Dense16(),
        FKD(),
        TinyViT(10),
        TinyViT(100),
        RandomSampling(16),
        RandomSampling(50),
    ],
    "words": WORDS_RIVALS,
    "simulated-32k": WORDS_RIVALS,
    "simulated-152k": WORDS_RIVALS,
}


def of_codec(source: Source, name: str, options: dict[str, Any]) -> dict[str, Any] | None:
    """A row of the table; None where the codec cannot hold these classes."""
    codec = make_codec(name, options)
    learned = source.log_probabilities(source.other, LEARNED_ROWS)
    first = next(learned)
    head = Head(space="categorical", size=first.shape[-1])
    try:
        codec.columns(head)
    except OptionError:
        return None
    state = codec.fit((piece for piece in (first, *learned)), head)
    fidelity, density, size, number = Fidelity(), Fidelity(), 0, 0
    block: list[Arrays] = []
    limit = _limit(source)
    if (name, options) in SEARCHED:
        limit = min(limit, SEARCHED_ROWS)
    for log_p in source.log_probabilities(source.split, limit):
        keys = np.arange(number, number + len(log_p), dtype=np.uint64)
        number += len(log_p)
        arrays = codec.encode(log_p, head, state, row_seeds(keys, 0, 1, 0))
        stored = codec.decode(arrays, head, state, 1.0)
        fidelity.add(log_p.exp().numpy(), stored)
        density.add(log_p.exp().numpy(), _density(stored))
        block.append(arrays)
        if number % BLOCK_ROWS < len(log_p):
            size, block = size + zstd_bytes(joined(block)), []
    size += zstd_bytes(joined(block)) if block else 0
    options_ = ", ".join(f"{key} {value:g}" for key, value in options.items())
    return {
        "source": source.title,
        "code": f"{name} ({options_})" if options else name,
        "of": "limbeck",
        "rows": number,
        "classes": head.size,
        "bytes_per_row": size / number,
        "learned_bytes": sum(part.nbytes for part in state.values()),
        "unbiased": name == "threshold",
        **_figures(fidelity, density),
    }


def of_rival(source: Source, rival: Competitor) -> dict[str, Any]:
    """A row of the table: its own bytes, or those after zstd where that is less."""
    rng = np.random.default_rng(0)
    fidelity, raw, packed, number, classes = Fidelity(), 0, 0, 0, 0
    block: list[Arrays] = []
    for log_p in source.log_probabilities(source.split, _limit(source)):
        p = log_p.exp().numpy()
        classes, number = p.shape[1], number + len(p)
        columns = rival.encode(p, rng)
        raw += raw_bytes(columns)
        fidelity.add(p, rival.decode(columns, classes))
        block.append(columns)
        if number % BLOCK_ROWS < len(p):
            packed, block = packed + zstd_bytes(joined(block)), []
    packed += zstd_bytes(joined(block)) if block else 0
    return {
        "source": source.title,
        "code": rival.name,
        "of": "published",
        "rows": number,
        "classes": classes,
        "bytes_per_row": min(raw, packed) / number,
        "raw_bytes_per_row": raw / number,
        "learned_bytes": 0,
        "unbiased": isinstance(rival, RandomSampling),
        **_figures(fidelity, fidelity),
    }


def _density(stored: Rows) -> Rows:
    return stored.density if isinstance(stored, Sparse) else stored


def _figures(fidelity: Fidelity, density: Fidelity) -> dict[str, float | None]:
    """KL is that of the rows read as distributions; errors and agreement of what a loss sees."""
    said, read = fidelity.means, density.means
    kl = None if read["infinite_kl"] else read["kl"]
    return {
        "kl": kl,
        "rows_of_infinite_kl": read["infinite_kl"],
        "squared_error": said["squared_error"],
        "l1": said["l1"],
        "agreement": read["agreement"],
    }


def _limit(source: Source) -> int:
    return min(source.limit, 1024) if QUICK else source.limit


def largest_deviation(codec: Codec, log_p: Tensor, times: int) -> float:
    """How many standard deviations the mean of many encodings of a row is off, at the worst class.

    A class below tau is drawn with probability p / tau each time, so how often it came is binomial;
    its tail probability is given as that of a normal deviation. A kept class has one of two levels.
    """
    head = Head(space="categorical", size=len(log_p))
    state = codec.fit(iter([log_p[None]]), head)
    total = np.zeros(len(log_p))
    squares = np.zeros(len(log_p))
    came = np.zeros(len(log_p), dtype=np.int64)
    step = max(1, CHUNK_NUMBERS // len(log_p))
    for start in range(0, times, step):
        keys = np.arange(start, min(start + step, times), dtype=np.uint64)
        seeds = row_seeds(keys, 0, 1, 0)
        many = log_p.expand(len(keys), -1)
        stored = codec.decode(codec.encode(many, head, state, seeds), head, state, 1.0)
        assert isinstance(stored, Sparse)
        ids, values = stored.ids.long().flatten(), stored.probabilities.double().flatten()
        total += np.bincount(ids, values, minlength=len(log_p))
        squares += np.bincount(ids, values.square(), minlength=len(log_p))
        came += np.bincount(ids[values > 0], minlength=len(log_p))
    p = log_p.double().exp().numpy()
    tau = codec.options["tau"]
    drawn = p < tau
    chance = stats.binom(times, np.where(drawn, p / tau, 0.5))
    below, above = chance.cdf(came), chance.sf(came - 1)
    deviation = stats.norm.isf(np.minimum(np.minimum(below, above), 0.5))
    mean, variance = total / times, squares / times - (total / times) ** 2
    kept = np.abs(mean - p) / np.sqrt(np.maximum(variance / times, (1e-7 * p) ** 2))
    return float(np.where(drawn, deviation, kept).max())


def least(
    table: list[dict[str, Any]], source: str, figure: str, bound: float, unbiased: bool = False
) -> float | None:
    """The fewest bytes of one of our codecs whose `figure` is within a bound."""
    found = [
        row["bytes_per_row"]
        for row in table
        if row["source"] == source and row["of"] == "limbeck" and row[figure] is not None
        if row[figure] <= bound and (row["unbiased"] or not unbiased)
    ]
    return min(found, default=None)


def draw(table: list[dict[str, Any]], source: str, figure: str, name: str, to: str) -> None:
    """A picture for the docs: bytes against a figure, ours and theirs."""
    points = [
        CodecPoint(codec=row["code"], bytes_per_row=row["bytes_per_row"], error=row[figure])
        for row in table
        if row["source"] == source and row[figure]
    ]
    with tempfile.TemporaryDirectory() as folder:
        page = write_codec_curve(Path(folder), points, title=source, rows="", error_name=name)
        picture(page, "figure", DOCS / to)


def main() -> None:
    table = []
    for source in SOURCES:
        for name, options in OURS[source.name]:
            if (row := of_codec(source, name, options)) is not None:
                table.append(row)
                _say(row)
        for rival in RIVALS[source.name]:
            table.append(of_rival(source, rival))
            _say(table[-1])
    times = 500 if QUICK else 10_000
    worst = {}
    for source in SOURCES[4:7]:
        log_p = next(source.log_probabilities(source.split, 64))
        codec = make_codec("threshold", {"tau": 0.02})
        worst[source.name] = max(largest_deviation(codec, log_p[row], times) for row in (0, 17, 40))
        print(f"{source.name}: largest deviation of {times} encodings {worst[source.name]:.2f}")
    if QUICK:
        return
    bars = [
        bar(
            f"{title}: bytes a row at KL <= 1e-3{APART}", least(table, title, "kl", 1e-3), "<=", 2.5
        )
        for title in (source.title for source in SOURCES[:4])
    ]
    bars += [
        bar(
            f"words1000: bytes a row at KL <= .004{APART}",
            least(table, SOURCES[4].title, "kl", 4e-3),
            "<=",
            12,
        ),
        *(
            bar(
                f"{source.name}, unbiased: bytes a token at squared error <= .003{APART}",
                least(table, source.title, "squared_error", 3e-3, unbiased=True),
                "<=",
                25 if source.name != "simulated-152k" else 30,
            )
            for source in SOURCES[5:]
        ),
        *(
            bar(f"{name}: largest deviation of the mean of {times} encodings, sigma", z, "<=", 4)
            for name, z in worst.items()
        ),
    ]
    write("targets", table, bars)
    draw(table, SOURCES[4].title, "kl", "KL to the teacher, nats a row", "targets-classes.png")
    draw(
        table,
        SOURCES[7].title,
        "squared_error",
        "squared error of a row, in probability",
        "targets-vocabulary.png",
    )


def _say(row: dict[str, Any]) -> None:
    kl = "infinite" if row["kl"] is None else f"{row['kl']:.2e}"
    print(
        f"{row['source']:<22} {row['code']:<44} {row['bytes_per_row']:8.2f} B  KL {kl:<9} "
        f"E {row['squared_error']:.2e}",
        flush=True,
    )


if __name__ == "__main__":
    main()
