"""What the loss of every method costs, forward and backward, in time and memory.

Losses of rows beside torch's cross-entropy of the same logits, 4096 rows of 1000 and of 32,000
classes in float32, with their default options at T = 4; those of sparse rows read 50 named classes
at T = 1. Losses of features beside torch's squared error of the same features with numbers of their
shape: 64 samples of the shapes in `STAGES`, `TOKENS` and `VECTORS`; what a method learns beside
the student takes its gradient too.

Peaks are those of a process of its own, above what it held before the call, logits and features
not counted. Times are medians of interleaved rounds, and ratios are within a round, of which the
lowest and highest are kept, too. What is freed stays with the process, as on a GPU: else it
depends on the size of the last tensor whether the system is asked for pages, which costs more than
a small loss.

python bench/costs.py [--rounds 5] [--threads N] [--quick] [--only METHOD]

Each method's card has its time at 4096 rows of 1000 classes, or of features, as `cost`.
"""

import argparse
import os
import statistics
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from _results import bar, write
from losses import held, medians
from torch import Tensor, nn

from limbeck.methods import METHODS
from limbeck.methods.features import FEATURE_METHODS, FeatureMethod
from limbeck.methods.features._method import Pair
from limbeck.signals import Batch, Dense, Head, Rows, Sparse

Call = Callable[[], Any]
Case = Callable[[], Call]
"""Makes what a call needs, and returns the call: forward and backward."""
ROWS, CLASSES, QUICK = 4096, (1000, 32_000), (16, 60)
KEPT, TEMPERATURE = 50, 4.0
SAMPLES, QUICK_SAMPLES, ANSWERS = 64, 4, 100
STAGES = [((32, 32, 32), (64, 32, 32)), ((64, 16, 16), (128, 16, 16)), ((128, 8, 8), (256, 8, 8))]
"""Maps of one sample, the student's and the teacher's: three stages of a network for 32 x 32."""
TOKENS = [((128, 384), (128, 768))] * 3
VECTORS = [((128,), (256,))]
OF_VECTORS = ("pkt", "rkd", "cc", "cka", "crd")
"""Methods of any features that are measured on what their papers compare: vectors."""
SAME_WIDTH = ("simkd", "distilbert")
"""Methods whose student is as wide as its teacher where they look."""
MANY = 10_000
"""Classes from which on methods of `FEW_CLASSES` are left out."""
FEW_CLASSES = ("mlkd",)
"""It multiplies all rows with each other, and all classes, at five temperatures: of 4096 rows some
hundred times a cross-entropy of 1000 classes, and minutes of 32,000. The paper's batches are 64."""
KEEPING = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(2**40)}
"""By which glibc keeps what is freed; read when a process begins."""
CROSS_ENTROPY, SQUARED_ERROR = "cross-entropy", "squared error"


def of_rows(rows: int, classes: int) -> dict[str, Case]:
    """Losses of rows by name; the first is what the others are compared with."""
    cases: dict[str, Case] = {CROSS_ENTROPY: partial(cross_entropy, rows, classes)}
    for name, method in METHODS.items():
        if classes >= MANY and name in FEW_CLASSES:
            continue
        cases[name] = partial(towards_rows, name, rows, classes, sparse=False)
        if method.sparse is not None:
            cases[f"{name}, sparse rows"] = partial(towards_rows, name, rows, classes, sparse=True)
    return cases


def cross_entropy(rows: int, classes: int) -> Call:
    logits, labels = torch.randn(rows, classes), torch.randint(classes, (rows,))
    return backward(lambda leaf: F.cross_entropy(leaf, labels, reduction="none"), [logits])


def towards_rows(name: str, rows: int, classes: int, *, sparse: bool) -> Call:
    method, head = METHODS[name], Head(space="categorical", size=classes)
    loss = method.loss(head, temperature=1.0 if sparse else TEMPERATURE, options=method.options())
    said = named(rows, classes) if sparse else Dense(values=torch.randn(rows, classes))
    batch = some(rows, torch.randint(classes, (rows,)))
    return backward(lambda leaf: loss(leaf, said, batch), [torch.randn(rows, classes)])


