"""The user's own function: what it may return, and what is said where it does not."""

import sys
import textwrap

import pytest
import torch

from limbeck._errors import DataError, OptionError
from limbeck.data import load

MODULE = """
import numpy as np
import torch
from torch.utils.data import Dataset, TensorDataset

from limbeck.data import ArraySamples, DataSet
from limbeck.signals import Head

X = np.arange(120.0).reshape(60, 2)
Y = np.arange(60) % 3


class Items(Dataset):
    def __init__(self, labels):
        self.labels = labels
    def __len__(self):
        return len(self.labels)
    def __getitem__(self, i):
        return X[i], self.labels[i]

def train_and_test(): return (X, Y), (X[:9] + 0.5, Y[:9])
def datasets(): return Items(Y), TensorDataset(torch.tensor(X), torch.tensor(Y))
def only_train(): return {"train": (X, Y)}
def three(): return {"train": (X, Y), "validation": (X[:4], Y[:4]), "test": Items(Y[:5])}
def whole():
    def split(n): return ArraySamples(torch.zeros(n, 2), {"tags": torch.ones(n, 4)})
    head = Head(name="tags", space="binary", size=4)
    return DataSet(train=split(5), validation=split(2), test=split(3), heads=(head,))
def tags(): return {"train": (X, np.ones((60, 4), dtype=bool))}
def tag_items(): return {"train": Items(np.ones((60, 4), dtype=bool))}
def tag_tensors():
    return {"train": TensorDataset(torch.tensor(X), torch.ones(60, 4, dtype=torch.bool))}
def numbers(): return {"train": (X, Y / 2)}
def number_items(): return {"train": Items((Y / 2).tolist())}
def tokens(): return {"train": ({"input_ids": X.astype(int)}, X.astype(int))}
def raising(): return X["a"]
def heads(): return {"train": (X, {"a": Y, "b": X})}
def with_options(*, size=60, name="x"): return {"train": (X[:size], Y[:size])}
def with_path(path, size=60): return {"train": (X[:size] + len(path.read_text()), Y[:size])}
def anything(**options): return {"train": (X[: options["size"]], Y[: options["size"]])}
def bare(): return X, Y
def nothing(): return None
def misnamed(): return {"train": (X, Y), "tests": (X, Y)}
def empty(): return {"train": Items([]), "test": (X, Y)}
def empty_arrays(): return {"train": (X[:0], Y[:0]), "test": (X, Y)}
def no_labels(): return {"train": (X, None)}
def test_without_labels(): return {"train": (X, Y), "test": (X, None)}
def nan(): return {"train": (X * np.nan, Y)}
def one_nan(): return {"train": (np.where(X == 80, np.nan, X), Y)}
def one_below(): return {"train": (X, np.where(np.arange(60) == 41, -1, Y))}
def objects(): return {"train": (np.array([object()] * 60), Y)}
def out_of_range(): return (X, Y), (X, Y + 1)
answer = 42
"""


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "data.py").write_text(textwrap.dedent(MODULE))
    (tmp_path / "mine" / "broken.py").write_text("def f(:")
    (tmp_path / "mine" / "raising.py").write_text("{}[1]")
    (tmp_path / "mine" / "lacking.py").write_text("import no_such_library")
    (tmp_path / "three.txt").write_text("abc")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield
    for name in [name for name in sys.modules if name.split(".")[0] == "mine"]:
        del sys.modules[name]


def sizes(data):
    return [len(split) for split in (data.train, data.validation, data.test)]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("train_and_test", [54, 6, 9]),
        ("datasets", [54, 6, 60]),
        ("only_train", [43, 5, 12]),
        ("three", [60, 4, 5]),
    ],
)
def test_a_function_may_return_splits(name, expected):
    data = load(f"mine.data:{name}")
    assert sizes(data) == expected
    assert (data.head.name, data.head.space, data.head.size) == ("label", "categorical", 3)
    batch = data.train.fetch(torch.arange(3))
    assert (batch.inputs.dtype, batch.labels["label"].dtype) == (torch.float32, torch.int64)


def test_what_is_cut_is_cut_by_class():
    data = load("mine.data:only_train")
    assert torch.bincount(data.test.labels["label"]).tolist() == [4, 4, 4]


def test_a_data_set_says_its_heads_itself():
    data = load("mine.data:whole")
    assert sizes(data) == [5, 2, 3]
    assert (data.head.name, data.head.space, data.head.size) == ("tags", "binary", 4)


