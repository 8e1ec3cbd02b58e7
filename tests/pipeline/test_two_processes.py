"""torchrun with two processes gives what one process gives, up to rounding."""

import json

import pytest
import torch

from limbeck.cli import run_arguments
from limbeck.targets import TransferSet
from tests.pipeline.examples import python, small_file, weights

TWO = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
TRAINED = ["seeds=1", "data.labelled=0.3", "distil.hard_weight=0.5"]
KERAS = [
    *TRAINED,
    "students.small.model=tests.pipeline.models:keras_classes",
    "students.small.options={normalise = false}",
    "students.small.outputs=probabilities",
]
FEATURES = [
    *TRAINED,
    "distil.method=vid",
    "distil.taps=[{student = 'layers.2', teacher = 'layers.2'},"
    " {student = 'layers.3', teacher = 'layers.3'}]",
    "distil.feature_weight=100",
    "distil.progressive=0.5",
    "train.optimizer=SGD",  # to which the size of a gradient is something
    "train.optimizer_options={weight_decay = 0.1}",  # but of what has not joined yet
    "train.learning_rate=0.1",
]
MUTUAL = [
    *TRAINED,
    "students.twin={model = 'mlp', options = {hidden = [8]}}",
    "distil.mutual_weight=1.0",
    "distil.ema={decay = 0.9}",
    "train.accumulate=2",
]
BRANCHES = [
    *TRAINED,
    "students.small.options={hidden = [12, 8]}",
    "distil.branches={taps = ['layers.2'], feature_weight = 1.0, features = 'layers.4'}",
    "train.batch_size=57",  # in the last batch, of 30, one process may have no label
    "train.accumulate=2",
]
COMMANDS = {
    "many": ("targets", "make", ["targets.views=4"]),  # 2400 (sample, view), in eight batches
    "chosen": ("targets", "make", ["targets.codec=auto", "targets.max_kl=0.01"]),
    "keras": ("run", KERAS),
    "features": ("run", FEATURES),
    "mutual": ("run", MUTUAL),
    "branches": ("run", BRANCHES),
}
# To start two processes takes longer than what they do here, so they do all of it.
_EVERYTHING = """
import json, os, sys
from limbeck.cli import run_arguments

for name, arguments in json.loads(sys.argv[1]).items():
    if os.environ["RANK"] == "0":
        print(f"--- {name}", flush=True)
    assert run_arguments(arguments) == 0
"""


def arguments(words, recipe, out):
    """A command line: its words, then what it overrides, then where it goes."""
    *command, overrides = words
    sets = [part for override in overrides for part in ("--set", override)]
    return [*command, recipe, *sets, "--out", out]


@pytest.fixture(scope="module")
def by_two(tmp_path_factory):
    """The folder in which two processes did what `COMMANDS` say, and what each printed."""
    folder = tmp_path_factory.mktemp("two")
    recipe = small_file(folder)
    lines = {name: arguments(words, recipe, name) for name, words in COMMANDS.items()}
    (folder / "everything.py").write_text(_EVERYTHING, encoding="utf-8")
    process = python(*TWO, "everything.py", json.dumps(lines), cwd=folder)
    said, _ = process.communicate(timeout=240)
    assert process.returncode == 0, said
    printed = (part.partition("\n") for part in said.split("--- ")[1:])
    return folder, {name: text for name, _, text in printed}


def test_two_processes_write_shards_of_their_own_and_one_manifest_holds_them_all(by_two):
    folder, printed = by_two
    assert printed["many"].count("targets: many") == 1
    targets = TransferSet(folder / "many" / "targets")
    numbers = {int(shard.file.split("-")[1]) for shard in targets.manifest.shards}
    assert numbers == {0, 1}  # the first process counts 0, 2, ...; the second 1, 3, ...
    assert targets.verify() == 2400


def test_of_two_processes_the_first_one_chooses_the_codec(by_two):
    folder, printed = by_two
    settings = TransferSet(folder / "chosen" / "targets").manifest.settings
    assert settings.chosen_by == "max_kl 0.01"
    assert printed["chosen"].count("   taken") == 1


def test_two_processes_train_the_weights_of_one(tmp_path):
    run = ["-m", "limbeck", *arguments(("run", TRAINED), small_file(tmp_path), "two")]
    process = python(*TWO, *run, cwd=tmp_path)
    printed, _ = process.communicate(timeout=240)
    assert process.returncode == 0, printed
    assert printed.count("report: ") == 1
    assert printed.count("teacher: validation") == 1  # the second one works, and is silent
    _as_one_process_trains(TRAINED, tmp_path / "two")


@pytest.mark.parametrize("name", ["keras", "features", "mutual", "branches"])
def test_two_processes_train_other_students_too_as_one_does(by_two, name):
    folder, printed = by_two
    assert printed[name].count("report: ") == 1
    _as_one_process_trains(COMMANDS[name][1], folder / name)


def _as_one_process_trains(overrides, run):
    recipe, out = str(run.parent / "small.toml"), str(run.parent / f"{run.name}-one")
    assert run_arguments(arguments(("run", overrides), recipe, out)) == 0
    one, two = weights(run.parent / f"{run.name}-one"), weights(run)
    assert one.keys() == two.keys()
    for file, models in one.items():
        for tensor, value in models.items():
            torch.testing.assert_close(two[file][tensor], value, rtol=1e-3, atol=2e-4)
