"""What there is no permission to read is named, and is neither missing nor damaged."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from limbeck._errors import RecipeError, StorageError
from limbeck.data import load, samples
from limbeck.models import MLP, load_weights, save_weights
from limbeck.recipe_file import load_recipe
from limbeck.results import read_results
from limbeck.signals import Head
from limbeck.targets import TransferSet, capture
from limbeck.teachers import Teacher

NOBODY = 65534


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder that any user may look into."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@contextmanager
def denied(path: Path) -> Iterator[None]:
    """No permission for `path`; root, who needs none, becomes another user."""
    before = path.stat().st_mode
    path.chmod(0)
    user = os.geteuid()
    if user == 0:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(user)
        path.chmod(before)


def test_weights(place):
    path = place / "weights.safetensors"
    save_weights(nn.Linear(2, 2), path)
    path.chmod(0o644)
    with denied(path), pytest.raises(StorageError) as error:
        load_weights(nn.Linear(2, 2), path)
    assert str(error.value) == (
        f"cannot read {path}: Permission denied. Mend that, or choose another."
    )


def test_weights_below_a_folder(place):
    folder = place / "below"
    folder.mkdir()
    save_weights(nn.Linear(2, 2), folder / "weights.safetensors")
    with denied(folder), pytest.raises(StorageError, match="Permission denied"):
        load_weights(nn.Linear(2, 2), folder / "weights.safetensors")


@pytest.fixture
def images(place) -> Path:
    for name in ("cat", "dog"):
        (place / "images" / name).mkdir(parents=True)
        for number in range(10):
            image = Image.fromarray(np.full((4, 4), number, dtype=np.uint8))
            image.save(place / "images" / name / f"{number}.png")
    load("image_folder", path=place / "images")
    return place / "images"


@pytest.mark.parametrize("below", ["dog", "dog/3.png", ""])
def test_images(images, below):
    with denied(images / below), pytest.raises(StorageError) as error:
        read_all(images)
    assert str(error.value).startswith("cannot read ")
    assert str(images / below) in str(error.value)
    assert ": Permission denied." in str(error.value)


def read_all(images: Path) -> None:
    data = load("image_folder", path=images)
    for split in (data.train, data.validation, data.test):
        split.fetch(torch.arange(len(split)))


@pytest.mark.parametrize("below", ["rows.csv", ""])
def test_a_table(place, below):
    (place / "data").mkdir()
    path = place / "data" / "rows.csv"
    path.write_text("x,kind\n" + "1,a\n2,b\n" * 20)
    load("table", path=path, options={"target": "kind"})
    with denied(place / "data" / below), pytest.raises(StorageError) as error:
        load("table", path=path, options={"target": "kind"})
    assert str(error.value) == (
        f"cannot read {path}: Permission denied. Mend that, or choose another."
    )


def test_a_report(place):
    path = place / "report.json"
    path.write_text("{}")
    with denied(path), pytest.raises(StorageError, match=f"cannot read {path}: Permission denied"):
        read_results(place)


def test_a_recipe_below_a_folder(place, monkeypatch):
    monkeypatch.setattr("limbeck.recipe_file.shipped", lambda: iter(()))
    folder = place / "below"
    folder.mkdir()
    with denied(folder), pytest.raises(RecipeError) as error:
        load_recipe(str(folder / "mine.toml"))
    assert str(error.value) == f"cannot read {folder / 'mine.toml'}: Permission denied."


def test_a_shard_is_not_called_damaged(place):
    heads = (Head(space="categorical", size=3),)
    asked = samples(torch.randn(8, 2))
    capture(Teacher(MLP(2, [], 3), heads), asked, place / "targets")
    [shard] = (place / "targets").glob("*.arrow")
    with denied(shard), pytest.raises(StorageError) as error:
        TransferSet(place / "targets")
    assert str(error.value) == f"cannot read {shard}: Permission denied. Mend that."
