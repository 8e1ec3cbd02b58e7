"""How fast rows are decoded, encoded, read in random order, and captured.

Figures of one core: torch, pyarrow and BLAS have one thread. `threshold` runs in loops that numba
compiles (the extra `fast`, without which this refuses to run), before a clock does. Rows are real
(`_teachers.py`) or of the simulated vocabulary of 151,936, which is said. Each figure is the median
of repetitions that take turns with those of all other figures of its group.

- decoding: blocks of the size that a store has, to `Rows` that a loss takes.
- encoding after selection: from the classes of each row that `threshold` keeps and draws, to
  columns. Selection, which looks at all classes, is timed beside, and so is encoding together with
  the zstd of a shard.
- random order: batches of 256 from 10^7 rows in a transfer set that is mapped from a file, whose
  pages are in memory: the stored codes, and the decoded rows.
- capture: all that `capture` does (keys, asking, checks, encoding, measuring, writing, opening),
  against a bare loop of the same teacher over the same batches of tensors, on all cores.

python bench/targets_speed.py [--quick]      quick: seconds, CPU time instead of time, no file
"""

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from _results import bar, write
from _simulated import Simulated
from _teachers import data, rows, teacher
from torch import Tensor, nn

from limbeck.data import ArraySamples
from limbeck.signals import Head
from limbeck.targets import TransferSet, capture, make_codec
from limbeck.targets.codecs import Arrays, Codec, State, _threshold
from limbeck.targets.codecs._compiled import compiled
from limbeck.targets.format._blocks import BLOCK_ROWS
from limbeck.targets.format._shard_writer import ZSTD_LEVEL
from limbeck.teachers import Teacher

SIMULATED = "simulated-152k"
THRESHOLD = ("threshold", {"tau": 0.02})
BATCH = 256


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """How much is measured."""

    repetitions: int = 9
    pairs: int = 7
    """Of a bare loop and a capture."""
    tokens: int = 4096
    """Rows of a large vocabulary."""
    stored: int = 10_000_000
    """Rows that batches are drawn from."""
    images: int | None = None
    """MNIST's that are captured; None for all."""
    sequences: int = 512
    """Of 64 words, that are captured."""


QUICK = Sizes(repetitions=3, pairs=2, tokens=512, stored=50_000, images=2048, sequences=32)


def need_numba() -> None:
    """Refuse to measure without the compiled loops."""
    if compiled() is None:
        raise SystemExit("numba is not there. pip install 'limbeck[fast]'")


def one_core() -> None:
    """Threads of every library that is timed: one."""
    torch.set_num_threads(1)
    pa.set_cpu_count(1)


def all_cores() -> None:
    """As many threads as there are cores."""
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    pa.set_cpu_count(len(os.sched_getaffinity(0)))


def medians(
    tasks: Mapping[str, tuple[int, Callable[[], Any]]],
    repetitions: int,
    clock: Callable[[], float],
) -> list[dict[str, Any]]:
    """A row for each task, of how many rows a second it does; they take turns."""
    seconds: dict[str, list[float]] = {name: [] for name in tasks}
    for turn in range(repetitions + 1):
        for name, (_, do) in tasks.items():
            begun = clock()
            do()
            if turn:  # the first warms up
                seconds[name].append(clock() - begun)
    found = []
    for name, (count, _) in tasks.items():
        row = {"what": name, "rows": count, "n": repetitions}
        row["rows_per_second"] = count / statistics.median(seconds[name])
        row |= {"slowest": count / max(seconds[name]), "fastest": count / min(seconds[name])}
        print(f"{name}: {row['rows_per_second'] / 1e6:.3f} M rows/s", flush=True)
        found.append(row)
    return found


@dataclass(frozen=True, kw_only=True)
class Block:
    """Rows of one head as they lie in a store."""

    codec: Codec
    head: Head
    state: State
    arrays: Arrays
    temperature: float = 1.0

    def __len__(self) -> int:
        return len(next(iter(self.arrays.values())))

    def decode(self) -> None:
        """To rows that a loss takes."""
        self.codec.decode(self.arrays, self.head, self.state, self.temperature)


