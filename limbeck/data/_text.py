"""Texts as sequences of words."""

import re
from collections import Counter
from collections.abc import Sequence

import torch
from torch import Tensor

from limbeck._errors import DataError, OptionError

PAD, UNKNOWN = "<pad>", "<unknown>"
_WORD = re.compile(r"\w+|[^\w\s]")


def words_of(text: str) -> list[str]:
    """Lower-cased words, and punctuation marks one by one."""
    return _WORD.findall(text.lower())


def build_vocabulary(texts: Sequence[str], *, min_count: int) -> tuple[str, ...]:
    """Padding (0), the unknown word (1), then words from the most to the least frequent.

    Args:
        texts: Of training samples only.
        min_count: A word that appears less often is unknown; 1 keeps all.
    """
    if min_count < 1:
        raise OptionError(f"min_count must be 1 or more, got {min_count}.")
    counts = Counter(word for text in texts for word in words_of(text))
    frequent = [word for word, count in counts.items() if count >= min_count]
    if not frequent:
        raise DataError(
            f"the training texts must have a word that appears min_count = {min_count} times, got "
            f"{len(counts)} words and none that does. Lower min_count, or look at the column."
        )
    return PAD, UNKNOWN, *sorted(frequent, key=lambda word: (-counts[word], word))


def longest(texts: Sequence[str], *, max_length: int) -> int:
    """Words in the longest text, at most `max_length`."""
    if max_length < 1:
        raise OptionError(f"max_length must be 1 word or more, got {max_length}.")
    return max(1, min(max_length, max((len(words_of(text)) for text in texts), default=1)))


def encode_texts(
    texts: Sequence[str], vocabulary: Sequence[str], *, length: int
) -> dict[str, Tensor]:
    """`input_ids` and `attention_mask`, each int64 `(texts, length)`.

    Longer texts lose their end. A text without any word is one unknown word: attention over
    nothing has no answer.
    """
    ids = {word: position for position, word in enumerate(vocabulary)}
    unknown = ids[UNKNOWN]
    input_ids = torch.full((len(texts), length), ids[PAD])
    lengths = torch.ones(len(texts), dtype=torch.int64)
    for row, text in enumerate(texts):
        words = words_of(text)[:length] or [UNKNOWN]
        input_ids[row, : len(words)] = torch.tensor([ids.get(word, unknown) for word in words])
        lengths[row] = len(words)
    attention_mask = (torch.arange(length) < lengths[:, None]).long()
    return {"input_ids": input_ids, "attention_mask": attention_mask}
