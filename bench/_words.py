"""Words of wikitext-2, and a small recurrent language model of them.

The official validation and test files only: the model learns on `valid`, its rows are measured on
`test`. Its vocabulary is whole: every word of either file, also those that only `test` has.
"""

from collections import Counter
from pathlib import Path

import torch
from torch import Tensor, nn

LENGTH = 64
"""Words in one sequence. A sequence begins from nothing: none goes on from the one before it."""
UNCOUNTED = -100
"""The target of a place that is not asked about: what torch's cross-entropy passes over."""


def read_words(folder: Path, split: str) -> list[str]:
    """The words of a file in order, each line ended by `<eos>`."""
    text = (folder / f"{split}.txt").read_text(encoding="utf-8")
    return text.replace("\n", " <eos> ").split()


def vocabulary(folder: Path) -> list[str]:
    """Every word of both files, the commonest of `valid` first, those of `test` alone last."""
    counts = Counter(read_words(folder, "valid"))
    counts.update(dict.fromkeys(read_words(folder, "test"), 0))
    return [word for word, _ in counts.most_common()]


def sequences(folder: Path, split: str, classes: int) -> tuple[Tensor, Tensor]:
    """Word ids and the ids that follow them, both int64 `(sequences, LENGTH)`.

    Args:
        folder: Of the two files.
        split: "valid" or "test".
        classes: How many of the commonest words are asked about; where any other word follows,
            the target is `UNCOUNTED`.
    """
    number = {word: place for place, word in enumerate(vocabulary(folder))}
    ids = torch.tensor([number[word] for word in read_words(folder, split)])
    whole = (len(ids) - 1) // LENGTH * LENGTH
    given, following = ids[:whole], ids[1 : whole + 1]
    asked = following.masked_fill(following >= classes, UNCOUNTED)
    return given.view(-1, LENGTH), asked.view(-1, LENGTH)


class WordModel(nn.Module):
    """Next words from the words so far: an embedding, a GRU, and a layer over the classes.

    Args:
        words: Size of the vocabulary that is read.
        classes: How many of its first words are answered.
        width: Of the embedding and of the hidden state.
        dropout: Fraction of both that training drops.
    """

    def __init__(self, words: int, classes: int, *, width: int, dropout: float) -> None:
        super().__init__()
        self.embedding = nn.Embedding(words, width)
        self.recurrent = nn.GRU(width, width, batch_first=True)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(width, classes)
        nn.init.normal_(self.embedding.weight, std=width**-0.5)
        # What is read and what is answered share their vectors (Press and Wolf, 2017).
        with torch.no_grad():
            self.head.weight.copy_(self.embedding.weight[:classes])
        if words == classes:
            self.head.weight = self.embedding.weight

    def body(self, ids: Tensor) -> Tensor:
        """`(batch, length)` to hidden states `(batch, length, width)`."""
        hidden, _ = self.recurrent(self.dropout(self.embedding(ids)))
        return self.dropout(hidden)

    def forward(self, ids: Tensor) -> Tensor:
        """`(batch, length)` to logits `(batch, length, classes)`."""
        return self.head(self.body(ids))
