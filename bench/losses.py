"""Memory and time of losses over a vocabulary, forward and backward, beside torch's own.

1024 rows of 152,000 classes in float32, of which the sparse rows name 50: 623 MB a tensor of
logits. Peaks are those of a process of its own, above what it held before the call; times are
medians of interleaved rounds, and ratios are within a round.

Many small calls wait for a busy core far longer than few large ones: on a machine that does other
things too, time it with one thread.

python bench/losses.py [--rounds 7] [--rows 1024] [--width 256] [--threads N]
"""

import argparse
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from _results import bar, write
from torch import Tensor

from limbeck.losses import (
    by_chunks,
    by_chunks_of_both,
    soft_targets,
    sparse_jensen_shannon,
    sparse_reverse_kl,
    sparse_soft_targets,
)
from limbeck.signals import Sparse

CLASSES, KEPT = 152_000, 50
AT_LEAST_SECONDS = 0.1
"""A call that is shorter is timed several times over."""
Call = Callable[[], Any]


def sparse_rows(rows: int, *, temperature: float = 1.0, shape: bool = False) -> Sparse:
    """Named classes of falling probability, and a tail of 0.07."""
    named = torch.arange(1, KEPT + 1).pow(-1.2)
    ids = (torch.randint(CLASSES, (rows, 1)) + 3001 * torch.arange(KEPT)) % CLASSES
    return Sparse(
        ids=ids,
        probabilities=(0.93 * named / named.sum()).expand(rows, KEPT),
        tail=torch.full((rows,), 0.07),
        temperature=temperature,
        tail_shape=torch.randn(CLASSES) if shape else None,
    )


def from_logits(loss: Callable[[Tensor], Tensor], logits: Tensor) -> Call:
    """Forward and backward of a loss of `(rows, classes)` logits."""

    def call() -> None:
        leaf = logits.detach().requires_grad_()
        loss(leaf).mean().backward()

    return call


def from_hidden(loss: Callable[..., Tensor], hidden: Tensor, weight: Tensor) -> Call:
    """Forward and backward of a loss of hidden states and an output layer's weight."""

    def call() -> list[Tensor]:
        leaves = [hidden.detach().requires_grad_(), weight.detach().requires_grad_()]
        loss(*leaves).mean().backward()
        return [leaf.grad for leaf in leaves if leaf.grad is not None]

    return call


def torch_kl(hidden: Tensor, weight: Tensor, teacher: Tensor, teacher_weight: Tensor) -> Tensor:
    """The dense KL divergence of torch, between two output layers."""
    student = F.log_softmax(hidden @ weight.T, dim=-1)
    with torch.no_grad():
        target = F.log_softmax(teacher @ teacher_weight.T, dim=-1)
    return F.kl_div(student, target, log_target=True, reduction="none").sum(-1)


def of_logits(rows: int, width: int) -> dict[str, Callable[[], Call]]:
    """Losses of logits by name; the first is what the others are compared with."""

    def sparse(loss: Callable[[Tensor, Sparse], Tensor], **options: Any) -> Call:
        said = sparse_rows(rows, **options)
        return from_logits(lambda logits: loss(logits, said), torch.randn(rows, CLASSES))

    def cross_entropy() -> Call:
        labels = torch.randint(CLASSES, (rows,))
        return from_logits(
            lambda logits: F.cross_entropy(logits, labels, reduction="none"),
            torch.randn(rows, CLASSES),
        )

    return {
        "torch cross_entropy": cross_entropy,
        "sparse_soft_targets": lambda: sparse(sparse_soft_targets),
        "sparse_soft_targets, T = 2": lambda: sparse(sparse_soft_targets, temperature=2.0),
        "sparse_soft_targets, tail shape": lambda: sparse(sparse_soft_targets, shape=True),
        "sparse_reverse_kl": lambda: sparse(sparse_reverse_kl),
        "sparse_jensen_shannon": lambda: sparse(sparse_jensen_shannon),
        "sparse_reverse_kl, tail shape": lambda: sparse(sparse_reverse_kl, shape=True),
        "sparse_jensen_shannon, tail shape": lambda: sparse(sparse_jensen_shannon, shape=True),
    }


def of_hidden(rows: int, width: int) -> dict[str, Callable[[], Call]]:
    """Losses of hidden states by name; the first is what the others are compared with."""

    def layer() -> tuple[Tensor, Tensor]:
        return torch.randn(rows, width), torch.randn(CLASSES, width).div_(width**0.5)

    def dense() -> Call:
        teacher = layer()
        return from_hidden(lambda h, w: torch_kl(h, w, *teacher), *layer())

    def chunked() -> Call:
        said = sparse_rows(rows, shape=True)
        return from_hidden(lambda h, w: by_chunks(sparse_soft_targets, h, w, said), *layer())

    def chunked_of_both() -> Call:
        teacher, loss = layer(), partial(soft_targets, temperature=1.0)
        return from_hidden(lambda h, w: by_chunks_of_both(loss, h, w, *teacher), *layer())

    return {
        "torch kl_div of two layers": dense,
        "by_chunks, sparse_soft_targets": chunked,
        "by_chunks_of_both, soft_targets": chunked_of_both,
    }


