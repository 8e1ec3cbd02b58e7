"""Four real teachers, trained once, and the rows they say.

| name | a row is | classes | learned on | measured on |
| --- | --- | --- | --- | --- |
| digits | an image of scikit-learn's digits | 10 | 1437 images | 360 |
| mnist | an image of MNIST | 10 | 60,000 images | 10,000 |
| words1000 | a next word of wikitext-2 that is one of the 1000 commonest | 1000 | valid | test |
| words | a next word of wikitext-2 | 18,328: all of both files | valid | test |

Each ends in a linear layer. What is kept is its input, the hidden state of every row, and rows of
logits are made from that when they are asked for: 18,328 logits of 245,568 rows would be 18 GB.
They lie below `runs/bench`, under the hash of the settings that made them.

python bench/_teachers.py     trains what is missing, and prints how good each is
"""

import json
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from _words import UNCOUNTED, WordModel, sequences, vocabulary
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import Tensor, nn

from limbeck._files import fingerprint
from limbeck.data import load
from limbeck.data._paths import find_path
from limbeck.models import MLP, load_weights, save_weights

FOLDER = Path("runs/bench/teachers")
Split = tuple[Tensor, Tensor]
"""What a model is given, and the class ids it should answer, `UNCOUNTED` where none is asked."""


@dataclass(frozen=True)
class Rows:
    """Rows of logits, made from hidden states on disk as they are asked for."""

    hidden: np.ndarray
    """`(rows, width)` float32, memory-mapped."""
    labels: np.ndarray
    """`(rows,)` int64 class ids."""
    weight: Tensor
    """`(classes, width)` of the last layer."""
    bias: Tensor
    """`(classes,)` of the last layer."""

    def __len__(self) -> int:
        return len(self.labels)

    def logits(self, start: int = 0, stop: int | None = None) -> np.ndarray:
        """`(rows, classes)` float32 of the rows from `start` up to `stop`."""
        hidden = torch.from_numpy(np.array(self.hidden[start:stop]))
        return F.linear(hidden, self.weight, self.bias).numpy()

    def batches(self, size: int = 2048, limit: int | None = None) -> Iterator[Any]:
        """Logits `(size, classes)` and labels `(size,)`, in order, up to `limit` rows."""
        stop = len(self) if limit is None else min(limit, len(self))
        for start in range(0, stop, size):
            end = min(start + size, stop)
            yield self.logits(start, end), np.array(self.labels[start:end])


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How a teacher is trained: AdamW, one cycle of the learning rate, one seed."""

    hidden: int
    """Width of each of an MLP's two hidden layers, or of a word model."""
    dropout: float
    epochs: int
    batch_size: int
    """Samples: images, or sequences of words."""
    learning_rate: float
    weight_decay: float = 0.01
    classes: int = 10
    """0 for the whole vocabulary."""
    seed: int = 0


TEACHERS = {
    "digits": Settings(hidden=256, dropout=0.2, epochs=40, batch_size=64, learning_rate=2e-3),
    # The recipe's architecture; its schedule, 80 epochs of jittered images, is not needed here.
    "mnist": Settings(hidden=1200, dropout=0.2, epochs=8, batch_size=256, learning_rate=2e-3),
    "words1000": Settings(
        hidden=128, dropout=0.3, epochs=4, batch_size=16, learning_rate=4e-3, classes=1000
    ),
    "words": Settings(
        hidden=128, dropout=0.3, epochs=4, batch_size=16, learning_rate=4e-3, classes=0
    ),
}


def rows(name: str, split: str) -> Rows:
    """What a teacher says of "train" or "test"; it is trained first if it never was."""
    folder = _trained(name)
    model = teacher(name)
    return Rows(
        hidden=np.load(folder / f"{split}-hidden.npy", mmap_mode="r"),
        labels=np.load(folder / f"{split}-labels.npy", mmap_mode="r"),
        weight=_head(model).weight.detach(),
        bias=_head(model).bias.detach(),
    )


def teacher(name: str) -> nn.Module:
    """A trained teacher; its rows are what it answers where its data's labels are counted."""
    folder = _trained(name)
    model = build(TEACHERS[name], data(name)["train"])
    load_weights(model, folder / "model.safetensors")
    return model.eval()


def data(name: str) -> dict[str, Split]:
    """Inputs and labels of the splits "train" and "test", in the order of the rows.

    Images are `(samples, pixels)` with labels `(samples,)`; words are `(sequences, LENGTH)` both.
    """
    return _DATA[name]()


def _digits() -> dict[str, Split]:
    found = load_digits()
    images = torch.from_numpy((found.data / 16).astype(np.float32))
    labels = torch.from_numpy(found.target).long()
    train, test = train_test_split(
        torch.arange(len(labels)), test_size=0.2, random_state=0, stratify=labels
    )
    return {"train": (images[train], labels[train]), "test": (images[test], labels[test])}