@pytest.mark.parametrize(
    ("name", "space", "size", "shape"),
    [
        ("tags", "binary", 4, (43, 4)),
        ("tag_items", "binary", 4, (43, 4)),
        ("tag_tensors", "binary", 4, (43, 4)),
        ("numbers", "real", 1, (43, 1)),
        ("number_items", "real", 1, (43, 1)),
        ("tokens", "categorical", 120, (43, 2)),
    ],
)
def test_heads_are_told_from_labels(name, space, size, shape):
    data = load(f"mine.data:{name}")
    assert (data.head.space, data.head.size) == (space, size)
    labels = data.train.labels["label"]
    assert labels.shape == shape
    assert labels.dtype == (torch.int64 if space == "categorical" else torch.float32)


def test_a_dict_of_labels_is_several_heads():
    heads = load("mine.data:heads").heads
    assert [(head.name, head.space, head.size) for head in heads] == [
        ("a", "categorical", 3),
        ("b", "real", 2),
    ]


def test_options_are_its_arguments():
    assert sum(sizes(load("mine.data:with_options", options={"size": 30}))) == 30
    assert sum(sizes(load("mine.data:anything", options={"size": 30}))) == 30
    with pytest.raises(OptionError, match=r"no option 'sizes'\. Did you mean size\? It takes size"):
        load("mine.data:with_options", options={"sizes": 30})


def test_the_path_is_given_where_there_is_one():
    data = load("mine.data:with_path", path="three.txt")
    values = torch.cat([split.inputs for split in (data.train, data.validation, data.test)])
    assert values.min() == 3
    with pytest.raises(OptionError, match="has no option 'path'"):
        load("mine.data:with_options", path="three.txt")
    with pytest.raises(OptionError, match="needs the option path"):
        load("mine.data:with_path")


def test_labels_can_be_hidden():
    assert int(load("mine.data:datasets", labelled=6).train.labelled.sum()) == 6


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("mine.dota:f", r"cannot import mine\.dota: No module named .*Run in the folder"),
        ("yours:f", "cannot import yours: No module named 'yours'"),
        (
            "mine.lacking:f",
            r"mine\.lacking imports no_such_library, which cannot be.* or install it",
        ),
        ("mine.broken:f", r"mine\.broken is no Python: .*broken\.py, line 1\)\. Mend it"),
        (
            "mine.raising:f",
            r"raising raised KeyError at raising\.py, line \d+: 1\. Mend that module\.",
        ),
        (":f", r"must be \"package\.module:function\""),
        (
            "mine.data:train_and_tests",
            r"no function 'train_and_tests'\. Did you mean train_and_test",
        ),
        ("mine.data:answer", r"answer is int, and no function\. Name one"),
        ("mine.data:bare", r"the train split must be \(inputs, labels\) .* got ndarray"),
        ("mine.data:nothing", r"must return \(train, test\), .* got NoneType"),
        ("mine.data:misnamed", r"got 'tests'\. Did you mean test\?"),
        ("mine.data:empty", "the training split is empty"),
        ("mine.data:empty_arrays", "the training split is empty"),
        ("mine.data:no_labels", "the training split has no labels"),
        ("mine.data:test_without_labels", "the test split has no labels for head label"),
        ("mine.data:objects", "inputs must be numbers, got an array of object"),
        ("mine.data:out_of_range", r"test split must be 0\.\.2 .* got 3 at sample 2"),
    ],
)
def test_what_is_wrong_is_said(source, message):
    with pytest.raises(DataError, match=message):
        load(source)


def test_inputs_that_are_not_finite_are_refused():
    with pytest.raises(DataError, match="the input of train sample 0 holds a number that is not"):
        load("mine.data:nan")


def test_a_function_that_raises_is_named_with_what_it_said():
    with pytest.raises(
        DataError,
        match=r"source 'mine.*:raising' raised IndexError at data\.py, line \d+: .*\. Mend",
    ) as e:
        load("mine.data:raising")
    assert isinstance(e.value.__cause__, IndexError)


def test_a_bad_sample_is_named_by_its_place_before_anything_is_cut_off():
    with pytest.raises(DataError, match="the input of train sample 40 holds"):
        load("mine.data:one_nan")
    with pytest.raises(DataError, match="got -1 at sample 41"):
        load("mine.data:one_below")


def test_arrays_themselves_are_no_source():
    with pytest.raises(OptionError, match=r"name of one, got tuple\. Arrays, \(inputs, labels\)"):
        load((torch.zeros(4, 2), torch.zeros(4)))
