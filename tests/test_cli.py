"""The command line: what it prints, and the code it ends with."""

import json
import re
import shutil
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import safetensors.torch
import torch

import limbeck
from limbeck import cli
from limbeck._errors import Interrupted
from limbeck.cli import _bars, _common, _runs
from limbeck.cli._bars import Bars
from limbeck.methods import BESIDE, every_method
from limbeck.models import MLP, save_weights
from tests.pipeline.examples import REPOSITORY, python, small, small_file

COMMANDS = ("run", "tune", "doctor", "layers", "prove", "report", "recipes", "methods", "targets")


@pytest.fixture
def ask(capsys, monkeypatch):
    """The exit code, and what is printed to each stream, of `limbeck ARGUMENTS`."""

    def limbeck_(*arguments) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["limbeck", *map(str, arguments)])
        with pytest.raises(SystemExit) as exit_:
            cli.main()
        said = capsys.readouterr()
        assert "Traceback" not in said.err
        return exit_.value.code, said.out, said.err

    return limbeck_


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The folder of a finished run of the small recipe."""
    folder = tmp_path_factory.mktemp("cli")
    limbeck.run(small(folder), folder / "run")
    return folder / "run"


@pytest.mark.parametrize("arguments", [["--help"], ["-h"], []])
def test_help_lists_the_commands(ask, arguments):
    code, said, _ = ask(*arguments)
    assert code == 0
    for command in COMMANDS:
        assert command in said


@pytest.mark.parametrize(
    "command",
    [
        *COMMANDS,
        "targets make",
        "targets merge",
        "targets convert",
        "targets inspect",
        "targets verify",
        "targets curve",
    ],
)
def test_every_command_has_help(ask, command):
    code, said, _ = ask(*command.split(), "--help")
    assert code == 0
    assert "Usage" in said


def test_targets_alone_shows_its_help(ask):
    code, said, _ = ask("targets")
    assert code == 0
    assert "inspect" in said


def test_help_does_not_import_torch():
    code = (
        "import sys\n"
        "sys.argv = ['limbeck', '--help']\n"
        "from limbeck.cli import main\n"
        "try:\n    main()\n"
        "finally:\n    print('torch' in sys.modules, 'numpy' in sys.modules)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "False False"


def test_version_is_the_packages(ask):
    assert ask("--version") == (0, f"limbeck {limbeck.__version__}\n", "")


def test_the_module_is_the_command():
    done = subprocess.run(
        [sys.executable, "-m", "limbeck", "--version"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == f"limbeck {limbeck.__version__}\n"


def test_methods_lists_every_method_with_what_it_needs(ask):
    code, said, _ = ask("methods")
    assert code == 0
    words = said.split()
    assert set(every_method()) <= set(words)
    assert "labels" in words


def test_methods_shows_a_card_with_options_and_their_defaults(ask):
    code, said, _ = ask("methods", "ofa")
    assert code == 0
    assert "Hao et al. (2023), https://arxiv.org/abs/2310.19444" in said
    assert "[c is the label])^exponent" in " ".join(said.split())  # not taken for markup
    assert re.search(r"^exponent +1\.0 +1 or more", said, re.MULTILINE)


def test_methods_shows_what_a_feature_methods_taps_may_give(ask):
    code, said, _ = ask("methods", "reviewkd")
    assert code == 0
    assert re.search(r"^needs +rows, features, whole batches", said, re.MULTILINE)
    assert re.search(r"^taps +2 or more, of maps", said, re.MULTILINE)
    assert re.search(r"^feature_weight +1, if left out", said, re.MULTILINE)


def test_methods_shows_the_card_of_a_loss_of_ones_own(ask):
    code, said, _ = ask("methods", "tests.methods.own_losses:kd")
    assert code == 0
    assert "Soft targets." in said
    assert "limbeck prove tests.methods.own_losses:kd" in " ".join(said.split())
    assert "alpha   1.0" in said


def test_methods_lists_what_stands_beside_one_by_its_key(ask):
    code, said, _ = ask("methods")
    assert code == 0
    _, _, beside = said.partition("Beside a method, in [distil] and elsewhere")
    for key in (key for one in BESIDE.values() for key in one.keys):
        assert key in beside


@pytest.mark.parametrize("name", ["byot", "branches", "distil.branches", "Be-Your-Own-Teacher"])
def test_methods_shows_the_card_of_what_stands_beside_one_by_any_of_its_names(ask, name):
    code, said, _ = ask("methods", name)
    assert code == 0
    assert said.startswith(f"{name}: Branches inside a student")
    assert re.search(r"^in a recipe +distil\.branches", said, re.MULTILINE)
    assert re.search(r"^paper +Zhang et al. \(2019\), https://arxiv", said, re.MULTILINE)
    assert re.search(r"^refuses +Assistants and generations", said, re.MULTILINE)
    assert re.search(r"^more +docs/methods\.md", said, re.MULTILINE)


def test_layers_ends_with_taps_to_copy_into_a_recipe(ask, tmp_path):
    code, said, _ = ask("layers", small_file(tmp_path), "--out", str(tmp_path / "out"))
    assert code == 0
    assert "student small, not trained yet" in said
    assert re.search(r"^layers\.1 +Linear +\(\d+,\) +[\d,]+ *$", said, re.MULTILINE)
    assert 'taps = [{ student = "layers.2", teacher = "layers.2" }]' in said


def test_an_unknown_method_is_refused_with_the_nearest_one(ask):
    code, _, said = ask("methods", "dkkd")
    assert code == 2
    assert "no method is called 'dkkd'. Did you mean dkd?" in said


def test_recipes_lists_every_shipped_recipe(ask):
    code, said, _ = ask("recipes")
    assert code == 0
    for name in (
        "digits",
        "digits-hurt",
        "digits-matching",
        "mnist",
        "mnist-tree",
        "fashion-mnist",
        "trec6",
        "shakespeare",
        "housing",
    ):
        assert any(line.startswith(name) for line in said.splitlines())


def test_a_recipe_is_shown_as_the_file_it_is(ask):
    code, said, _ = ask("recipes", "digits")
    file = REPOSITORY / "limbeck" / "recipes" / "digits.toml"
    assert code == 0
    assert said == file.read_text(encoding="utf-8")


def test_only_shipped_recipes_are_shown(ask, tmp_path):
    code, _, said = ask("recipes", small_file(tmp_path))
    assert code == 2
    assert "comes with Limbeck" in said
    code, _, said = ask("recipes", "digit")
    assert code == 2
    assert "Did you mean digits?" in said


def test_run_ends_with_the_verdict_and_the_path_of_the_report(ask, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, said, warned = ask("run", small_file(tmp_path), "--set", "seeds=1")
    lines = said.splitlines()
    assert (code, warned) == (0, "")
    assert lines[0] == "training teacher"
    assert lines[1].startswith("teacher: validation accuracy 0.")
    assert lines[2:4] == ["targets", "training control small, 1 of 1"]
    assert lines[-1] == "report: runs/small/report.html"
    assert (tmp_path / "runs" / "small" / "report.html").is_file()
    whole = " ".join(said.split())
    assert "Not shown: with one seed nothing can be." in whole
    assert "warning: One seed shows nothing: set seeds to 5 or more for a verdict." in whole
    assert "student small" in said


def test_set_changes_the_recipe_and_out_the_folder(ask, tmp_path):
    ask("run", small_file(tmp_path), "--out", tmp_path / "here", "--set", "seeds=1")
    assert "seeds = 1" in (tmp_path / "here" / "recipe.toml").read_text()


def test_report_makes_the_page_again_and_says_where_it_is(ask, finished, tmp_path):
    shutil.copytree(finished, tmp_path / "run")
    page = tmp_path / "run" / "report.html"
    page.unlink()
    code, said, _ = ask("report", tmp_path / "run")
    assert code == 0
    assert f"report: {page}" in said.splitlines()
    assert page.read_bytes() == (finished / "report.html").read_bytes()
    assert "student small" in said


def test_report_opens_the_page_when_it_is_asked_to(ask, finished, monkeypatch):
    opened = []
    monkeypatch.setattr(_runs.webbrowser, "open", opened.append)
    ask("report", finished)
    assert opened == []
    ask("report", finished, "--open")
    assert opened == [(finished / "report.html").as_uri()]


def test_targets_inspect_says_what_is_stored(ask, finished):
    code, said, _ = ask("targets", "inspect", finished / "targets")
    assert code == 0
    assert "600" in said
    assert "dense16" in said


def test_targets_curve_draws_what_each_codec_would_make_of_a_run(ask, finished, tmp_path):
    shutil.copytree(finished, tmp_path / "run")
    recipe = tmp_path / "run" / "recipe.toml"
    arguments = ["targets", "curve", recipe, "--out", tmp_path / "run"]
    code, said, _ = ask(*arguments, "--set", "targets.codec=auto", "--set", "targets.max_kl=1e-4")
    assert code == 0
    assert re.search(r"B/row   KL \S+   taken", said)
    drawn = json.loads((tmp_path / "run" / "curve.json").read_text())
    (chosen,) = [one for one in drawn["codecs"] if one["chosen"]]
    assert (
        chosen["error"]
        <= 1e-4
        < min(
            one["error"]
            for one in drawn["codecs"]
            if one["bytes_per_row"] < chosen["bytes_per_row"]
        )
    )
    assert (tmp_path / "run" / "curve.html").stat().st_size > 1_000_000


def test_tune_ends_with_a_recipe_and_says_how_to_run_it(ask, finished, tmp_path):
    shutil.copytree(finished, tmp_path / "run")
    recipe = tmp_path / "run" / "recipe.toml"
    code, said, _ = ask("tune", recipe, "--trials", "3", "--out", tmp_path / "run")
    assert code == 0
    assert re.search(r"^3 tried: best validation accuracy 0\.\d+, \w+$", said, re.MULTILINE)
    assert re.search(r"^control recipe  .* 0\.\d{4} ± 0\.\d{4} *$", said, re.MULTILINE)
    tuned = tmp_path / "run" / "tuned.toml"
    assert f"next:   limbeck run {tuned} --out {tmp_path / 'run'}" in said
    code, said, _ = ask("run", tuned, "--out", tmp_path / "run")
    assert code == 0


@pytest.mark.parametrize(
    "command", ["run", "doctor", "layers", "tune", "targets make", "targets curve"]
)
def test_a_typo_in_a_recipe_is_told_before_torch_is_imported(command):
    code = (
        "import sys\nfrom limbeck import cli\ntry:\n    cli.main()\n"
        "finally:\n    print('torch' in sys.modules)"
    )
    arguments = [*command.split(), "digits", "--set", "train.epoch=3"]
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "Did you mean epochs?" in done.stderr
    assert done.stdout == "False\n"


def test_tune_without_a_bound_says_which_there_are(ask, finished):
    code, _, said = ask("tune", finished / "recipe.toml")
    assert code == 2
    assert "--trials 40, or --minutes 10" in said


def test_a_run_with_codec_auto_says_what_it_took(ask, tmp_path):
    arguments = ["run", small_file(tmp_path), "--out", tmp_path / "run", "--set", "seeds=1"]
    code, said, _ = ask(
        *arguments, "--set", "targets.codec=auto", "--set", "targets.budget=16 B/row"
    )
    assert code == 0
    assert re.search(r"sqrt\d.* taken", said)
    report = json.loads((tmp_path / "run" / "report.json").read_text())
    assert report["targets"]["codec"].startswith("sqrt")
    code, _, said = ask(*arguments, "--set", "targets.codec=auto", "--out", tmp_path / "other")
    assert code == 2
    assert 'codec = "auto" goes with a budget' in said


def test_targets_inspect_says_how_rows_read_and_what_was_measured(ask, finished):
    _, said, _ = ask("targets", "inspect", finished / "targets")
    said = " ".join(said.split())
    assert "every entry, as near as said above: any loss" in said
    assert "measured on 600 rows" in said


def test_targets_verify_says_that_all_is_whole(ask, finished):
    code, said, _ = ask("targets", "verify", finished / "targets")
    assert code == 0
    assert said.startswith("whole: 1 shard, 600 rows")


def test_targets_verify_finds_a_flipped_bit(ask, finished, tmp_path):
    shutil.copytree(finished / "targets", tmp_path / "targets")
    [shard] = (tmp_path / "targets").glob("*.arrow")
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 1
    shard.write_bytes(content)
    code, _, said = ask("targets", "verify", tmp_path / "targets")
    assert code == 2
    assert "is damaged: expected checksum" in said


def test_targets_make_is_the_first_half_of_a_run(ask, tmp_path):
    recipe, folder = small_file(tmp_path), tmp_path / "run"
    sets = ["--set", "targets.codec=dense32", "--set", "seeds=1", "--out", folder]
    code, said, _ = ask("targets", "make", recipe, *sets)
    assert code == 0
    assert f"{folder / 'targets'}: 600 rows" in said
    assert not (folder / "report.json").exists()
    made = {path: path.stat().st_mtime_ns for path in folder.rglob("*.arrow")}
    made |= {path: path.stat().st_mtime_ns for path in folder.rglob("teacher*.safetensors")}
    assert len(made) == 2
    code, _, _ = ask("run", recipe, *sets)
    assert code == 0
    assert {path: path.stat().st_mtime_ns for path in made} == made
    code, said, _ = ask("targets", "verify", folder / "targets")
    assert code == 0
    code, said, _ = ask("targets", "make", recipe, *sets)
    assert "other targets" not in said
    sets[1] = "targets.codec=dense16"
    code, said, _ = ask("targets", "make", recipe, *sets)
    assert "is of other targets: `limbeck run` renews it." in " ".join(said.split())


def test_targets_verify_live_asks_the_teacher_of_the_run(ask, finished, tmp_path):
    code, said, _ = ask("targets", "verify", finished / "targets", "--live", 20)
    assert code == 0
    assert "live: the teacher says the same of 20 rows" in said
    shutil.copytree(finished / "targets", tmp_path / "moved")
    code, said, _ = ask("targets", "verify", tmp_path / "moved", "--live", 3, "--run", finished)
    assert code == 0
    assert "of 3 rows" in said


def test_targets_verify_live_refuses_another_teacher(ask, finished, tmp_path):
    shutil.copytree(finished, tmp_path / "run")
    made = tmp_path / "run" / "teacher" / "teacher.safetensors"
    weights = safetensors.torch.load_file(made)
    name = next(iter(weights))
    weights[name] = weights[name] + 1
    safetensors.torch.save_file(weights, made)
    code, _, said = ask("targets", "verify", tmp_path / "run" / "targets", "--live", 20)
    assert code == 2
    assert "teacher: expected" in said


def test_targets_verify_live_without_the_run_says_what_is_missing(ask, finished, tmp_path):
    shutil.copytree(finished / "targets", tmp_path / "alone")
    code, _, said = ask("targets", "verify", tmp_path / "alone", "--live", 1)
    assert code == 2
    assert "recipe.toml" in said


def test_targets_verify_live_says_that_a_set_was_converted_wherever_it_lies(
    ask, finished, tmp_path
):
    converted = tmp_path / "converted"
    code, _, _ = ask("targets", "convert", finished / "targets", "--out", converted)
    assert code == 0
    for run in ((), ("--run", finished)):
        code, _, said = ask("targets", "verify", converted, "--live", 3, *run)
        assert code == 2
        assert "were converted from others (" in " ".join(said.split())


def test_targets_convert_and_merge_make_transfer_sets(ask, finished, tmp_path):
    options = ["--codec", "topk", "--option", "k=3"]
    code, said, _ = ask(
        "targets", "convert", finished / "targets", "--out", tmp_path / "k", *options
    )
    assert code == 0
    assert f"{tmp_path / 'k'}: 600 rows" in said
    twice = [tmp_path / "k", tmp_path / "k"]
    code, said, _ = ask("targets", "merge", *twice, "--out", tmp_path / "m")
    assert code == 0
    assert f"{tmp_path / 'm'}: 600 rows" in said
    code, said, _ = ask("targets", "inspect", tmp_path / "m")
    assert "topk (k = 3)" in said
    assert "converted from" in said


def test_targets_import_makes_a_transfer_set(ask, tmp_path, monkeypatch):
    folder = tmp_path / "logits_top2_epoch0"
    folder.mkdir()
    (folder / "rank0-keys.txt").write_text("0\n1\n")
    row = np.array([3, 1], "<i2").tobytes() + np.array([0.5, 0.25], "<f2").tobytes()
    (folder / "rank0-values.bin").write_bytes((b"seed" + row) * 2)
    source = "import numpy\ndef inputs():\n return numpy.arange(12.0).reshape(2, 6)\n"
    (tmp_path / "what_was_asked.py").write_text(source)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    data = ["--data", "what_was_asked:inputs", "--classes", "4"]
    code, said, _ = ask("targets", "import", "tinyvit", folder, "--out", tmp_path / "set", *data)
    assert code == 0
    assert f"{tmp_path / 'set'}: 2 rows" in said
    code, said, _ = ask("targets", "inspect", tmp_path / "set")
    assert "class 3: 0.500, class 1: 0.250, all others: 0.250" in said
    assert "tinyvit; biased" in said


def test_targets_import_names_an_option_that_cannot_be(ask, tmp_path, monkeypatch):
    source = "import numpy\ndef inputs():\n return numpy.arange(12).reshape(2, 6)\n"
    (tmp_path / "which_texts.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    options = ["--option", "d=16", "--option", "k=two", "--option", "exact_k=2"]
    where = [tmp_path, "--out", tmp_path / "set", "--data", "which_texts:inputs"]
    code, _, said = ask("targets", "import", "distillkit", *where, "--classes", "16", *options)
    assert code == 2
    assert "k: input should be a valid integer, got 'two'" in " ".join(said.split())
    assert not (tmp_path / "set").exists()


def test_targets_convert_writes_parquet(ask, finished, tmp_path):
    file = tmp_path / "rows.parquet"
    assert ask("targets", "convert", finished / "targets", "--parquet", file)[0] == 0
    assert len(pd.read_parquet(file)) == 600


@pytest.mark.parametrize(
    ("more", "named"),
    [
        ([], "--parquet FILE"),
        (["--out", "{new}", "--option", "k"], "--option takes KEY=VALUE, got 'k'"),
        (
            ["--out", "{new}", "--codec", "threshold", "--option", "tau=.05"],
            "--option takes KEY=VALUE as TOML has it, got 'tau=.05'. TOML writes it 0.05.",
        ),
        (["--out", "{new}", "--option", "exact=True"], "got 'exact=True'. TOML writes it true."),
        (["--parquet", "memory://rows.parquet"], "a path on this machine, got memory://rows.parq"),
    ],
)
def test_targets_convert_says_what_it_takes(ask, finished, tmp_path, more, named):
    more = [each.format(new=tmp_path / "new") for each in more]
    code, _, said = ask("targets", "convert", finished / "targets", *more)
    assert code == 2
    assert named in " ".join(said.split())


def test_doctor_says_that_all_is_in_order(ask, tmp_path):
    code, said, _ = ask("doctor", small_file(tmp_path))
    assert code == 0
    assert "Everything that was looked at is in order." in said


def test_doctor_shows_a_warning_and_ends_with_0(ask, tmp_path):
    torch.manual_seed(7)
    save_weights(MLP(64, [32], 10), tmp_path / "random.safetensors")
    weights = f"teacher.weights={tmp_path / 'random.safetensors'}"
    code, said, _ = ask("doctor", small_file(tmp_path), "--set", weights)
    assert code == 0
    assert "warning: The teacher is at chance level" in said
    assert "Everything that was looked at is in order but for the warning." in said


def test_doctor_ends_with_2_at_a_fault(ask, tmp_path):
    code, _, said = ask("doctor", small_file(tmp_path), "--set", "train.optimizer=Addam")
    assert code == 2
    assert "fault:" in said
    assert "Did you mean Adam" in said


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["rum"], "rum"),
        (["run"], "'recipe'"),
        (["run", "digits", "--oot", "x"], "--oot"),
        (["targets", "inspekt"], "inspekt"),
        (["report", "/nowhere"], "/nowhere"),
        (["targets", "inspect", "/nowhere"], "/nowhere"),
    ],
)
def test_a_command_that_makes_no_sense_ends_with_2_and_names_it(ask, arguments, named):
    code, _, said = ask(*arguments)
    assert code == 2
    assert said.startswith("error: ")
    assert named in said


def test_a_stopped_run_ends_with_130_and_its_own_words(ask, monkeypatch):
    monkeypatch.setattr(
        "limbeck.recipe_file.load_recipe", _raises(Interrupted("stopped. All is kept."))
    )
    assert ask("run", "digits") == (130, "", "\nstopped. All is kept.\n")


def _raises(error: BaseException):
    def load_recipe(*arguments):
        raise error

    return load_recipe


def test_ctrl_c_outside_of_training_ends_with_130(ask, monkeypatch):
    monkeypatch.setattr("limbeck.recipe_file.load_recipe", _raises(KeyboardInterrupt()))
    code, _, said = ask("run", "digits")
    assert code == 130
    assert "Nothing is half written" in said


@pytest.mark.parametrize("library", ["typer", "rich", "torch", "numpy"])
def test_ctrl_c_while_a_library_is_imported_ends_with_130_and_one_line(library, tmp_path):
    cut_off = "import os, signal\nos.kill(os.getpid(), signal.SIGINT)\nraise RecursionError\n"
    (tmp_path / f"{library}.py").write_text(cut_off)
    process = python("-m", "limbeck", "run", "digits", cwd=tmp_path)
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 130
    assert said.strip() == (
        "stopped. Nothing is half written: the same command goes on from what it kept, if anything."
    )


def test_markup_in_a_message_is_not_markup(ask):
    code, _, said = ask("run", "[red]digits[/red]")
    assert code == 2
    assert "recipe file [red]digits[/red]," in said


def test_a_second_process_prints_nothing(ask, tmp_path, monkeypatch):
    monkeypatch.setenv("RANK", "1")
    code, said, _ = ask("run", small_file(tmp_path), "--set", "seeds=1", "--out", tmp_path / "run")
    assert code == 0
    assert "report:" not in said


def test_a_warning_that_was_heard_in_a_run_is_not_said_again(ask, tmp_path):
    short = ["--set", "teacher.train.epochs=1", "--set", "teacher.train.learning_rate=1e-9"]
    code, said, _ = ask("run", small_file(tmp_path), *short, "--out", tmp_path / "run")
    assert code == 0
    assert said.count("The teacher is at chance level") == 1
    _, again, _ = ask("report", tmp_path / "run")
    assert again.count("The teacher is at chance level") == 1


def test_where_nobody_sees_a_bar_a_line_now_and_then_says_how_far_it_is(capsys, monkeypatch):
    clock = iter([0.0, 10.0, 31.0, 31.0, 40.0, 62.0, 62.0])
    monkeypatch.setattr(_bars, "monotonic", lambda: next(clock))
    with Bars() as bars:
        bars.start("training", 40)
        for done in range(4):
            bars.advance(10, loss=1 / (1 + done))
    lines = [line.strip() for line in capsys.readouterr().out.splitlines()]
    assert lines == ["training", "training: 20 of 40, loss 0.5", "training: 40 of 40, loss 0.25"]


def test_bars_name_the_work_and_go_when_it_is_done(monkeypatch, capsys):
    monkeypatch.setattr(_common.out, "_force_terminal", True)
    monkeypatch.setattr(_common.out, "_width", 100)
    with Bars() as bars:
        bars.start("first", 2)
        bars.advance(1, loss=0.123456)
        bars.advance(0)
        kept = bars._bars.tasks[0].fields["numbers"]
        bars.start("second", 3)
        bars.advance(3)
        bars.say("a line [that] stays")
        bars.warn("look")
        shown = [task.description for task in bars._bars.tasks]
    assert shown == ["second"]
    assert kept == "loss 0.1235"
    said = capsys.readouterr().out
    assert "a line [that] stays" in said
    assert "warning:" in said
