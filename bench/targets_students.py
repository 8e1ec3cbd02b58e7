"""Students of stored rows against students of the live teacher, on four real teachers.

Seed by seed both have the same initial weights, batches and steps, in `limbeck.train.fit`. What
differs is where the teacher's rows come from: asked again at every step, or read from a transfer
set. They are paired by seed, and measured on test data once, at the end: next words and images
that answer right, in points, and KL(teacher || student) at T = 1, in nats. The sizes below were
set on a fifth of the training data (--rehearse), before any student saw the test data. A teacher
whose students are in DIR already is not begun again: some may be run at a time.

Beside each code that is to lose nothing, the word models have students of the 8 most probable
words: with the mass of all others (topk), and renormalised, as most caches of such rows are read.

python bench/targets_students.py [--rehearse] [--quick] [--out DIR] [TEACHER ...]
"""

import argparse
import json
import math
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import mean
from typing import Any

import torch
from _results import bar, write
from _teachers import TEACHERS, Split, build, data, teacher
from _words import UNCOUNTED
from scipy import stats
from torch import Tensor, nn

from limbeck._files import fingerprint
from limbeck.data import ArraySamples
from limbeck.methods import objective
from limbeck.recipe import Train
from limbeck.signals import Batch, Dense, Head, Rows, Sparse
from limbeck.targets import Card, TransferSet, capture
from limbeck.teachers import Teacher
from limbeck.train import Learner, Teach, fit

LIVE = "live"


@dataclass(frozen=True, kw_only=True)
class Store:
    """How rows are kept, and read."""

    codec: str
    options: Mapping[str, Any] = field(default_factory=dict)
    renormalised: bool = False
    """Whether the named classes are read as if there were no others."""
    faithful: bool = True
    """Whether students of it must be those of the live teacher."""
    seeds: int | None = None
    """How many of a study's seeds; None for all."""


@dataclass(frozen=True, kw_only=True)
class Study:
    """The students of one teacher."""

    hidden: int
    """Their width; all else is as in the teacher, without dropout."""
    temperature: float
    seeds: int
    train: Train
    stores: Mapping[str, Store]
    one_in: int = 1
    """Of the test samples, one in so many is measured."""


def _train(epochs: int, batch_size: int, learning_rate: float) -> Train:
    return Train(
        epochs=epochs,
        batch_size=batch_size,
        learning_rate=learning_rate,
        warmup=0.1,
        clip=1.0,
        validate_every=0,
    )


def _threshold(tau: float) -> Store:
    return Store(codec="threshold", options={"tau": tau})


SQUARE_ROOTS = {"sqrt": Store(codec="sqrt", options={"levels": 45})}
PRINCIPAL = Store(codec="principal", options={"step": 0.05})
TRUNCATED = {
    "topk": Store(codec="topk", options={"k": 8}, faithful=False, seeds=3),
    "topk, renormalised": Store(
        codec="topk", options={"k": 8}, renormalised=True, faithful=False, seeds=3
    ),
}
STUDIES = {
    "digits": Study(
        hidden=32, temperature=4.0, seeds=20, train=_train(40, 64, 2e-3), stores=SQUARE_ROOTS
    ),
    "mnist": Study(
        hidden=64, temperature=4.0, seeds=8, train=_train(4, 128, 2e-3), stores=SQUARE_ROOTS
    ),
    "words1000": Study(
        hidden=48,
        temperature=1.0,
        seeds=5,
        train=_train(2, 16, 4e-3),
        stores={"principal": PRINCIPAL, "threshold": _threshold(0.01), **TRUNCATED},
    ),
    "words": Study(
        hidden=32,
        temperature=1.0,
        seeds=5,
        # Of 4 sequences: more logits of a step than 32 MB are given back to the system each time.
        train=_train(1, 4, 4e-3),
        stores={
            "principal": PRINCIPAL,
            "threshold": _threshold(0.02),
            **TRUNCATED,
        },
        one_in=4,
    ),
}


def quick(study: Study) -> Study:
    """The same in seconds, to see that it runs."""
    train = study.train.model_copy(update={"epochs": 1})
    stores = {name: replace(store, seeds=2) for name, store in study.stores.items()}
    return replace(study, seeds=2, train=train, stores=stores, one_in=16)


def splits_of(name: str, *, rehearse: bool, quick: bool) -> tuple[Split, Split]:
    """What students learn from, and what they are measured on."""
    whole = data(name)
    inputs, labels = whole["train"]
    if not rehearse:
        return (inputs, labels), whole["test"]
    cut = len(inputs) * 4 // 5
    end = 128 if quick else cut
    return (inputs[:end], labels[:end]), (inputs[cut:], labels[cut:])


