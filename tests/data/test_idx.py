"""The idx files: read as their format says, and every damage refused by name."""

import gzip
import struct

import numpy as np
import pytest
import torch

from limbeck._errors import DataError
from limbeck.data import load

RANDOM = np.random.default_rng(0)


def idx_bytes(array):
    return struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.tobytes()


def write(folder, prefix, images, labels, *, dash="-", end=""):
    for what, array in ("images", images), ("labels", labels):
        raw = idx_bytes(array)
        name = f"{prefix}-{what}{dash}idx{array.ndim}-ubyte{end}"
        (folder / name).write_bytes(gzip.compress(raw) if end else raw)


@pytest.fixture
def arrays():
    images = RANDOM.integers(0, 256, (70, 4, 3), dtype=np.uint8)
    return images, np.arange(70, dtype=np.uint8) % 5


@pytest.mark.parametrize("dash", ["-", "."])
@pytest.mark.parametrize("end", ["", ".gz"])
def test_the_four_files_are_read(tmp_path, arrays, dash, end):
    images, labels = arrays
    write(tmp_path, "train", images[:50], labels[:50], dash=dash, end=end)
    write(tmp_path, "t10k", images[50:], labels[50:], dash=dash, end=end)
    data = load("idx", path=tmp_path, validation=0.2)
    assert (len(data.train), len(data.validation), len(data.test)) == (40, 10, 20)
    assert data.test.inputs.dtype == torch.uint8
    assert np.array_equal(data.test.inputs.numpy(), images[50:])
    assert data.test.labels["label"].tolist() == labels[50:].tolist()
    assert (data.head.space, data.head.size, data.head.classes) == ("categorical", 5, ())


def test_classes_can_be_named(tmp_path, arrays):
    write(tmp_path, "train", *arrays)
    write(tmp_path, "t10k", *arrays)
    data = load("idx", path=tmp_path, options={"class_names": list("abcde")})
    assert data.head.classes == tuple("abcde")
    with pytest.raises(DataError, match=r"must be 0\.\.1 for head label \(2 classes\)"):
        load("idx", path=tmp_path, options={"class_names": ["a", "b"]})


def test_a_test_label_that_no_training_sample_has_is_refused(tmp_path, arrays):
    images, labels = arrays
    write(tmp_path, "train", images, labels)
    write(tmp_path, "t10k", images, labels + np.uint8(1))
    with pytest.raises(DataError, match=r"labels of the test split must be 0\.\.4 .* got 5 at"):
        load("idx", path=tmp_path)


def damage(raw, how):
    return {
        "magic": b"\0\0\x0d" + raw[3:],
        "nothing": b"",
        "header": raw[:7],
        "truncated": raw[:-1],
        "longer": raw + b"\0",
    }[how]


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("magic", "idx magic number 00000803, got 00000d03"),
        ("nothing", "idx magic number 00000803, got "),
        ("header", "idx magic number"),
        ("truncated", r"must hold 840 bytes for the shape \(70, 4, 3\), got 839"),
        ("longer", "got 841"),
    ],
)
def test_a_damaged_file_is_refused_by_name(tmp_path, arrays, how, message):
    write(tmp_path, "train", *arrays)
    write(tmp_path, "t10k", *arrays)
    path = tmp_path / "t10k-images-idx3-ubyte"
    path.write_bytes(damage(path.read_bytes(), how))
    with pytest.raises(DataError, match=f"{path} .*{message}"):
        load("idx", path=tmp_path)


@pytest.mark.parametrize("how", ["no gzip", "truncated", "flipped"])
def test_a_damaged_gzip_is_refused_by_name(tmp_path, arrays, how):
    write(tmp_path, "train", *arrays, end=".gz")
    write(tmp_path, "t10k", *arrays)
    path = tmp_path / "train-images-idx3-ubyte.gz"
    raw = bytearray(path.read_bytes())
    raw[60] ^= 16
    damaged = {"no gzip": b"hello", "truncated": raw[:-20], "flipped": raw}[how]
    path.write_bytes(damaged)
    with pytest.raises(DataError, match=f"cannot read {path}: .* Fetch the file again"):
        load("idx", path=tmp_path)


def test_a_missing_file_is_named(tmp_path, arrays):
    write(tmp_path, "train", *arrays)
    with pytest.raises(DataError, match=f"no file {tmp_path}/t10k-images-idx3-ubyte, plain or"):
        load("idx", path=tmp_path)


def test_images_without_labels_are_refused(tmp_path, arrays):
    images, labels = arrays
    write(tmp_path, "train", images, labels[:-1])
    with pytest.raises(DataError, match="got 70 train-images and 69 train-labels"):
        load("idx", path=tmp_path)
