"""Single bits that flip on the disk; `bench/flips.py` tries more of them."""

import pytest
import torch
from flips import PLACES, captured, flips

from limbeck.targets import TransferSet


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("flips") / "set"
    captured(folder)
    return folder


@pytest.mark.parametrize("place", PLACES)
def test_every_flipped_bit_is_found_and_its_file_named(folder, place):
    assert None not in list(flips(folder, place, 80, seed=1))
    targets = TransferSet(folder, reading="mapped")
    assert targets.verify() == len(targets.read(torch.arange(2000))["label"].ids)