def samples_of(split: Split) -> ArraySamples:
    """Samples whose rows count where there is a label."""
    inputs, labels = split
    counted = labels != UNCOUNTED
    return ArraySamples(inputs, {"label": labels}, mask=None if counted.all() else counted)


def live(asked: Teacher) -> Teach:
    """The teacher's rows, asked again at every step."""

    def teach(batch: Batch) -> dict[str, Rows]:
        return {name: Dense(values=rows) for name, rows in asked.logits(batch.inputs).items()}

    return teach


def stored(targets: TransferSet, samples: ArraySamples, store: Store) -> Teach:
    """The teacher's rows from a transfer set."""
    aligned, cpu = targets.aligned(samples), torch.device("cpu")
    read = renormalised if store.renormalised else lambda rows: rows

    def teach(batch: Batch) -> dict[str, Rows]:
        rows = aligned.rows(batch.index, 0)
        return {name: read(part.to(cpu)) for name, part in rows.items()}

    return teach


def renormalised(rows: Rows) -> Rows:
    """The named classes as if there were no others."""
    assert isinstance(rows, Sparse)
    total = rows.probabilities.sum(dim=-1, keepdim=True)
    return replace(rows, probabilities=rows.probabilities / total, tail=torch.zeros_like(rows.tail))


def student(name: str, study: Study, train: Split, seed: int) -> nn.Module:
    """A student that has learned nothing yet; of one seed, always the same."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build(replace(TEACHERS[name], hidden=study.hidden, dropout=0.0), train)


@torch.no_grad()
def measured(
    model: nn.Module, students: Sequence[nn.Module], split: Split, one_in: int
) -> list[dict[str, float]]:
    """Each student's accuracy, in points, and KL(teacher || student), on rows that count."""
    inputs, labels = (part[::one_in] for part in split)
    right, nats, rows = [0.0] * len(students), [0.0] * len(students), 0
    for index in torch.arange(len(inputs)).split(1024 if labels.dim() == 1 else 16):
        counted = labels[index] != UNCOUNTED
        wanted = labels[index][counted]  # (rows,)
        log_p = model(inputs[index])[counted].log_softmax(-1)  # (rows, classes)
        p = log_p.exp()
        own = _dot(p, log_p)
        rows += len(wanted)
        for place, each in enumerate(students):
            logits = each(inputs[index])[counted]
            right[place] += float((logits.argmax(-1) == wanted).sum())
            nats[place] += float((own - _dot(p, logits) + logits.logsumexp(-1)).double().sum())
    return [
        {"points": 100 * hits / rows, "kl": lost / rows}
        for hits, lost in zip(right, nats, strict=True)
    ]


def _dot(one: Tensor, other: Tensor) -> Tensor:
    return torch.linalg.vecdot(one, other)


def paired(first: Sequence[float], second: Sequence[float]) -> dict[str, Any]:
    """Of second - first: each, their mean, and its 95 % t-interval and that one's width."""
    gaps = [b - a for a, b in zip(first, second, strict=True)]
    found: dict[str, Any] = {"differences": gaps, "mean": mean(gaps), "n": len(gaps)}
    if len(gaps) > 1:
        half = float(stats.t.ppf(0.975, len(gaps) - 1) * stats.sem(gaps))
        found |= {"ci95": [found["mean"] - half, found["mean"] + half], "width": 2 * half}
    return found


def captured(
    asked: Teacher, samples: ArraySamples, study: Study, folder: str
) -> dict[str, TransferSet]:
    """A transfer set for each store; of one code, the same one."""
    made: dict[str, TransferSet] = {}
    for name, store in study.stores.items():
        made[name] = capture(
            asked,
            samples,
            f"{folder}/{store.codec}",
            temperature=study.temperature,
            codec=store.codec,
            codec_options=dict(store.options),
        )
        card = made[name].card
        print(f"  {name}: {card.bytes_per_row:.2f} B/row", flush=True)
    return made