def _mnist() -> dict[str, Split]:
    found = load("idx", path="mnist")
    parts = [found.train, found.validation, found.test]
    images = [part.fetch(torch.arange(len(part))).inputs.flatten(1) for part in parts]
    labels = [part.labels["label"] for part in parts]
    train = torch.cat(images[:2]), torch.cat(labels[:2])
    return {"train": train, "test": (images[2], labels[2])}


def _words(classes: int) -> dict[str, Split]:
    folder = find_path("wikitext-2-valid-test")
    classes = classes or len(vocabulary(folder))
    return {
        "train": sequences(folder, "valid", classes),
        "test": sequences(folder, "test", classes),
    }


_DATA: dict[str, Callable[[], dict[str, Split]]] = {
    "digits": _digits,
    "mnist": _mnist,
    "words1000": lambda: _words(1000),
    "words": lambda: _words(0),
}


def build(settings: Settings, train: Split) -> nn.Module:
    """A model that has learned nothing yet; `train` is what it is to learn from."""
    if train[0].is_floating_point():
        width = settings.hidden
        inputs = train[0].shape[1]
        return MLP(inputs, [width, width], settings.classes, dropout=settings.dropout)
    words = len(vocabulary(find_path("wikitext-2-valid-test")))
    classes = settings.classes or words
    model = WordModel(words, classes, width=settings.hidden, dropout=settings.dropout)
    # It begins by knowing how common each word is, which saves it the first epoch.
    counted = torch.bincount(train[1][train[1] != UNCOUNTED], minlength=classes) + 0.1
    with torch.no_grad():
        model.head.bias.copy_((counted / counted.sum()).log())
    return model


def _head(model: nn.Module) -> nn.Linear:
    last = model.head if isinstance(model, WordModel) else model.layers[-1]
    assert isinstance(last, nn.Linear)
    return last


def _body(model: nn.Module) -> Callable[[Tensor], Tensor]:
    return model.body if isinstance(model, WordModel) else model.layers[:-1]


def _trained(name: str) -> Path:
    """The folder of a teacher and of its hidden states; they are made if they are not there."""
    settings = TEACHERS[name]
    key = fingerprint(asdict(settings))[:12]
    folder = FOLDER / f"{name}-{key}"
    if not (folder / "about.json").is_file():
        folder.mkdir(parents=True, exist_ok=True)
        splits = data(name)
        begun = time.perf_counter()
        model = _fit(settings, splits["train"])
        save_weights(model, folder / "model.safetensors")
        about = {"name": name, "seconds": time.perf_counter() - begun, "settings": asdict(settings)}
        for split, part in splits.items():
            hidden, labels = _answers(model, part)
            np.save(folder / f"{split}-hidden.npy", hidden.numpy())
            np.save(folder / f"{split}-labels.npy", labels.numpy())
        (folder / "about.json").write_text(json.dumps(about, indent=1), encoding="utf-8")
    return folder


def _fit(settings: Settings, train: Split) -> nn.Module:
    torch.manual_seed(settings.seed)
    model, (inputs, labels) = build(settings, train), train
    body, head = _body(model), _head(model)
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay
    )
    steps = settings.epochs * math.ceil(len(inputs) / settings.batch_size)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, settings.learning_rate, total_steps=steps, pct_start=0.1
    )
    for _ in range(settings.epochs):
        for index in torch.randperm(len(inputs)).split(settings.batch_size):
            counted = labels[index] != UNCOUNTED
            loss = F.cross_entropy(head(body(inputs[index])[counted]), labels[index][counted])
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
    return model.eval()


@torch.no_grad()
def _answers(model: nn.Module, part: Split) -> Split:
    """Hidden states `(rows, width)` and labels `(rows,)` of the places that count."""
    inputs, labels = part
    counted = labels != UNCOUNTED
    body = _body(model)
    hidden = [body(inputs[index])[counted[index]] for index in torch.arange(len(inputs)).split(256)]
    return torch.cat(hidden), labels[counted]


def quality(name: str, split: str = "test", limit: int = 16384) -> dict[str, float]:
    """Top-1 accuracy and perplexity on the first rows of a split."""
    right = nats = 0.0
    asked = rows(name, split)
    for logits, labels in asked.batches(limit=limit):
        wanted = torch.from_numpy(labels)
        nats += float(F.cross_entropy(torch.from_numpy(logits), wanted, reduction="sum"))
        right += float((logits.argmax(axis=1) == labels).sum())
    count = min(limit, len(asked))
    return {"rows": count, "accuracy": right / count, "perplexity": math.exp(nats / count)}


if __name__ == "__main__":
    for each in TEACHERS:
        print(each, json.loads((_trained(each) / "about.json").read_text())["seconds"])
        for part in ("train", "test"):
            print(f"  {part}: {quality(each, part)}")
