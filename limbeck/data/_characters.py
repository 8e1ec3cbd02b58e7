"""A text, as windows of characters that say the next character."""

from pathlib import Path

import numpy as np
import torch

from limbeck._errors import DataError, OptionError
from limbeck.data._data_set import DataSet
from limbeck.data._encoder import CharacterEncoder
from limbeck.data._paths import need_file, need_path
from limbeck.data._samples import ArraySamples
from limbeck.data._split import Cut
from limbeck.signals import Head


def characters(
    path: Path | None, cut: Cut, *, length: int = 128, encoding: str = "utf-8"
) -> DataSet:
    """Consecutive windows of `length` characters, and at each of them the next character.

    Inputs are `{"input_ids": (samples, length)}`, labels `(samples, length)`. The text is cut in
    its own order, not at random, and no window crosses a cut: first training, then validation,
    and the test split at the end. The vocabulary is all the text's characters, sorted.

    Args:
        path: The file, or a folder with the file `input.txt`.
        cut: The fractions of the splits; its seed plays no part.
        length: Characters in a window, 1 or more.
        encoding: Of the file.
    """
    if length < 1:
        raise OptionError(f"length must be 1 character or more, got {length}.")
    path = need_path(path, "characters", "a text file")
    text = _read(path / "input.txt" if path.is_dir() else path, encoding)
    vocabulary = tuple(sorted(set(text)))
    codes = np.frombuffer(text.encode("utf-32-le"), dtype=np.uint32)
    ids = torch.from_numpy(np.unique(codes, return_inverse=True)[1].astype(np.int64))
    num_known = len(ids) - cut.num_test(len(ids))
    num_train = num_known - cut.num_validation(num_known)
    edges = {
        "train": (0, num_train),
        "validation": (num_train, num_known),
        "test": (num_known, len(ids)),
    }
    splits = {}
    for name, (start, stop) in edges.items():
        num_windows = (stop - start - 1) // length
        if num_windows < 1:
            raise DataError(
                f"the {name} split must have more than length = {length} characters, got "
                f"{stop - start} of the {len(ids)} in {path}. Take shorter windows."
            )
        end = start + num_windows * length
        splits[name] = ArraySamples(
            {"input_ids": ids[start:end].reshape(-1, length)},
            {"label": ids[start + 1 : end + 1].reshape(-1, length)},
        )
    head = Head(space="categorical", size=len(vocabulary), classes=vocabulary)
    encoder = CharacterEncoder(characters="".join(vocabulary))
    return DataSet(**splits, heads=(head,), vocabulary=vocabulary, encoder=encoder)


def _read(path: Path, encoding: str) -> str:
    try:
        text = need_file(path, "a text").read_text(encoding=encoding)
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is no {encoding} text: {error}. Set options.encoding.") from None
    except LookupError:
        raise OptionError(f"there is no encoding {encoding!r}. Say utf-8, or latin-1.") from None
    if not text:
        raise DataError(f"{path} is empty. Choose a text.")
    return text