def run(name: str, study: Study, train: Split, test: Split) -> Iterator[dict[str, Any]]:
    """A row for the students of the live teacher, and for those of each store."""
    model = teacher(name)
    size = int(model(train[0][:1]).shape[-1])
    head = Head(space="categorical", size=size)
    asked, samples = Teacher(model, (head,)), samples_of(train)
    terms = objective(
        "soft_targets", (head,), temperature=study.temperature, hard_weight=0.0, soft_weight=1.0
    )
    with tempfile.TemporaryDirectory() as folder:
        targets = captured(asked, samples, study, folder)
        ways: dict[str, Callable[[], Teach]] = {LIVE: lambda: live(asked)}
        for way, store in study.stores.items():
            ways[way] = lambda way=way, store=store: stored(targets[way], samples, store)
        students: list[tuple[str, nn.Module]] = []
        for seed in range(study.seeds):
            for way, teach in ways.items():
                if way != LIVE and seed >= (study.stores[way].seeds or study.seeds):
                    continue
                learner = Learner(
                    name=way, model=student(name, study, train, seed), objective=terms
                )
                fitted = fit(
                    [learner], samples, study.train, heads=(head,), seed=seed, teach=teach()
                )
                students.append((way, learner.model))
                print(f"  seed {seed}, {way}: {fitted.seconds:.1f} s", flush=True)
    scores = measured(model, [each for _, each in students], test, study.one_in)
    for way in ways:
        of_way = [score for (whose, _), score in zip(students, scores, strict=True) if whose == way]
        row: dict[str, Any] = {"teacher": name, "rows": way, "n": len(of_way)}
        row |= {key: [score[key] for score in of_way] for key in ("points", "kl")}
        if way == LIVE:
            first = row
        else:
            row |= described(targets[way].card, study.stores[way])
            for key in ("points", "kl"):
                row[f"{key} - live"] = paired(first[key][: len(of_way)], row[key])
        print("  " + summary(row))
        yield row


def described(card: Card, store: Store) -> dict[str, Any]:
    """What a store is, and what its card says; of truncated rows it says little."""
    return {
        "codec": store.codec,
        "codec_options": dict(store.options),
        "bytes_per_row": card.bytes_per_row,
        "kl_of_rows": card.kl_to_teacher if store.faithful else None,
        "squared_error_of_rows": card.squared_error if store.faithful else None,
        "faithful": store.faithful,
    }


def summary(row: Mapping[str, Any]) -> str:
    """A row in words."""
    said = f"{row['rows']}, n = {row['n']}: {mean(row['points']):.2f} points, "
    said += f"KL {mean(row['kl']):.4f}"
    if "points - live" in row:
        gap = row["points - live"]
        said += f"; from live {gap['mean']:+.3f}, interval {gap.get('width', math.nan):.2f} wide"
        said += f", KL {row['kl - live']['mean']:+.4f}"
    return said


def bars_of(row: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What the issue asks of the students of a store that is to lose nothing."""
    who = f"{row['teacher']}, {row['rows']}"
    gap, kl = row["points - live"], row["kl - live"]
    same = abs(gap["mean"]) <= 0.1 or (
        gap["ci95"][0] <= 0 <= gap["ci95"][1] and gap["width"] <= 0.5
    )
    return [
        bar(
            f"{who}: mean difference from live at most 0.1 points, or 0 in an interval of at most "
            "0.5 (1 = yes)",
            int(same),
            "==",
            1,
        ),
        bar(f"{who}: held-out KL from that of live, nats", abs(kl["mean"]), "<=", 0.01),
        bar(f"{who}: seeds", gap["n"], ">=", 5),
    ]


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("teachers", nargs="*", metavar="TEACHER", help=", ".join(STUDIES))
    options.add_argument("--rehearse", action="store_true", help="without the test data")
    options.add_argument("--quick", action="store_true", help="that, in seconds")
    options.add_argument("--out", default="runs/bench/students", help="what is done already")
    chosen = options.parse_args()
    rehearse = chosen.rehearse or chosen.quick
    found: dict[str, list[dict[str, Any]]] = {}
    for name in STUDIES:
        study = quick(STUDIES[name]) if chosen.quick else STUDIES[name]
        done = Path(chosen.out) / f"{name}-{fingerprint(repr(study))}.json"
        if done.exists() and not rehearse:
            found[name] = json.loads(done.read_text(encoding="utf-8"))
        elif name in (chosen.teachers or STUDIES):
            begun = time.perf_counter()
            print(name)
            train, test = splits_of(name, rehearse=rehearse, quick=chosen.quick)
            found[name] = list(run(name, study, train, test))
            print(f"  {time.perf_counter() - begun:.0f} s")
            if not rehearse:
                done.parent.mkdir(parents=True, exist_ok=True)
                done.write_text(json.dumps(found[name]), encoding="utf-8")
    rows = [row for name in found for row in found[name]]
    bars = [each for row in rows if row.get("faithful") for each in bars_of(row)]
    if rehearse or len(found) < len(STUDIES):
        print("not all of it: no result file is written")
    else:
        write("targets_students", rows, bars)


if __name__ == "__main__":
    main()
