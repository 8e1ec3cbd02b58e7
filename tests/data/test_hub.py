"""Hugging Face data sets in a local folder: rows, texts and images."""

import builtins
import io

import numpy as np
import pytest
import torch
from PIL import Image

from limbeck._errors import DataError, ExtraError, OptionError
from limbeck.data import load

datasets = pytest.importorskip("datasets")


def features(**columns):
    return datasets.Features(columns)


TOPICS = datasets.ClassLabel(names=["sport", "music"])


def rows(num=40):
    return datasets.Dataset.from_dict(
        {
            "say": [["the ball is in", "a song in c"][i % 2] for i in range(num)],
            "size": [float(i) for i in range(num)],
            "topic": [i % 2 for i in range(num)],
        },
        features=features(
            say=datasets.Value("string"), size=datasets.Value("float64"), topic=TOPICS
        ),
    )


def sizes(data):
    return [len(split) for split in (data.train, data.validation, data.test)]


@pytest.fixture
def folder(tmp_path):
    splits = {"train": rows(), "validation": rows(10), "test": rows(6)}
    datasets.DatasetDict(splits).save_to_disk(str(tmp_path))
    return tmp_path


def test_its_splits_classes_and_texts_are_taken(folder):
    data = load("hf", path=folder, options={"target": "topic", "text": "say"})
    assert sizes(data) == [40, 10, 6]
    assert data.head.classes == ("sport", "music")  # in its own order, not sorted
    assert data.test.labels["label"].tolist() == [0, 1] * 3
    words = [data.vocabulary[i] for i in data.test.inputs["input_ids"][0]]
    assert words == ["the", "ball", "is", "in"]


def test_its_numbers_are_features(folder):
    options = {"target": "topic", "features": ["size"]}
    assert load("hf", path=folder, options=options).train.inputs.shape == (40, 1)
    options = {"target": "size", "features": "topic", "task": "regression"}
    data = load("hf", path=folder, options=options)
    assert data.test.labels["label"][:, 0].tolist() == list(range(6))


def test_a_lone_split_is_cut(tmp_path):
    rows().save_to_disk(str(tmp_path))
    data = load("hf", path=tmp_path, options={"target": "topic", "text": "say"})
    assert sizes(data) == [29, 3, 8]


def test_hidden_labels_are_refused_and_another_split_can_be_the_test(tmp_path):
    hidden = rows(6).map(lambda row: {"topic": -1})
    splits = {"train": rows(), "validation": rows(10), "test": hidden}
    datasets.DatasetDict(splits).save_to_disk(str(tmp_path))
    options = {"target": "topic", "text": "say"}
    with pytest.raises(DataError, match=r"label -1 .*hidden\. Name another split"):
        load("hf", path=tmp_path, options=options)
    data = load("hf", path=tmp_path, options={**options, "test_split": "validation"})
    assert sizes(data) == [36, 4, 10]


# --- images


def image_rows(arrays, labels):
    return datasets.Dataset.from_dict(
        {"picture": [Image.fromarray(array) for array in arrays], "topic": labels},
        features=features(picture=datasets.Image(), topic=TOPICS),
    )


ARRAYS = np.random.default_rng(0).integers(0, 256, (20, 6, 5, 3), dtype=np.uint8)


def test_its_images_are_decoded_when_asked_for(tmp_path):
    labels = [i % 2 for i in range(20)]
    splits = {"train": image_rows(ARRAYS, labels), "test": image_rows(ARRAYS[:3], labels[:3])}
    datasets.DatasetDict(splits).save_to_disk(str(tmp_path))
    data = load("hf", path=tmp_path, options={"target": "topic", "image": "picture"})
    assert sizes(data) == [18, 2, 3]
    batch = data.test.fetch(torch.arange(3))
    expected = ARRAYS[:3].transpose(0, 3, 1, 2) / np.float32(255)
    assert np.array_equal(batch.inputs.numpy(), expected.astype(np.float32))
    assert batch.labels["label"].tolist() == [0, 1, 0]
    assert data.head.classes == ("sport", "music")


def test_an_image_that_cannot_be_decoded_is_named(tmp_path):
    stream = io.BytesIO()
    Image.fromarray(ARRAYS[0]).save(stream, "png")
    good, bad = {"bytes": stream.getvalue(), "path": None}, {"bytes": b"none", "path": None}
    datasets.Dataset.from_dict(
        {"picture": [good] * 10 + [bad] * 10, "topic": [0, 1] * 10},
        features=features(picture=datasets.Image(), topic=TOPICS),
    ).save_to_disk(str(tmp_path))
    with pytest.raises(DataError, match=r"cannot decode image row \d+: "):
        load("hf", path=tmp_path, options={"target": "topic", "image": "picture"})


def test_images_need_named_classes(tmp_path):
    datasets.Dataset.from_dict(
        {"picture": [Image.fromarray(a) for a in ARRAYS], "topic": [0, 1] * 10},
        features=features(picture=datasets.Image(), topic=datasets.Value("int64")),
    ).save_to_disk(str(tmp_path))
    with pytest.raises(OptionError, match="must be a ClassLabel column, 'topic' is none"):
        load("hf", path=tmp_path, options={"target": "topic", "image": "picture"})


# --- what is refused


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"target": "topics"}, r"no column 'topics'\. Did you mean topic\? It has say, size"),
        ({"target": "topic", "image": "picture"}, "no column 'picture'"),
        ({"target": "topic", "train_split": "training"}, "no split 'training', only train"),
    ],
)
def test_a_name_that_does_not_exist_is_refused(folder, options, message):
    with pytest.raises(DataError, match=message):
        load("hf", path=folder, options=options)


def test_a_folder_that_save_to_disk_did_not_make_is_refused(tmp_path):
    with pytest.raises(DataError, match=f"cannot load the data set {tmp_path}"):
        load("hf", path=tmp_path, options={"target": "x"})


def test_a_name_is_asked_of_the_hub(monkeypatch):
    asked = []

    def load_dataset(name, subset):
        asked.append((name, subset))
        return datasets.DatasetDict({"train": rows()})

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    options = {"target": "topic", "text": "say", "subset": "plain"}
    assert sizes(load("hf:someone/topics", options=options)) == [29, 3, 8]
    assert asked == [("someone/topics", "plain")]


def test_a_name_that_the_hub_cannot_give_is_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    with pytest.raises(DataError, match=r"cannot load the data set someone/nothing: .*network"):
        load("hf:someone/nothing", options={"target": "topic"})


def test_without_the_library_the_extra_is_named(folder, monkeypatch):
    real = builtins.__import__

    def without(name, *arguments, **keywords):
        if name == "datasets":
            raise ImportError(name)
        return real(name, *arguments, **keywords)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ExtraError, match=r"pip install 'limbeck\[hf\]'"):
        load("hf", path=folder, options={"target": "topic"})
