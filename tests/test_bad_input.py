"""Whatever is wrong, the command line names it and the way out, exits with 2, writes nothing."""

import errno
import gzip
import json
import os
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from limbeck import cli
from tests.pipeline.examples import SMALL

MODELS = "tests.pipeline.models"


def limbeck(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    """The exit code, and everything printed in one line."""
    code = cli.run_arguments(arguments)
    printed = capsys.readouterr()
    assert "Traceback" not in printed.out + printed.err
    return code, " ".join((printed.out + printed.err).split())


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The working folder, with the small recipe in it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "small.toml").write_text(SMALL, encoding="utf-8")
    return tmp_path


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("train.epochz=3", "no key train.epochz. Did you mean epochs?"),
        ("train.epochs=0", "train.epochs: input should be greater than or equal to 1, got 0"),
        ("teacher.model=mpl", "no model is called 'mpl'. Did you mean mlp?"),
        ("teacher.options.hiden=[8]", "no option 'hiden'. Did you mean hidden?"),
        ("students.small.model=nowhere:big", "cannot import nowhere: No module named"),
        ("students.small.model=mine/models.py:big", "Name the module: mine.models:big."),
        (f"students.small.model={MODELS}:nothing", "no function 'nothing'"),
        ("data.source=digit", "Did you mean digits?"),
        ("data.options.colour=true", "colour"),
        ("data.labelled=100000", "labelled"),
        ("data.metric=acuracy", "Did you mean accuracy?"),
        ("data.metric=rmse", "metric rmse is for real labels"),
        ("distil.method=soft_target", "no method is called 'soft_target'. Did you mean soft_t"),
        ("distil.method=mine:loss", "method 'mine:loss': cannot import mine: No module named"),
        ("targets.codec=dense61", 'dense61". Did you mean dense16?'),
        ("train.optimizer=Addam", "torch.optim has no optimiser 'Addam'. Did you mean"),
        ("train.optimizer_options.beta=1", "has no option 'beta'. Did you mean betas?"),
        ("train.optimizer_options.betas=1", "optimizer AdamW does not take these options"),
        ("students.smal.options.hidden=[8]", "students.smal.model is missing. Did you mean small?"),
        ("assistants.mid.options.hidden=[8]", "assistants.mid.model is missing."),
        ("teachers.a.model=mlp", "there is one teacher, [teacher], or there are sev"),
        ("teacher.weights=missing.safetensors", "there is no weights file missing.safetensors"),
        ("teacher.weights=old.pkl", "may be a pickle, which can run code when it is loaded"),
        ("train.views=true", "Leave it out, for epochs take the targets.views stored views"),
    ],
)
def test_what_a_recipe_says_wrong_is_named_and_nothing_is_written(
    folder, capsys, override, message
):
    overrides = [override]
    if override.startswith("teacher.options"):
        overrides = ["teacher.options={ hiden = [8] }"]
    if ":nothing" in override or "nowhere" in override:
        overrides.append("students.small.options={}")
    sets = [part for each in overrides for part in ("--set", each)]
    code, said = limbeck(capsys, "run", "small.toml", *sets, "--out", "out")
    assert code == 2, said
    assert message in said
    assert not Path("out").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["run", "digts"],
            "no recipe file digts, and no recipe of that name comes with Limbeck. Did you mean",
        ),
        (["run", "broken.toml"], "recipe broken.toml is not TOML"),
        (["run", "deep.toml"], "recipe deep.toml is not TOML: nested too deeply"),
        (["run", "long.toml"], "recipe long.toml is not TOML"),
        (
            ["run", "small.toml", "--set", f"seeds={'9' * 6000}"],
            "seeds: input should be a valid integer",
        ),
        (
            ["run", "small.toml", "--set", f"seeds={'[' * 100_000}"],
            "seeds: input should be a valid integer",
        ),
        (["run", "small.toml", "--set", "epochs"], "--set takes section.key=value, got 'epochs'"),
        (["recipes", "digts"], "Did you mean digits"),
        (["report", "nowhere"], "no result file"),
        (["targets", "verify", "nowhere"], "nowhere"),
        (["targets", "inspect", "nowhere"], "nowhere"),
        (["nope"], "No such command 'nope'"),
        (["run"], "Missing argument"),
    ],
)
def test_what_is_not_there_is_named(folder, capsys, arguments, message):
    Path("broken.toml").write_text("a = [", encoding="utf-8")
    Path("deep.toml").write_text("a = " + "[" * 100_000, encoding="utf-8")
    Path("long.toml").write_text("a = " + "9" * 6000, encoding="utf-8")
    code, said = limbeck(capsys, *arguments)
    assert code == 2, said
    assert message in said


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("seven_classes", "must answer 10 classes for head label, got an answer of shape"),
        ("misfit", "shape"),
    ],
)
@pytest.mark.parametrize("who", ["teacher", "students.small"])
def test_a_model_that_does_not_fit_the_data_is_refused(folder, capsys, who, model, message):
    sets = ["--set", f"{who}.model={MODELS}:{model}", "--set", f"{who}.options={{}}"]
    code, said = limbeck(capsys, "run", "small.toml", *sets, "--out", "out")
    assert code == 2, said
    assert message in said
    assert not Path("out").exists()


