import re
from pathlib import Path

import numpy as np
import pytest
import torch

from limbeck._errors import DataError, ShapeError
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


@pytest.mark.parametrize("name", CODECS)
def test_rows_that_a_gradient_flows_through_are_stored_like_others(name):
    codec, head = make_codec(name, OPTIONS.get(name, {})), REAL if name.startswith("real") else HEAD
    rows = torch.randn(12, 40, generator=torch.Generator().manual_seed(0)).log_softmax(-1)
    _, parts = as_stored(rows, head, codec, 1.0)
    _, same_parts = as_stored(rows.clone().requires_grad_(), head, codec, 1.0)
    assert all(np.array_equal(parts[part], same_parts[part]) for part in parts)


@pytest.mark.parametrize("shape", [(0, 40), (3, 0, 40), (40,), (3, 41), (2, 2, 2, 40)])
def test_rows_are_of_the_heads_size_and_one_or_more(shape):
    message = r"must be \(batch, 40\) or \(batch, rows, 40\), one row or more, got " + re.escape(
        str(shape)
    )
    for values in (torch.zeros(shape), np.zeros(shape, dtype=np.float32)):
        with pytest.raises(ShapeError, match=message):
            as_stored(values, HEAD, make_codec("dense16", {}), 1.0)


@pytest.mark.parametrize("number", [np.nan, np.inf])
@pytest.mark.parametrize("name", CODECS)
def test_what_is_not_finite_is_named_and_not_stored(name, number):
    codec, head = make_codec(name, OPTIONS.get(name, {})), REAL if name.startswith("real") else HEAD
    rows = torch.randn(12, 2, 40).log_softmax(-1)
    rows[7, 1, 3] = number
    with pytest.raises(DataError, match=r"values of head label are not finite at number 7"):
        as_stored(rows, head, codec, 1.0)


def test_a_class_without_mass_is_stored_as_one():
    rows = torch.zeros(3, 40)
    rows[:, 5] = -torch.inf
    decoded, _ = as_stored(rows.log_softmax(-1), HEAD, make_codec("sqrt8", {}), 1.0)
    assert (decoded.values.softmax(-1)[:, 5] == 0).all()


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