class Selections:
    """A block's rows with what `threshold` selected of them, so that the rest can be repeated.

    Args:
        name: "words", the rows of the real teacher, or the simulated ones.
        tokens: How many.
    """

    def __init__(self, name: str, tokens: int) -> None:
        asked = Simulated(name) if name == SIMULATED else rows(name, "train")
        pieces = (
            torch.from_numpy(logits).log_softmax(-1)
            for logits, _ in asked.batches(size=256, limit=tokens)
        )
        first = list(islice(pieces, 2))
        self.some = first[0]
        self.codec = make_codec(*THRESHOLD)
        self.head = Head(space="categorical", size=self.some.shape[-1])
        self.state = self.codec.fit(first, self.head)
        self.seeds = np.random.default_rng(0).integers(1 << 63, size=tokens, dtype=np.uint64)
        starts = range(0, tokens, 256)
        parts = [
            self._select(piece, self.seeds[start : start + 256])
            for start, piece in zip(starts, chain(first, pieces), strict=True)
        ]
        self._selected = [
            _threshold.Named(
                np.concatenate([p[k].rows + start for start, p in zip(starts, parts, strict=True)]),
                np.concatenate([p[k].classes for p in parts]),
                np.concatenate([p[k].p for p in parts]),
            )
            for k in (0, 1)
        ]

    def _select(self, log_p: Tensor, seeds: np.ndarray) -> Any:
        return _threshold.select(log_p, self.codec.tau, _threshold.uniform(seeds, 0))

    def select(self) -> None:
        """The classes to keep and to draw of the first 256 rows."""
        self._select(self.some, self.seeds[: len(self.some)])

    def encode(self) -> Arrays:
        """All of `encode` but the selection, which is known."""
        select = _threshold.select
        _threshold.select = lambda *_: self._selected  # a mock would take a tenth of the time
        try:
            return self.codec.encode(torch.empty(0), self.head, self.state, self.seeds)
        finally:
            _threshold.select = select

    def encode_and_compress(self) -> None:
        """That, and what a shard does to each column."""
        zstd = pa.Codec("zstd", compression_level=ZSTD_LEVEL)
        for array in self.encode().values():
            zstd.compress(np.ascontiguousarray(array).view(np.uint8).data)

    def block(self) -> Block:
        """As it is stored."""
        return Block(codec=self.codec, head=self.head, state=self.state, arrays=self.encode())