def test_a_loss_that_is_not_finite_is_named(folder, capsys):
    sets = ["--set", "teacher.train.learning_rate=1e30", "--set", "teacher.train.schedule=constant"]
    code, said = limbeck(capsys, "run", "small.toml", *sets, "--out", "out")
    assert code == 2, said
    assert "teacher" in said
    assert "Lower train.learning_rate" in said


def test_a_teacher_that_answers_what_is_no_number_is_named(folder, capsys):
    model = torch.nn.Linear(64, 10)
    save_file({f"layer.{name}": part for name, part in model.state_dict().items()}, "w.safetensors")
    sets = [f"teacher.model={MODELS}:broken", "teacher.options={}", "teacher.weights=w.safetensors"]
    arguments = [part for each in sets for part in ("--set", each)]
    code, said = limbeck(capsys, "run", "small.toml", *arguments, "--out", "out")
    assert code == 2, said
    assert "not finite" in said


def table(rows: list[tuple[float, object]]) -> None:
    lines = "".join(f"{number},{label}\n" for number, label in rows)
    Path("table.csv").write_text(f"x,y\n{lines}", encoding="utf-8")


TABLE = ["--set", "data.source=table", "--set", "data.path=table.csv", "--set", "data.limit=1000"]


@pytest.mark.parametrize(
    ("task", "rows", "message"),
    [
        ("regression", [(1.0, 2.0), ("nan", 1.0)] * 30, "x"),
        ("regression", [(1.0, 2.0), (2.0, "nan")] * 30, "y"),
        ("classification", [(1.0, "a")] * 60, "class"),
        ("classification", [], "table.csv"),
    ],
)
def test_data_that_cannot_be_learned_from_are_refused(folder, capsys, task, rows, message):
    table(rows)
    options = f'data.options={{ target = "y", task = "{task}" }}'
    code, said = limbeck(capsys, "run", "small.toml", *TABLE, "--set", options, "--out", "out")
    assert code == 2, said
    assert message in said
    assert not Path("out").exists()


@pytest.mark.parametrize("workers", [0, 2])
def test_what_a_dataset_of_the_users_raises_is_named_by_class_and_sample(folder, capsys, workers):
    """In worker processes the first sign of it may come in the midst of training."""
    sets = [
        f"data.source={MODELS}:torn",
        f"data.options={{ only_ahead = {str(workers > 0).lower()} }}",
    ]
    sets += ["data.limit=1000", f"teacher.train.workers={workers}"]
    arguments = [part for each in sets for part in ("--set", each)]
    code, said = limbeck(capsys, "run", "small.toml", *arguments, "--out", "out")
    assert code == 2, said
    assert re.search(
        r"Torn raised OSError at sample 41 at \w+\.py, line \d+: page 41 is torn out\.", said
    )


def idx(folder: Path, labels: list[int], *, spoil: str = "") -> None:
    """The four idx files of tiny images; test labels are all 0."""
    folder.mkdir()
    for prefix, values in (("train", labels), ("t10k", [0, 1] * 10)):
        images = np.zeros((len(values), 4, 4), np.uint8)
        images[:, 0, 0] = range(len(values))
        head = np.array([0x803, len(values), 4, 4], ">u4").tobytes()
        raw = gzip.compress(head + images.tobytes())
        (folder / f"{prefix}-images-idx3-ubyte.gz").write_bytes(
            raw[:-20] if spoil == prefix else raw
        )
        head = np.array([0x801, len(values)], ">u4").tobytes()
        body = bytes(9 if spoil == "label" and prefix == "t10k" else value for value in values)
        (folder / f"{prefix}-labels-idx1-ubyte.gz").write_bytes(gzip.compress(head + body))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        ("train", "train-images-idx3-ubyte.gz"),
        ("label", "labels of the test split must be 0..1"),
        ("missing", "no data at"),
    ],
)
def test_missing_corrupt_and_impossible_files_are_named(folder, capsys, spoil, message):
    if spoil != "missing":
        idx(folder / "images", [0, 1] * 30, spoil=spoil)
    sets = ["--set", "data.source=idx", "--set", "data.path=images", "--set", "data.limit=1000"]
    code, said = limbeck(capsys, "run", "small.toml", *sets, "--out", "out")
    assert code == 2, said
    assert message in said
    assert not Path("out").exists()


