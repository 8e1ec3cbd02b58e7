"""The real data sets, as the shipped recipes read them."""

import torch

from limbeck.data import load


def sizes(data):
    return [len(split) for split in (data.train, data.validation, data.test)]


def test_mnist_has_its_published_sizes(data_root):
    data = load("idx", path=data_root / "mnist", limit=100, labelled=10)
    assert sizes(data) == [100, 6000, 10000]
    assert data.head.size == 10
    assert int(data.train.labelled.sum()) == 10
    # the first ten test digits, as everyone knows them
    assert data.test.labels["label"][:10].tolist() == [7, 2, 1, 0, 4, 1, 4, 9, 5, 9]
    assert data.test.fetch(torch.arange(1)).inputs.shape == (1, 28, 28)


def test_trec_has_its_published_sizes_and_classes(data_root):
    data = load("trec", path=data_root / "trec6")
    assert sum(sizes(data)[:2]) == 5452
    # published counts of the test questions: 9, 138, 94, 65, 81, 113
    assert torch.bincount(data.test.labels["label"]).tolist() == [9, 138, 94, 65, 81, 113]


def test_shakespeare_has_65_characters(data_root):
    data = load("characters", path=data_root / "tinyshakespeare", options={"length": 64})
    assert data.head.size == 65
    start = "".join(data.vocabulary[i] for i in data.train.inputs["input_ids"][0])
    assert start == "First Citizen:\nBefore we proceed any further, hear me speak.\n\nAl"


def test_housing_has_its_published_rows(data_root):
    path = data_root / "california-housing" / "housing.csv.gz"
    options = {"target": "median_house_value", "target_scale": 1e5, "missing": "mean"}
    data = load("table", path=path, options=options)
    assert sum(sizes(data)) == 20640
    # 8 numbers and the 5 values of ocean_proximity
    assert data.train.inputs.shape[1] == 13
    dropped = load("table", path=path, options=options | {"missing": "drop"})
    assert sum(sizes(dropped)) == 20640 - 207


def test_wine_without_a_header_is_read(data_root):
    header = [*(f"x{i}" for i in range(11)), "quality"]
    options = {"target": "quality", "header": header, "task": "classification"}
    data = load("table", path=data_root / "wine-quality" / "winequality-red.csv", options=options)
    assert sum(sizes(data)) == 1599
    assert data.head.classes == ("3", "4", "5", "6", "7", "8")


def test_sentences_of_a_tsv_are_read(data_root):
    options = {"target": "label", "text": "sentence", "header": ["sentence", "label"],
               "task": "classification", "test_path": "test.tsv"}  # fmt: skip
    data = load("table", path=data_root / "sst2" / "dev.tsv", options=options)
    assert sizes(data)[2] == 1821
    assert sum(sizes(data)[:2]) == 872