def named(rows: int, classes: int) -> Rows:
    """Rows of falling probabilities, and a tail of 0.07."""
    kept = min(KEPT, classes // 2)
    falling = torch.arange(1, kept + 1).pow(-1.2)
    return Sparse(
        ids=(torch.randint(classes, (rows, 1)) + torch.arange(kept)) % classes,
        probabilities=(0.93 * falling / falling.sum()).expand(rows, kept),
        tail=torch.full((rows,), 0.07),
    )


def of_features(samples: int) -> dict[str, Case]:
    """Losses of features by name and what they look at, and what each kind is compared with."""
    cases: dict[str, Case] = {}
    for name, method in FEATURE_METHODS.items():
        kind, shapes = looked_at(name, method)
        cases.setdefault(beside(kind, len(shapes)), partial(squared_error, samples, shapes))
        cases[name] = partial(towards_features, name, samples)
    return cases


def looked_at(name: str, method: FeatureMethod) -> tuple[str, Sequence[tuple[Any, Any]]]:
    """What kind of features a method is measured on, and the shapes of its taps."""
    kind = "vectors" if name in OF_VECTORS else method.kinds[0]
    every = {"maps": STAGES, "tokens": TOKENS, "vectors": VECTORS}[kind]
    chosen = every if method.fewest_taps > 1 else every[len(every) // 2 :][:1]
    if name in SAME_WIDTH:
        chosen = [(theirs, theirs) for _, theirs in chosen]
    return kind, chosen


def beside(kind: str, taps: int) -> str:
    """What the losses of so many taps of a kind are compared with."""
    return f"{SQUARED_ERROR} of {kind}, {taps} taps" if taps > 1 else f"{SQUARED_ERROR} of {kind}"


def squared_error(samples: int, shapes: Sequence[tuple[Any, Any]]) -> Call:
    ours = [torch.randn(samples, *student) for student, _ in shapes]
    theirs = [torch.randn(samples, *student) for student, _ in shapes]

    def loss(*leaves: Tensor) -> Tensor:
        pairs = zip(leaves, theirs, strict=True)
        return torch.stack([F.mse_loss(one, other) for one, other in pairs]).sum()

    return backward(loss, ours)


def towards_features(name: str, samples: int) -> Call:
    method = FEATURE_METHODS[name]
    _, shapes = looked_at(name, method)
    pairs = [
        Pair(
            student=student,
            teacher=teacher,
            num_samples=50_000,
            student_classifier=nn.Linear(student[0], ANSWERS),
            teacher_classifier=nn.Linear(teacher[0], ANSWERS),
        )
        for student, teacher in shapes
    ]
    module = method.make(pairs, **method.options().model_dump())
    theirs = [torch.randn(samples, *teacher) for _, teacher in shapes]
    batch = some(samples, torch.randint(ANSWERS, (samples,)))

    def loss(*leaves: Tensor) -> Tensor:
        module.zero_grad(set_to_none=True)
        values: Tensor = module(list(leaves), theirs, batch)
        return values

    return backward(loss, [torch.randn(samples, *student) for student, _ in shapes])


def some(size: int, labels: Tensor) -> Batch:
    return Batch(inputs=torch.empty(size, 0), labels={"label": labels}, index=torch.arange(size))


def backward(loss: Callable[..., Tensor], tensors: Sequence[Tensor]) -> Call:
    """Forward and backward of a loss of these."""

    def call() -> None:
        loss(*(tensor.detach().requires_grad_() for tensor in tensors)).mean().backward()

    return call


def groups(*, quick: bool) -> dict[str, dict[str, Case]]:
    """Everything that is measured, by the shape that it is measured at."""
    rows, sizes = (QUICK[0], QUICK[1:]) if quick else (ROWS, CLASSES)
    samples = QUICK_SAMPLES if quick else SAMPLES
    found = {f"{rows} x {classes}": of_rows(rows, classes) for classes in sizes}
    return {**found, f"{samples} samples": of_features(samples)}


def compared_with(name: str) -> str:
    """The case that another one is compared with."""
    if name not in FEATURE_METHODS:
        return name if name.startswith(SQUARED_ERROR) else CROSS_ENTROPY
    kind, shapes = looked_at(name, FEATURE_METHODS[name])
    return beside(kind, len(shapes))


def own_peak(shape: str, name: str) -> int:
    """Bytes of a case's call above what was held before it; making it leaves no higher peak."""
    for cases in groups(quick=True).values():
        if name in cases:
            cases[name]()()  # what torch allocates once
    call = groups(quick=False)[shape][name]()
    before = held()
    call()
    return held() - before


def peak_of(shape: str, name: str) -> int:
    """The same, in a process of its own that gives back at once what it frees."""
    others = {key: value for key, value in os.environ.items() if key not in KEEPING}
    found = subprocess.run(
        [sys.executable, __file__, "--peak", shape, name],
        check=True,
        capture_output=True,
        text=True,
        env={**others, "MALLOC_MMAP_THRESHOLD_": str(2**20)},
    )
    return int(found.stdout)


def measured(shape: str, cases: Mapping[str, Case], rounds: int, *, peaks: bool) -> list[Any]:
    """A row of the result file for each case of a shape.

    One case is timed at a time, with what it is compared with: all of them would not fit.
    """
    peak = {name: peak_of(shape, name) if peaks else None for name in cases}
    found = []
    for name, make in cases.items():
        first = compared_with(name)
        seconds = medians({first: cases[first](), name: make()}, rounds)
        within = [x / y for x, y in zip(seconds[name], seconds[first], strict=True)]
        found.append(
            {
                "loss": name,
                "shape": shape,
                "n": rounds,
                "threads": torch.get_num_threads(),
                "seconds": statistics.median(seconds[name]),
                "min": min(seconds[name]),
                "max": max(seconds[name]),
                "peak_bytes": peak[name],
                "compared_with": first,
                "time": statistics.median(within),
                "time_min": min(within),
                "time_max": max(within),
                "peak": _ratio(peak[name], peak[first]),
            }
        )
        print(f"{shape:14} {name:34} {found[-1]['time']:7.2f} x  {found[-1]['peak']}", flush=True)
    return found


def _ratio(peak: int | None, other: int | None) -> float | None:
    """One peak by another; None where that is less than a process's heap has to spare."""
    return None if peak is None or other is None or other < 2**21 else peak / other


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--threads", type=int, default=torch.get_num_threads())
    options.add_argument("--quick", action="store_true", help="small shapes, a round, no peaks")
    options.add_argument("--only", metavar="METHOD", help="one method, for its card; no file")
    options.add_argument("--peak", nargs=2, help=argparse.SUPPRESS)
    chosen = options.parse_args()
    torch.manual_seed(0)
    torch.set_num_threads(chosen.threads)
    if chosen.peak:
        print(own_peak(*chosen.peak))
        return
    if not chosen.quick and not KEEPING.items() <= os.environ.items():
        os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, **KEEPING})
    rounds = 1 if chosen.quick else chosen.rounds
    found: list[Any] = []
    for shape, every in groups(quick=chosen.quick).items():
        cases = {
            name: make
            for name, make in every.items()
            if chosen.only is None or name.partition(",")[0] == chosen.only
        }
        for name in list(cases):
            cases.setdefault(compared_with(name), every[compared_with(name)])
        found += measured(shape, cases, rounds, peaks=not chosen.quick)
    if chosen.quick or chosen.only:
        print("not all of it: no result file is written")
        return
    methods = {one["loss"].partition(",")[0] for one in found}
    write(
        "costs",
        found,
        [
            bar(
                "methods whose loss is not measured",
                len((METHODS.keys() | FEATURE_METHODS.keys()) - methods),
                "<=",
                0,
            ),
        ],
    )


if __name__ == "__main__":
    main()