def square_roots(name: str, codec: str) -> Block:
    """Ten classes of a real teacher at T = 4; its rows again and again, up to a block."""
    logits = torch.from_numpy(rows(name, "train").logits(0, BLOCK_ROWS))
    logits = logits.repeat(-(-BLOCK_ROWS // len(logits)), 1)[:BLOCK_ROWS]
    log_p = (logits / 4).log_softmax(-1)
    head, made = Head(space="categorical", size=logits.shape[-1]), make_codec(codec, {})
    arrays = made.encode(log_p, head, {}, np.zeros(len(log_p), dtype=np.uint64))
    return Block(codec=made, head=head, state={}, arrays=arrays, temperature=4.0)


def codes(sizes: Sizes, clock: Callable[[], float]) -> list[dict[str, Any]]:
    """Decoding and encoding on one core."""
    selections = {name: Selections(name, sizes.tokens) for name in (SIMULATED, "words")}
    one_core()
    tasks: dict[str, tuple[int, Callable[[], Any]]] = {}
    for name, selected in selections.items():
        block = selected.block()
        entries = float(np.sum(block.arrays["kept"]) + np.sum(block.arrays["drawn"])) / len(block)
        print(f"threshold, {name}: {entries:.1f} entries a row")
        who = f"threshold, {name}, {entries:.1f} entries a row"
        tasks[f"decode {who}"] = len(block), block.decode
        tasks[f"encode after selection {who}"] = len(block), selected.encode
        tasks[f"encode after selection, and zstd {who}"] = len(block), selected.encode_and_compress
        tasks[f"select {who}"] = len(selected.some), selected.select
    for codec in ("sqrt5", "sqrt8"):
        for name in ("digits", "mnist"):
            block = square_roots(name, codec)
            tasks[f"decode {codec}, {name}"] = len(block), block.decode
    return medians(tasks, sizes.repetitions, clock)


class Table(nn.Module):
    """Answers what a real teacher said of image number i modulo their number."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("logits", torch.from_numpy(rows("mnist", "train").logits()))

    def forward(self, numbers: Tensor) -> Tensor:
        """`(batch, 1)` to `(batch, 10)`."""
        assert isinstance(self.logits, Tensor)
        return self.logits[numbers[:, 0].long() % len(self.logits)]


def random_order(sizes: Sizes, clock: Callable[[], float], folder: str) -> list[dict[str, Any]]:
    """Batches in random order from a mapped transfer set, on one core."""
    all_cores()
    head = Head(space="categorical", size=10)
    samples = ArraySamples(torch.arange(sizes.stored, dtype=torch.int32)[:, None], {})
    begun = time.perf_counter()
    capture(Teacher(Table(), (head,)), samples, folder, codec="sqrt5", batch_size=1 << 14)
    targets = TransferSet(folder, reading="mapped")
    print(f"captured {sizes.stored} rows in {time.perf_counter() - begun:.0f} s")
    one_core()
    columns, aligned = targets._columns[head.name], targets.aligned(samples)
    columns.all()["levels"].max()  # every page is in memory now
    count = min(sizes.stored, 1 << 20) // BATCH * BATCH
    index = torch.randperm(sizes.stored, generator=torch.Generator().manual_seed(0))[:count]
    batches = index.split(BATCH)
    positions = [batch.numpy() for batch in batches]
    tasks = {
        "random batches, codes": (count, lambda: [columns.take(part) for part in positions]),
        "random batches, rows decoded": (count, lambda: [targets.read(part) for part in batches]),
        "random batches, found by sample and decoded": (
            count,
            lambda: [aligned.rows(part) for part in batches],
        ),
    }
    return medians(tasks, sizes.repetitions, clock)


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A teacher, and what it is asked."""

    name: str
    inputs: Tensor
    """As the bare loop gives them to the model."""
    raw: Tensor
    """As they are kept."""
    labels: Tensor
    model: nn.Module
    head: Head
    codec: tuple[str, dict[str, Any]]
    temperature: float
    batch_size: int

    @torch.no_grad()
    def bare(self) -> None:
        """The teacher's forward passes alone."""
        for part in self.inputs.split(self.batch_size):
            self.model(part)

    @torch.no_grad()
    def probabilities(self) -> None:
        """Those, and one pass over what they give: the least that a loss or a code can do."""
        for part in self.inputs.split(self.batch_size):
            self.model(part).log_softmax(-1)

    def capture(self) -> None:
        """All of it."""
        samples = ArraySamples(self.raw, {self.head.name: self.labels})
        with tempfile.TemporaryDirectory() as folder:
            capture(
                Teacher(self.model, (self.head,)),
                samples,
                folder,
                temperature=self.temperature,
                codec=self.codec[0],
                codec_options=self.codec[1],
                batch_size=self.batch_size,
            )


def image_teacher(sizes: Sizes, codec: str) -> Asked:
    """MNIST's, 1200-1200, at batch 512, on 8-bit images."""
    images, labels = (part[: sizes.images] for part in data("mnist")["train"])
    return Asked(
        name=f"mnist, {codec}",
        inputs=images,
        raw=(images * 255).round().to(torch.uint8),
        labels=labels,
        model=teacher("mnist"),
        head=Head(space="categorical", size=10),
        codec=(codec, {}),
        temperature=4.0,
        batch_size=512,
    )


def language_model(sizes: Sizes) -> Asked:
    """The one with its whole vocabulary, in the batches that `capture` makes for one so large."""
    words, labels = (part[: sizes.sequences] for part in data("words")["train"])
    model = teacher("words")
    classes = int(model(words[:1]).shape[-1])
    return Asked(
        name="words, threshold",
        inputs=words,
        raw=words,
        labels=labels,
        model=model,
        head=Head(space="categorical", size=classes),
        codec=THRESHOLD,
        temperature=1.0,
        batch_size=(1 << 26) // (classes * words.shape[1]),
    )


def overhead(asked: Asked, pairs: int) -> dict[str, Any]:
    """What `capture` takes beyond the bare loop, as a part of that; medians over pairs."""
    ways = {"bare": asked.bare, "probabilities": asked.probabilities, "capture": asked.capture}
    seconds: dict[str, list[float]] = {way: [] for way in ways}
    for turn in range(pairs + 1):
        for way, do in ways.items():
            begun = time.perf_counter()
            do()
            if turn:
                seconds[way].append(time.perf_counter() - begun)

    def beyond(way: str) -> float:
        both = zip(seconds[way], seconds["bare"], strict=True)
        return statistics.median(one / other - 1 for one, other in both)

    count = asked.labels.numel()
    row = {"what": f"capture, {asked.name}", "rows": count, "n": pairs, "batch": asked.batch_size}
    row |= {f"{way}_seconds": times for way, times in seconds.items()}
    row["beyond_forward"] = beyond("capture")
    row["beyond_forward_of_log_softmax_alone"] = beyond("probabilities")
    taken = {way: statistics.median(times) for way, times in seconds.items()}
    row["forward_us_per_row"] = 1e6 * taken["bare"] / count
    row["added_us_per_row"] = 1e6 * (taken["capture"] - taken["bare"]) / count
    print(
        f"capture, {asked.name}: {row['beyond_forward']:+.1%} on top of "
        f"{row['forward_us_per_row']:.1f} us a row; log_softmax alone "
        f"{row['beyond_forward_of_log_softmax_alone']:+.1%}",
        flush=True,
    )
    return row


def bars_of(found: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """What the issue asks of these rows."""

    def speed(begins: str) -> float:
        return min(row["rows_per_second"] for row in found if row["what"].startswith(begins))

    def beyond(name: str) -> float:
        return next(row["beyond_forward"] for row in found if row["what"] == f"capture, {name}")

    return [
        bar(
            f"decode threshold, {SIMULATED}, one core, rows/s",
            speed(f"decode threshold, {SIMULATED}"),
            ">=",
            5e6,
        ),
        # The lesser of those of digits and of MNIST.
        bar("decode sqrt5, 10 classes, one core, rows/s", speed("decode sqrt5, "), ">=", 2e7),
        bar("random batches, codes, rows/s", speed("random batches, codes"), ">=", 2e6),
        bar("random batches, decoded, rows/s", speed("random batches, rows decoded"), ">=", 2e6),
        bar(
            f"encode after selection, {SIMULATED}, one core, rows/s",
            speed(f"encode after selection threshold, {SIMULATED}"),
            ">=",
            4e6,
        ),
        bar("capture on top of the MNIST teacher", beyond("mnist, sqrt5"), "<=", 0.05),
        bar("capture on top of the language model", beyond("words, threshold"), "<=", 0.15),
    ]


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--quick", action="store_true", help="to see that it runs")
    quick = options.parse_args().quick
    sizes = QUICK if quick else Sizes()
    need_numba()
    clock = time.process_time if quick else time.perf_counter
    found = codes(sizes, clock)
    with tempfile.TemporaryDirectory() as folder:
        found += random_order(sizes, clock, str(Path(folder) / "targets"))
    all_cores()
    for codec in ("sqrt5", "sqrt8"):
        found.append(overhead(image_teacher(sizes, codec), sizes.pairs))
    found.append(overhead(language_model(sizes), sizes.pairs))

    if quick:
        print("not all of it, and CPU time: no result file is written")
    else:
        write("targets_speed", found, bars_of(found))


if __name__ == "__main__":
    main()