def cases(rows: int, width: int) -> dict[str, Callable[[], Call]]:
    return of_logits(rows, width) | of_hidden(rows, width)


def held() -> int:
    """The most bytes that this program has held so far.

    What `resource` calls so is, of a process that was just made, what its parent had held.
    """
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024


def own_peak(name: str, rows: int, width: int) -> int:
    """Bytes of a case's call above what was held before it; making it leaves no higher peak."""
    cases(4, 8)[name]()()  # what torch allocates once
    call = cases(rows, width)[name]()
    before = held()
    call()
    return held() - before


def peak_of(name: str, rows: int, width: int) -> int:
    """The same, in a process of its own that gives back at once what it frees."""
    options = ["--peak", name, "--rows", str(rows), "--width", str(width)]
    found = subprocess.run(
        [sys.executable, __file__, *options],
        check=True,
        capture_output=True,
        text=True,
        env={**os.environ, "MALLOC_MMAP_THRESHOLD_": str(2**20)},
    )
    return int(found.stdout)


def medians(calls: dict[str, Call], rounds: int) -> dict[str, list[float]]:
    """Seconds of each call, round by round, of short ones a mean; the first round warms up."""
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for turn in range(rounds + 1):
        names = list(calls)
        # Each round begins elsewhere, so that no call is always after the same one.
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            start, count, passed = time.perf_counter(), 0, 0.0
            while passed < AT_LEAST_SECONDS:
                calls[name]()
                passed, count = time.perf_counter() - start, count + 1
            if turn:
                seconds[name].append(passed / count)
    return seconds


def gradient_error(rows: int, width: int) -> float:
    """The largest relative error of a chunked gradient in float32, against float64."""
    hidden, weight = torch.randn(rows, width), torch.randn(CLASSES, width) / width**0.5
    said = sparse_rows(rows, shape=True)
    found = from_hidden(
        lambda h, w: by_chunks(sparse_soft_targets, h, w, said, chunk=16), hidden, weight
    )()
    want = from_hidden(
        lambda h, w: sparse_soft_targets(h @ w.T, said), hidden.double(), weight.double()
    )()
    teacher = torch.randn(rows, width), torch.randn(CLASSES, width) / width**0.5
    found += from_hidden(
        lambda h, w: by_chunks_of_both(soft_targets, h, w, *teacher, chunk=16), hidden, weight
    )()
    want += from_hidden(
        lambda h, w: 16 * torch_kl(h / 4, w, teacher[0].double() / 4, teacher[1].double()),
        hidden.double(),
        weight.double(),
    )()
    pairs = zip(found, want, strict=True)
    return max(float((one - exact).norm() / exact.norm()) for one, exact in pairs)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--rounds", type=int, default=7)
    options.add_argument("--rows", type=int, default=1024)
    options.add_argument("--width", type=int, default=256)
    options.add_argument("--threads", type=int, default=torch.get_num_threads())
    options.add_argument("--peak", help=argparse.SUPPRESS)
    chosen = options.parse_args()
    rows, width = chosen.rows, chosen.width
    torch.manual_seed(0)
    torch.set_num_threads(chosen.threads)
    if chosen.peak:
        print(own_peak(chosen.peak, rows, width))
        return

    # First of all: a new process counts what its parent held at that moment as a peak of its own.
    peaks = {name: peak_of(name, rows, width) for name in cases(rows, width)}
    found: list[dict[str, Any]] = []
    ratios: dict[str, dict[str, float]] = {}
    for group in (of_logits(rows, width), of_hidden(rows, width)):
        seconds = medians({name: make() for name, make in group.items()}, chosen.rounds)
        first = next(iter(group))
        for name, values in seconds.items():
            within = [x / y for x, y in zip(values, seconds[first], strict=True)]
            ratios[name] = {
                "peak": peaks[name] / peaks[first],
                "time": statistics.median(within),
            }
            found.append(
                {
                    "loss": name,
                    "rows": rows,
                    "classes": CLASSES,
                    "threads": chosen.threads,
                    "n": len(values),
                    "seconds": statistics.median(values),
                    "min": min(values),
                    "max": max(values),
                    "peak_bytes": peaks[name],
                    f"peak / {first}": ratios[name]["peak"],
                    f"time / {first}": ratios[name]["time"],
                }
            )
            print(name, {key: round(value, 3) for key, value in ratios[name].items()})

    sparse = [name for name in ratios if name.startswith("sparse_soft_targets")]
    chunked = [name for name in ratios if name.startswith("by_chunks")]
    write(
        "losses",
        found,
        [
            *(
                bar(f"{name}: peak / cross_entropy", ratios[name]["peak"], "<=", 1.0)
                for name in sparse
            ),
            *(
                bar(f"{name}: time / cross_entropy", ratios[name]["time"], "<=", 1.15)
                for name in sparse
            ),
            *(bar(f"{name}: peak / kl_div", ratios[name]["peak"], "<=", 1 / 8) for name in chunked),
            bar("by_chunks: gradient error against float64", gradient_error(64, width), "<=", 1e-5),
        ],
    )


if __name__ == "__main__":
    main()
