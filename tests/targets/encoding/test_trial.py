import re
from pathlib import Path

import numpy as np
import pytest
import torch

from limbeck.signals import Head, Sparse
from limbeck.targets import CODECS, as_stored, make_codec

HEAD = Head(space="categorical", size=40)
OPTIONS = {"topk": {"k": 3}, "sqrt": {"levels": 20}}
PAGE = Path(__file__).parents[3] / "docs" / "targets.md"
REAL = Head(space="real", size=40)


@pytest.mark.parametrize("name", CODECS)
def test_arrays_and_tensors_are_stored_alike(name):
    codec, head = make_codec(name, OPTIONS.get(name, {})), REAL if name.startswith("real") else HEAD
    rows = torch.randn(12, 40, generator=torch.Generator().manual_seed(0)).log_softmax(-1)
    one, parts = as_stored(rows, head, codec, 1.0)
    other, same_parts = as_stored(rows.numpy(), head, codec, 1.0)
    assert parts.keys() == same_parts.keys()
    assert all(np.array_equal(parts[part], same_parts[part]) for part in parts)
    if isinstance(one, Sparse):
        assert one.probabilities.equal(other.probabilities)
    else:
        assert one.values.equal(other.values)


def test_rows_of_samples_come_back_by_sample():
    rows = torch.randn(3, 5, 40).log_softmax(-1)
    decoded, parts = as_stored(rows, HEAD, make_codec("dense32", {}), 1.0)
    assert decoded.values.equal(rows)
    assert parts["values"].shape[0] == 15


def test_the_example_of_the_page_says_the_same_of_arrays_and_tensors(capsys):
    text = PAGE.read_text(encoding="utf-8")
    code = re.search(r"without a teacher or a store:\n\n```python\n(.*?)```", text, re.DOTALL)[1]
    rows = (3 * torch.randn(200, 40, generator=torch.Generator().manual_seed(0))).log_softmax(-1)
    said = []
    for log_p in (rows, rows.numpy()):
        exec(code, {"log_p": log_p})
        said.append(capsys.readouterr().out)
    assert said[0] == said[1]
    kl, size = map(float, said[0].split())
    assert 0 < kl < 0.2
    assert 1 < size < 40