def test_damaged_and_foreign_weights_are_refused(folder, capsys):
    save_file({"layers.1.weight": torch.zeros(3, 3)}, "other.safetensors")
    Path("cut.safetensors").write_bytes(Path("other.safetensors").read_bytes()[:40])
    for name, message in (("other", "does not fit the model"), ("cut", "no whole safetensors")):
        weights = f"teacher.weights={name}.safetensors"
        code, said = limbeck(capsys, "run", "small.toml", "--set", weights, "--out", "out")
        assert code == 2, said
        assert message in said


@pytest.fixture(scope="module")
def finished_once(tmp_path_factory):
    """A finished run of the small recipe, to copy."""
    home = tmp_path_factory.mktemp("bad")
    (home / "small.toml").write_text(SMALL, encoding="utf-8")
    assert cli.run_arguments(["run", str(home / "small.toml"), "--out", str(home / "run")]) == 0
    return home / "run"


def shard(run: Path) -> Path:
    return next((run / "targets").glob("*.arrow"))


def flip(path: Path) -> None:
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 4
    path.write_bytes(raw)


@pytest.mark.parametrize("damage", ["flip", "truncate", "lose", "manifest"])
def test_a_damaged_transfer_set_is_found(finished_once, tmp_path, capsys, damage):
    run = tmp_path / "run"
    shutil.copytree(finished_once, run)
    path = shard(run)
    if damage == "flip":
        flip(path)
    elif damage == "truncate":
        path.write_bytes(path.read_bytes()[:-100])
    elif damage == "lose":
        path.unlink()
    else:
        said = json.loads((run / "targets/manifest.json").read_text(encoding="utf-8"))
        said["settings"]["temperature"] = 2.0
        (run / "targets/manifest.json").write_text(json.dumps(said), encoding="utf-8")
    code, said = limbeck(capsys, "targets", "verify", str(run / "targets"))
    assert code == 2, said
    assert (path.name if damage != "manifest" else "manifest.json") in said


def test_a_whole_transfer_set_is_verified_and_told(finished_once, capsys):
    code, said = limbeck(capsys, "targets", "verify", str(finished_once / "targets"))
    assert code == 0, said
    assert "every checksum holds" in said
    code, said = limbeck(capsys, "targets", "inspect", str(finished_once / "targets"))
    assert code == 0, said
    assert "dense16" in said


def test_a_folder_of_other_files_is_left_alone(folder, capsys):
    Path("out").mkdir()
    Path("out/thesis.txt").write_text("years of work", encoding="utf-8")
    code, said = limbeck(capsys, "run", "small.toml", "--out", "out")
    assert code == 2, said
    assert "holds files that are not of a run" in said
    assert [path.name for path in Path("out").iterdir()] == ["thesis.txt"]


def test_a_place_that_cannot_be_written_is_named(folder, capsys):
    Path("file").write_text("", encoding="utf-8")
    code, said = limbeck(capsys, "run", "small.toml", "--out", "file/out")
    assert code == 2, said
    assert "Choose another folder with --out" in said


@pytest.mark.parametrize(
    ("number", "message"),
    [(errno.ENOSPC, "no room left"), (errno.EACCES, "no permission to write")],
)
def test_a_disk_that_takes_no_more_is_named_and_nothing_half_written(
    folder, capsys, monkeypatch, number, message
):
    calls = []
    real = os.fsync

    def fsync(file: int) -> None:
        calls.append(file)
        if len(calls) > 3:
            raise OSError(number, os.strerror(number))
        real(file)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fsync)
        code, said = limbeck(capsys, "run", "small.toml", "--out", "out")
    assert code == 2, said
    assert message in said
    assert not list(Path("out").rglob("*.part"))
    code, said = limbeck(capsys, "run", "small.toml", "--out", "out")
    assert code == 0, said
