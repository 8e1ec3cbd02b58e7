import numpy as np
import pytest
import torch

from limbeck.signals import Head, Sparse
from limbeck.targets import CODECS, as_stored, make_codec

HEAD = Head(space="categorical", size=40)
OPTIONS = {"topk": {"k": 3}, "sqrt": {"levels": 20}}
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
