"""torchrun with two processes gives what one process gives, up to rounding."""

import pytest
import torch

from limbeck.targets import TransferSet
from tests.pipeline.examples import python, small_file, weights

KERAS = [
    "students.small.model=tests.pipeline.models:keras_classes",
    "students.small.options={normalise = false}",
    "students.small.outputs=probabilities",
]
FEATURES = [
    "distil.method=vid",
    "distil.taps=[{student = 'layers.2', teacher = 'layers.2'}]",
    "train.clip=1",
]


def test_two_processes_write_shards_of_their_own_and_one_manifest_holds_them_all(tmp_path):
    two = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    make = ["-m", "limbeck", "targets", "make", small_file(tmp_path), "--out", "two"]
    many = ["--set", "targets.views=4"]  # 2400 (sample, view), in eight batches
    process = python(*two, *make, *many, cwd=tmp_path)
    printed, _ = process.communicate(timeout=240)
    assert process.returncode == 0, printed
    assert printed.count("targets: two") == 1
    targets = TransferSet(tmp_path / "two" / "targets")
    numbers = {int(shard.file.split("-")[1]) for shard in targets.manifest.shards}
    assert numbers == {0, 1}  # the first process counts 0, 2, ...; the second 1, 3, ...
    assert targets.verify() == 2400


def test_of_two_processes_the_first_one_chooses_the_codec(tmp_path):
    two = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    make = ["-m", "limbeck", "targets", "make", small_file(tmp_path), "--out", "two"]
    sets = ["--set", "targets.codec=auto", "--set", "targets.max_kl=0.01"]
    process = python(*two, *make, *sets, cwd=tmp_path)
    printed, _ = process.communicate(timeout=240)
    assert process.returncode == 0, printed
    settings = TransferSet(tmp_path / "two" / "targets").manifest.settings
    assert settings.chosen_by == "max_kl 0.01"
    assert printed.count("   taken") == 1


@pytest.mark.parametrize("other", [[], KERAS, FEATURES], ids=["mlp", "keras", "features"])
def test_two_processes_train_the_weights_of_one(tmp_path, other):
    recipe = small_file(tmp_path)
    overrides = ["seeds=1", "data.labelled=0.3", "distil.hard_weight=0.5", *other]
    sets = [part for override in overrides for part in ("--set", override)]
    run = ["-m", "limbeck", "run", recipe, *sets, "--out"]
    two = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    for name, launch in (("one", []), ("two", two)):
        process = python(*launch, *run, name, cwd=tmp_path)
        printed, _ = process.communicate(timeout=240)
        assert process.returncode == 0, printed
        assert printed.count("report: ") == 1
        assert printed.count("teacher: validation") == 1  # the second one works, and is silent
    one, other = weights(tmp_path / "one"), weights(tmp_path / "two")
    assert one.keys() == other.keys()
    for file, models in one.items():
        for tensor, value in models.items():
            torch.testing.assert_close(other[file][tensor], value, rtol=1e-3, atol=2e-4)
