"""Folders of images: decoded when asked for, one size, one class a folder."""

import numpy as np
import pytest
import torch
from PIL import Image

from limbeck._errors import DataError, OptionError
from limbeck.data import DatasetSamples, load

RANDOM = np.random.default_rng(0)


def write(folder, num, size=(6, 5), end=".png"):
    """`num` colour images; their pixels `(height, width, 3)`, by file."""
    folder.mkdir(parents=True, exist_ok=True)
    pixels = {}
    for i in range(num):
        array = RANDOM.integers(0, 256, (*size, 3), dtype=np.uint8)
        Image.fromarray(array).save(folder / f"{i:03}{end}")
        pixels[folder / f"{i:03}{end}"] = array
    return pixels


@pytest.fixture
def folder(tmp_path):
    for name in ("cat", "dog"):
        write(tmp_path / "train" / name, 10)
    return tmp_path


def test_images_come_as_channels_height_and_width_with_their_folders_class(folder):
    cats = write(folder / "test" / "cat", 2)
    dogs = write(folder / "test" / "dog", 3)
    data = load("image_folder", path=folder)
    assert isinstance(data.train, DatasetSamples)
    assert [len(split) for split in (data.train, data.validation, data.test)] == [18, 2, 5]
    assert data.head.classes == ("cat", "dog")
    batch = data.test.fetch(torch.arange(5))
    expected = np.stack([*cats.values(), *dogs.values()]).transpose(0, 3, 1, 2) / np.float32(255)
    assert np.array_equal(batch.inputs.numpy(), expected.astype(np.float32))
    assert batch.labels["label"].tolist() == [0, 0, 1, 1, 1]
    assert sorted(data.validation.labels["label"].tolist()) == [0, 1]


def test_a_validation_folder_is_used(folder):
    write(folder / "validation" / "dog", 4)
    data = load("image_folder", path=folder)
    assert [len(split) for split in (data.train, data.validation, data.test)] == [16, 4, 4]
    assert data.validation.labels["label"].tolist() == [1] * 4


def test_a_folder_without_splits_is_cut(folder):
    data = load("image_folder", path=folder / "train")
    assert [len(split) for split in (data.train, data.validation, data.test)] == [14, 2, 4]


def test_grey_images_have_one_channel(folder):
    data = load("image_folder", path=folder, options={"channels": 1})
    assert data.train.fetch(torch.arange(2)).inputs.shape == (2, 1, 6, 5)


def test_images_are_resized_when_a_size_is_given(folder):
    Image.new("RGB", (40, 30), (255, 0, 0)).save(folder / "train" / "cat" / "red.png")
    data = load("image_folder", path=folder, options={"size": [8, 4]})
    assert data.train.fetch(torch.arange(len(data.train))).inputs.shape[1:] == (3, 8, 4)
    red = torch.tensor([1.0, 0.0, 0.0])[:, None, None].expand(3, 8, 4)
    everything = [
        split.fetch(torch.arange(len(split))).inputs
        for split in (data.train, data.validation, data.test)
    ]
    assert any(torch.equal(image, red) for image in torch.cat(everything))


def test_images_of_two_sizes_are_refused_without_one(folder):
    odd = folder / "train" / "dog" / "odd.png"
    Image.new("RGB", (4, 7)).save(odd)
    with pytest.raises(DataError, match=rf"the first is 6x5, {odd} is 7x4\. Set options\.size"):
        load("image_folder", path=folder)


@pytest.mark.parametrize("how", ["text", "truncated", "empty"])
def test_an_image_that_cannot_be_decoded_is_named(folder, how):
    path = folder / "train" / "dog" / "003.png"
    raw = path.read_bytes()
    path.write_bytes({"text": b"no image", "truncated": raw[: len(raw) // 2], "empty": b""}[how])
    with pytest.raises(DataError, match=rf"cannot decode image {path}: .*Remove or mend it\."):
        load("image_folder", path=folder)


def test_a_class_that_only_test_has_is_refused(folder):
    write(folder / "test" / "cow", 1)
    with pytest.raises(DataError, match=r"training images \(cat, dog\), got cow"):
        load("image_folder", path=folder)


def test_a_folder_of_nothing_is_refused(tmp_path):
    with pytest.raises(DataError, match="must hold a folder of images for each class, got none"):
        load("image_folder", path=tmp_path)
    (tmp_path / "train" / "cat").mkdir(parents=True)
    with pytest.raises(DataError, match=r"has no images in its class folders.*\.png"):
        load("image_folder", path=tmp_path)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"channels": 2}, "channels must be 1"),
        ({"size": [3]}, r"size must be \[height, width\] in pixels, got \[3\]"),
        ({"size": [3, 0]}, "size must be"),
    ],
)
def test_an_option_that_does_not_fit_is_refused(folder, options, message):
    with pytest.raises(OptionError, match=message):
        load("image_folder", path=folder, options=options)
