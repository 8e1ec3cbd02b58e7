import os
import re
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import limbeck
from limbeck._errors import DataError
from limbeck.data import SOURCES, ArraySamples, Cut, DataSet, load
from limbeck.doctor import _parts, examine
from limbeck.losses import soft_targets
from limbeck.methods import METHODS, Term, objective_of
from limbeck.models import MLP, MODELS, save_weights
from limbeck.recipe_file import load_recipe
from limbeck.signals import Head
from limbeck.targets import CODECS
from limbeck.targets.codecs import DenseCodec

FAST = ["seeds=2", "data.limit=150", "teacher.options={hidden = [16]}"]


def look(*overrides, name="digits"):
    return examine(load_recipe(name, [*FAST, *overrides]))


def saved_teacher(folder):
    torch.manual_seed(7)  # not a student's seed, or it would be its own teacher
    path = folder / "teacher.safetensors"
    save_weights(MLP(64, [16], 10), path)
    return path


def table(found, title):
    (rows,) = [rows for name, _, rows in found.tables if name == title]
    return rows


def only_fault(found):
    assert len(found.faults) == 1, found.faults
    return found.faults[0]


@pytest.fixture
def model(monkeypatch):
    """Puts a function among the models, under the name "own"."""

    def put(function):
        monkeypatch.setitem(MODELS, "own", lambda interface: function())

    return put


@pytest.fixture
def source(monkeypatch):
    """Puts samples of one head among the sources, under the name "own"."""

    def put(inputs, labels, head):
        samples = ArraySamples(inputs, {head.name: labels})
        data = DataSet(train=samples, validation=samples, test=samples, heads=(head,))
        monkeypatch.setitem(SOURCES, "own", lambda path, cut: data)

    return put


# ---- what is in order ---------------------------------------------------------------------------


def test_the_digits_are_in_order_in_seconds_and_nothing_is_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    state = torch.get_rng_state()
    begun = time.process_time()  # not of the machine's other work
    found = examine(load_recipe("digits"))
    assert found.faults == []
    assert time.process_time() - begun < 15
    assert os.listdir(tmp_path) == []
    assert torch.equal(state, torch.get_rng_state())


def test_every_table_has_as_many_cells_in_a_row_as_columns():
    found = look()
    assert [title for title, _, _ in found.tables] == [
        "Heads and one batch",
        "Models",
        "One batch of each split",
        "Stored rows against the live teacher",
        "Loss terms",
        "The losses prove themselves",
        "Time (an estimate)",
        "Memory in training (an estimate)",
    ]
    for _, columns, rows in found.tables:
        assert rows
        assert all(len(row) == len(columns) for row in rows)


def test_shapes_and_parameters_are_those_of_the_recipe():
    found = look()
    assert table(found, "Heads and one batch") == [
        ["label", "categorical", "10", "(64, 8, 8) float32", "(64,) int64"]
    ]
    parameters = {row[0]: row[2] for row in table(found, "Models")}
    assert parameters == {"teacher": "1,210", "student small": "1,210"}  # 64*16+16 + 16*10+10


def test_a_batch_of_each_split_is_shown():
    assert table(look(), "One batch of each split") == [
        ["train", "150", "(64, 8, 8) float32", "label (64,) int64"],
        ["validation", "251", "(64, 8, 8) float32", "label (64,) int64"],
        ["test", "540", "(64, 8, 8) float32", "label (64,) int64"],
    ]


def test_a_batch_holds_labelled_samples_and_others():
    assert "Of the 64 samples in the batch, 6 show their label." in look().notes
    found = look("data.labelled=2")
    assert "Of the 64 samples in the batch, 1 show their label." in found.notes
    assert found.faults == []


def test_a_batch_is_no_larger_than_the_data():
    assert table(look("data.limit=20"), "Heads and one batch")[0][3] == "(20, 8, 8) float32"


def test_terms_are_weighted_as_the_recipe_says():
    rows = table(look("distil.hard_weight=0.5", "distil.soft_weight=2"), "Loss terms")
    assert [row[:3] for row in rows] == [
        ["teacher", "hard", "1"],
        ["control small", "hard", "1"],
        ["student small", "soft", "2"],
        ["student small", "hard", "0.5"],
    ]
    control, hard = rows[1], rows[3]
    assert float(hard[4]) == pytest.approx(float(control[3]) / 2, rel=1e-3)
    assert float(hard[5]) == pytest.approx(float(control[5]) / 2, rel=1e-2)


def test_the_gradient_norm_is_that_of_finite_differences(model):
    built = []

    def one_weight():
        class Scaled(nn.Module):
            def __init__(self):
                super().__init__()
                self.scale = nn.Parameter(torch.tensor(0.3))

            def forward(self, x):
                return self.scale * x.flatten(1)[:, :10]

        built.append(Scaled())
        return built[-1]

    model(one_weight)
    found = look("students.small.model=own", "students.small.options={}", "data.labelled=1.0")
    row = table(found, "Loss terms")[1]
    # The batch again, by the documented order, and the loss by a formula of its own.
    from limbeck.doctor._lessons import one_batch
    from limbeck.tasks import load_task

    data = load_task(load_recipe("digits", [*FAST, "data.labelled=1.0"]).data).data
    batch = one_batch(data.train, 64)
    pixels = batch.inputs.flatten(1)[:, :10].double().numpy()
    labels = batch.labels["label"].numpy()

    def loss(scale):
        logits = scale * pixels
        log_sum = np.log(np.exp(logits).sum(-1))
        return (log_sum - logits[np.arange(len(labels)), labels]).mean()

    assert row[0] == "control small"
    assert float(row[3]) == pytest.approx(loss(0.3), rel=1e-3)
    slope = (loss(0.3 + 1e-5) - loss(0.3 - 1e-5)) / 2e-5
    assert float(row[5]) == pytest.approx(abs(slope), rel=1e-2)


def test_steps_and_bytes_are_multiplied_out():
    found = look("train.epochs=3", "teacher.train.epochs=2", "targets.views=2")
    work = {row[0]: row[2] for row in table(found, "Time (an estimate)")}
    assert work == {
        "teacher": "6 steps",  # 2 epochs of ceil(150 / 64)
        "targets": "300 samples",
        "control": "18 steps",  # 3 epochs, 2 seeds
        "distil": "18 steps",
        "in all": "",
    }
    # 10 half-precision numbers, a key of 8 bytes and a view of 4
    said = "300 samples x (20 B of rows + 12 B of key and view) = 9.60\N{NO-BREAK SPACE}KB"
    assert any(said in note for note in found.notes)


def test_memory_counts_weights_gradients_and_the_optimisers_state():
    found = look("data.limit=64")
    rows = {row[0]: row[1:] for row in table(found, "Memory in training (an estimate)")}
    # 1210 numbers of 4 bytes; Adam keeps two more of each, and a step count for 4 tensors.
    assert rows["student small"][:3] == [
        f"{number}\N{NO-BREAK SPACE}KB" for number in ("4.84", "4.84", "9.70")
    ]
    # Kept for the backward pass: at least the input, 64 x 64, and the hidden layer, 64 x 16.
    amount, unit = rows["student small"][3].split()
    assert unit == "KB"
    assert 20 <= float(amount) < 60


def test_two_students_learn_in_one_pass_each_with_its_control():
    found = look('students.large={model = "mlp"}')
    models = {row[0]: row[1] for row in table(found, "Time (an estimate)")}
    assert models["distil"] == "student small, student large"
    assert models["control"] == "control small, control large"


def test_a_live_teacher_stores_nothing():
    found = look("distil.live=true")
    assert found.faults == []
    assert not any(title.startswith("Stored") for title, _, _ in found.tables)
    assert "targets" not in {row[0] for row in table(found, "Time (an estimate)")}


def test_a_loaded_teacher_is_not_trained(tmp_path):
    weights = saved_teacher(tmp_path)
    found = look(f"teacher.weights={weights}")
    assert found.faults == []
    assert "teacher" not in {row[0] for row in table(found, "Loss terms")}
    assert not any("untrained" in note for note in found.notes)
    assert any("untrained" in note for note in look().notes)


def test_how_a_loaded_teacher_is_trained_has_no_effect_which_a_note_says(tmp_path):
    def notes(*overrides):
        return [note for note in look(*overrides).notes if "no effect" in note]

    loaded = f"teacher.weights={saved_teacher(tmp_path)}"
    (note,) = notes(loaded)
    assert note.startswith("teacher.train has no effect: teacher.weights is given, and who")
    assert notes() == []
    assert notes(loaded, "teacher.train={}") == []


def taught_teacher(folder):
    """A teacher that knows the digits, and its validation score by a formula of the test's own."""
    torch.manual_seed(7)
    teacher = MLP(64, [16], 10)
    data = load("digits", validation=0.2, test=0.3)
    limbeck.supervise(teacher, data, limbeck.Train(epochs=15, learning_rate=1e-2))
    save_weights(teacher, folder / "teacher.safetensors")
    batch = data.validation.fetch(torch.arange(len(data.validation)))
    right = (teacher(batch.inputs).argmax(-1) == batch.labels["label"]).float().mean()
    return folder / "teacher.safetensors", float(right)


def test_a_loaded_teacher_is_scored_on_validation_samples(tmp_path):
    weights, right = taught_teacher(tmp_path)
    found = look(f"teacher.weights={weights}")
    assert right > 0.8
    assert f"The loaded teacher's validation accuracy is {right:.4g}, on 251 of 251 samples." in (
        found.notes
    )
    assert found.warnings == []


def test_a_loaded_teacher_is_asked_about_a_part_of_many_validation_samples(tmp_path, monkeypatch):
    monkeypatch.setattr("limbeck.doctor._teacher.MOST_SAMPLES", 40)
    found = look(f"teacher.weights={taught_teacher(tmp_path)[0]}")
    assert any(note.endswith("on 40 of 251 samples.") for note in found.notes)


def test_a_loaded_teacher_at_chance_level_is_warned_of_and_is_no_fault(tmp_path):
    found = look(f"teacher.weights={saved_teacher(tmp_path)}")
    [warning] = found.warnings
    assert warning.startswith("The teacher is at chance level: validation accuracy 0.")
    assert found.faults == []


def test_a_teacher_that_is_still_to_be_trained_is_not_scored():
    found = look()
    assert found.warnings == []
    assert not any("loaded teacher" in note for note in found.notes)


def test_topk_is_proved_with_its_classes_and_with_all():
    found = look("targets.codec=topk", "targets.codec_options={k = 3}")
    assert found.faults == []
    names = [row[0] for row in table(found, "The losses prove themselves")]
    assert names == ["soft, 3 of 10 classes"] * 4 + ["soft, every class named"] * 6
    assert table(found, "Stored rows against the live teacher")[0][2] == "13"  # 3 + 3 * 2 + 4


def test_probabilities_are_normalised_and_a_student_may_give_them_too(model):
    model(lambda: nn.Sequential(nn.Flatten(), nn.Linear(64, 10), nn.Softmax(-1)))
    found = look(
        *("teacher.model=own", "teacher.options={}", "teacher.outputs=probabilities"),
        *("targets.compress=normalised", "students.small.model=own", "students.small.options={}"),
        "students.small.outputs=probabilities",
    )
    assert found.faults == []


def test_numbers_rows_and_yes_or_no_classes_are_looked_at_too(source):
    inputs = torch.randn(40, 5, 4)
    classes = torch.randint(0, 2, (40, 3)).float()
    heads = {
        "real": (torch.randn(40, 2), Head(space="real", size=2)),
        "binary": (classes, Head(space="binary", size=3)),
    }
    for space, (labels, head) in heads.items():
        source(inputs, labels, head)
        found = look("data.source=own", "data.labelled=1.0")
        assert found.faults == []
        proofs = table(found, "The losses prove themselves")
        assert len(proofs) == 5
        assert table(found, "Heads and one batch")[0][1] == space


def test_rows_of_a_sequence_are_looked_at_too(source, model):
    source(
        torch.randn(40, 5, 4),
        torch.arange(200).reshape(40, 5) % 3,
        Head(space="categorical", size=3),
    )
    model(lambda: nn.Linear(4, 3))
    found = look(
        *("data.source=own", "data.labelled=1.0", "teacher.model=own", "teacher.options={}"),
        *("students.small.model=own", "students.small.options={}"),
    )
    assert found.faults == []
    assert table(found, "Models")[0][3] == "label (40, 5, 3) float32"
    assert any("40 samples x (30 B" in note for note in found.notes)  # 5 rows x 3 x 2 bytes


def test_a_student_without_batch_normalisation_may_see_one_sample_at_a_time():
    assert look("train.batch_size=1").faults == []


# ---- what is not --------------------------------------------------------------------------------


def test_errors_of_the_data_pass_through():
    with pytest.raises(DataError, match="no such thing"):
        look("data.source=idx", "data.path=no such thing")


@pytest.mark.parametrize(
    ("overrides", "text"),
    [
        (["distil.method=soft_target"], "no method is called 'soft_target'. Did you mean"),
        (["targets.codec=dense8"], "codec must be one of dense16, dense32"),
        (["targets.codec=topk", "targets.codec_options={k = 11}"], "at most the 10 classes"),
        (["teacher.outputs=probabilities"], 'set targets.compress = "normalised"'),
        (["train.views=true"], "which a transfer set cannot hold"),
        (["students.small.model=mlpp"], "no model is called 'mlpp'. Did you mean mlp?"),
        (["teacher.model=mlpp"], "no model is called 'mlpp'. Did you mean mlp?"),
        (["teacher.weights=none.safetensors"], "there is no weights file none.safetensors"),
        (["train.optimizer=Adamm"], "torch.optim has no optimiser 'Adamm'"),
        (
            ["targets.codec=topk", "targets.codec_options={k = 3}", "distil.temperature=2"],
            "and cannot be moved to 2",
        ),
    ],
)
def test_what_contradicts_itself_or_does_not_exist_is_a_fault(overrides, text):
    assert any(text in fault for fault in look(*overrides).faults)


def test_faults_of_several_parts_are_found_at_once():
    found = look("distil.method=none", "targets.codec=none", "students.small.model=none")
    assert len(found.faults) == 3
    assert {title for title, _, _ in found.tables} == {
        "Heads and one batch",
        "Models",
        "One batch of each split",
    }


@pytest.mark.parametrize("who", ["teacher", "students.small"])
@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: [nn.Linear(64, 9)], "must answer 10 classes for head label, got an answer of"),
        (lambda: [nn.Linear(63, 10)], "cannot be called with the inputs (64, 8, 8) float32: mat1"),
        (lambda: [nn.Linear(64, 10), nn.Softmax(-1)], "logits for head label, got what look like"),
    ],
)
def test_a_model_that_does_not_fit_is_a_fault(model, who, make, text):
    model(lambda: nn.Sequential(nn.Flatten(), *make()))
    assert text in only_fault(look(f"{who}.model=own", f"{who}.options={{}}"))


def test_a_student_that_gives_logits_for_probabilities_is_a_fault():
    fault = only_fault(look("students.small.outputs=probabilities"))
    assert "student small must give probabilities" in fault
    assert 'set outputs = "logits"' in fault


def test_a_teacher_that_gives_logits_to_be_normalised_is_a_fault():
    fault = only_fault(look("targets.compress=normalised"))
    assert 'logits cannot be normalised: set targets.compress = "softmax"' in fault


def test_a_teacher_that_says_nan_is_a_fault(tmp_path):
    teacher = MLP(64, [16], 10)
    nn.init.constant_(teacher.layers[1].bias, torch.nan)
    weights = tmp_path / "teacher.safetensors"
    save_weights(teacher, weights)
    fault = only_fault(look(f"teacher.weights={weights}"))
    assert "the teacher's answer for head label is not finite" in fault


@pytest.mark.parametrize(
    ("overrides", "faulty"),
    [
        (["train.batch_size=1"], True),
        (["train.batch_size=8", "train.accumulate=8"], True),
        (["train.batch_size=149"], True),  # 150 samples: the last batch is one
        (["train.batch_size=50"], False),
    ],
)
def test_a_batch_of_one_for_batch_normalisation_is_a_fault(model, overrides, faulty):
    model(lambda: nn.Sequential(nn.Flatten(), nn.BatchNorm1d(64), nn.Linear(64, 10)))
    found = look("students.small.model=own", "students.small.options={}", *overrides)
    texts = ["student small normalises over the batch (BatchNorm1d)"] if faulty else []
    assert len(found.faults) == len(texts)
    assert all(text in fault for text, fault in zip(texts, found.faults, strict=True))


class Detached(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(64, 10)

    def forward(self, x):
        return self.layer(x.flatten(1)).detach()


def test_a_detached_student_is_a_fault_of_each_of_its_terms(model):
    model(Detached)
    faults = look("students.small.model=own", "students.small.options={}").faults
    assert len(faults) == 3
    assert all("is detached: no parameter gets a gradient" in fault for fault in faults)


class Infinite(nn.Module):
    """Finite answers, in training a root of 0 whose gradient is not."""

    def __init__(self, in_value):
        super().__init__()
        self.in_value = in_value
        self.layer = nn.Linear(64, 10)

    def forward(self, x):
        rows = self.layer(x.flatten(1))
        if not self.training:
            return rows
        return rows / 0 if self.in_value else rows + (0 * self.layer.weight).sum().sqrt()


@pytest.mark.parametrize(
    ("in_value", "text"),
    [
        (True, "the soft loss of student small is not finite: nan"),
        (False, "the gradient of the soft loss of student small is not finite: nan"),
    ],
)
def test_what_is_not_finite_is_a_fault(model, in_value, text):
    model(lambda: Infinite(in_value))
    faults = look("students.small.model=own", "students.small.options={}").faults
    assert any(text in fault for fault in faults)


def add_term(monkeypatch, loss, weight=1.0):
    """Gives every recipe one more term."""

    def with_more(recipe, heads):
        more = Term(
            name="more",
            head=heads[0].name,
            weight=weight,
            with_labels=False,
            from_teacher=True,
            loss=loss,
        )
        return (*objective_of(recipe, heads), more)

    monkeypatch.setattr(_parts, "objective_of", with_more)


def test_a_term_that_is_zero_is_a_fault(monkeypatch):
    add_term(monkeypatch, lambda student, teacher, batch: 0 * student.sum(-1))
    faults = look().faults
    assert any("the more loss of student small is exactly 0" in fault for fault in faults)


def test_a_term_that_drowns_another_is_a_fault():
    fault = only_fault(look("distil.hard_weight=0.001", "distil.soft_weight=10"))
    assert "the soft loss of student small pulls" in fault
    assert "times as hard as the hard loss, more than 100 times" in fault


def test_a_drowned_soft_loss_is_a_note_where_the_teacher_is_untrained(tmp_path):
    weights = saved_teacher(tmp_path)
    drown = ["distil.hard_weight=10", "distil.soft_weight=0.001"]
    found = look(*drown)
    assert found.faults == []
    assert any("the hard loss of student small pulls" in note for note in found.notes)
    fault = only_fault(look(*drown, f"teacher.weights={weights}"))
    assert "the hard loss of student small pulls" in fault


def test_a_student_that_is_its_teacher_already_is_a_fault(tmp_path):
    torch.manual_seed(0)  # the student's
    save_weights(MLP(64, [16], 10), tmp_path / "same.safetensors")
    found = look(f"teacher.weights={tmp_path / 'same.safetensors'}", "targets.codec=dense32")
    soft = next(row for row in table(found, "Loss terms") if row[:2] == ["student small", "soft"])
    assert float(soft[3]) < 1e-5
    assert "pulls" in only_fault(found) or "exactly 0" in only_fault(found)


def test_a_teacher_that_is_still_to_be_trained_does_not_begin_as_its_student():
    soft = next(row for row in table(look(), "Loss terms") if row[1] == "soft")
    assert float(soft[3]) > 1e-3


def test_a_loss_that_does_not_hold_is_a_fault(monkeypatch):
    def without_t_squared(student, teacher, batch):
        return soft_targets(student, teacher.logits, temperature=4.0) / 16

    add_term(monkeypatch, without_t_squared)
    fault = only_fault(look())
    assert "the more loss does not prove itself: gradient of the right size is off by 0.93" in fault
    assert "Look for a missing T^2" in fault
    proofs = table(look(), "The losses prove themselves")
    assert [row[4] for row in proofs] == ["yes"] * 11 + ["NO"]


@pytest.mark.parametrize("method", METHODS)
def test_the_terms_of_every_method_are_shown_and_proven(method):
    found = look(f"distil.method={method}", "data.labelled=1.0", "distil.hard_weight=0")
    assert found.faults == []
    terms = [row[:2] for row in table(found, "Loss terms") if row[0] == "student small"]
    assert terms == [["student small", "soft"]]
    proven = [rows for title, _, rows in found.tables if title == "The losses prove themselves"]
    assert bool(proven) == METHODS[method].from_teacher


@pytest.mark.parametrize(
    ("section", "who"), [("train", "student small"), ("teacher.train", "teacher")]
)
def test_a_learning_rate_that_leads_nowhere_is_a_warning(section, who):
    warnings = look(f"{section}.learning_rate=1e30", f"{section}.optimizer=SGD").warnings
    assert (
        f"after a few steps the loss of {who} is not finite. Lower {section}.learning_rate "
        f"(1e+30), or set {section}.warmup or {section}.clip."
    ) in warnings


def test_that_unlabelled_samples_teach_nothing_is_a_warning():
    said = "Samples without a label teach nothing by method dkd, which needs labels"
    (warning,) = look("distil.method=dkd", "distil.soft_weight=0.1").warnings
    assert warning.startswith(said)
    assert not look().warnings


def test_a_wrong_option_of_a_method_is_a_fault():
    fault = only_fault(look("distil.method=dkd", "distil.options.others=2"))
    assert "distil.options of dkd: there is no key others. Did you mean others_weight?" in fault


def test_sparse_rows_for_a_method_that_needs_every_class_are_a_fault():
    fault = only_fault(
        look("distil.method=dist", "targets.codec=topk", "targets.codec_options={k=3}")
    )
    assert "method dist needs every class of a row, and codec topk names only some" in fault


def test_micro_batches_of_a_method_that_compares_rows_are_warned_of():
    assert "train.accumulate = 4" in look("distil.method=dist", "train.accumulate=4").warnings[0]
    assert look("distil.method=skew_kl", "train.accumulate=4").warnings == []


class Coarse(DenseCodec):
    def encode(self, values, head, state, seeds):
        return {"values": np.round(values.numpy()).astype(np.float16)}


def test_a_codec_that_loses_what_it_says_it_keeps_is_a_fault(monkeypatch):
    monkeypatch.setitem(
        CODECS, "coarse", lambda: Coarse("coarse", np.dtype(np.float16), relative=0, absolute=0)
    )
    found = look("targets.codec=coarse", "targets.temperature=1", "distil.temperature=1")
    assert "must be within 0.01 nats of the live teacher's with codec coarse" in only_fault(found)


def test_training_samples_without_labels_are_a_fault(monkeypatch):
    def unlabelled(path, cut):
        data = SOURCES["digits"](path, cut)
        return replace(data, train=ArraySamples(data.train.inputs, {}))

    monkeypatch.setitem(SOURCES, "own", unlabelled)
    fault = only_fault(look("data.source=own", "data.labelled=1.0"))
    assert "the train split has no labels for head label" in fault


class Bare:
    """Samples of the user's own, which are not looked through when they are loaded."""

    def __init__(self, inner):
        self.inner = inner

    def __len__(self):
        return len(self.inner)

    def __getattr__(self, name):
        return getattr(self.inner, name)

    def subset(self, index):
        return Bare(self.inner.subset(index))


def own_splits(monkeypatch, **changed):
    data = SOURCES["digits"](None, Cut(test=0.3, validation=0.2))
    monkeypatch.setitem(SOURCES, "own", lambda path, cut: replace(data, **changed))
    return ("data.source=own", "data.labelled=1.0")


@pytest.mark.parametrize("split", ["validation", "test"])
def test_samples_of_another_shape_in_another_split_are_a_fault_of_everyone(monkeypatch, split):
    labels = torch.arange(9)
    narrow = ArraySamples(torch.zeros(9, 8, 7), {"label": labels})
    faults = look(*own_splits(monkeypatch, **{split: narrow})).faults
    assert [fault.partition(" cannot")[0] for fault in faults] == [
        f"the teacher, on {split} samples,",
        f"student small, on {split} samples,",
    ]


def test_labels_of_another_shape_in_another_split_are_a_fault(monkeypatch):
    rows = ArraySamples(torch.zeros(9, 8, 8), {"label": torch.zeros(9, 2, dtype=torch.long)})
    faults = look(*own_splits(monkeypatch, test=rows)).faults
    assert any("student small, on test samples, must answer (9, 2, 10)" in it for it in faults)


@pytest.mark.parametrize("split", ["train", "validation", "test"])
def test_a_number_that_is_not_finite_in_any_split_is_a_fault(monkeypatch, split):
    inputs = torch.zeros(9, 8, 8)
    inputs[4, 0, 0] = torch.inf
    spoilt = Bare(ArraySamples(inputs, {"label": torch.arange(9)}))
    faults = look("data.limit=9", *own_splits(monkeypatch, **{split: spoilt})).faults
    assert any(f"the input of {split} sample " in fault for fault in faults)


def test_a_pickle_of_weights_is_refused(tmp_path: Path):
    (tmp_path / "teacher.pt").write_bytes(b"")
    fault = only_fault(look(f"teacher.weights={tmp_path / 'teacher.pt'}"))
    assert "may be a pickle" in fault


def test_another_set_whose_codec_would_be_taken_must_be_there(tmp_path):
    assert "no such folder" in only_fault(look(f"targets.like={tmp_path / 'none'}"))


def test_a_method_that_cannot_read_the_rows_of_another_sets_codec_says_which(tmp_path):
    there = limbeck.capture(
        MLP(64, [16], 10), load("digits"), tmp_path / "topk", codec="topk", codec_options={"k": 3}
    )
    said = only_fault(look(f"targets.like={there.folder}", "distil.method=dist"))
    assert "codec topk names only some of head label" in said


# ---- features -----------------------------------------------------------------------------------

TAPS = 'distil.taps=[{student = "layers.2", teacher = "layers.2"}]'


def test_taps_are_shown_with_shapes_and_norms_and_what_is_learned_between():
    found = look("distil.method=fitnets", TAPS, "students.small.options={hidden = [8]}")
    ((who, ours, shape, norm, adapter, theirs, teachers, other),) = table(found, "Taps")
    assert (who, ours, theirs) == ("student small", "layers.2", "layers.2")
    assert (shape, adapter, teachers) == ("(64, 8)", "linear 8 -> 16", "(64, 16)")
    assert float(norm) > 0
    assert float(other) > 0
    assert any("method trains 144 weights, no part of" in note for note in found.notes)
    terms = {row[1]: row for row in table(found, "Loss terms") if row[0] == "student small"}
    assert terms["features"][2] == "100"
    assert "features" not in {row[0] for row in table(found, "The losses prove themselves")}


def test_what_a_method_learns_and_keeps_beside_a_student_is_said_where_there_is_some():
    def beside(method):
        notes = look(f"distil.method={method}", TAPS).notes
        return [note for note in notes if note.startswith("Beside")]

    assert beside("sp") == []
    (note,) = beside("crd")
    assert re.search(r"trains [1-9][\d,]* weights and keeps [1-9][\d,]* other numbers, no", note)


def test_a_tap_that_is_not_there_is_a_fault():
    wrong = 'distil.taps=[{student = "layer.2", teacher = "layers.2"}]'
    fault = only_fault(look("distil.method=fitnets", wrong))
    assert fault.startswith("student small has no module 'layer.2' to tap. Did you mean layers.2?")


def test_a_method_without_its_taps_is_a_fault():
    assert "method sp takes one or more taps" in only_fault(look("distil.method=sp"))


def test_features_that_drown_the_rows_are_told_by_their_weight(tmp_path):
    weights = f"teacher.weights={saved_teacher(tmp_path)}"
    much = ("distil.method=fitnets", TAPS, "distil.feature_weight=1e6", weights)
    found = look(*much)
    assert found.faults == []
    pulls = "the features loss of student small pulls"
    (warning, *_) = [text for text in found.warnings if text.startswith(pulls)]
    assert "Change distil.feature_weight or distil.soft_weight." in warning


def test_features_that_pull_ten_times_as_hard_are_noted(tmp_path):
    said = ("distil.method=fitnets", TAPS, f"teacher.weights={saved_teacher(tmp_path)}")
    ratio = ratio_of(look(*said, "distil.feature_weight=1"))
    for factor, is_noted in ((9.0, False), (11.0, True)):
        notes = look(*said, f"distil.feature_weight={factor / ratio}").notes
        noted = [note for note in notes if "the soft loss. If it hurts, lower distil.f" in note]
        assert len(noted) == is_noted


def ratio_of(found):
    """How hard features pull, by the soft loss."""
    norms = {
        row[1]: float(row[-1]) for row in table(found, "Loss terms") if row[0] == "student small"
    }
    return norms["features"] / norms["soft"]


def test_stored_features_are_told_by_their_size():
    found = look("distil.method=fitnets", TAPS, "targets.features=true")
    assert "Features are stored too: 150 samples x 16 B = " in str(found.notes)
    assert ["targets", "teacher", "300 samples"] in [
        row[:3] for row in table(found, "Time (an estimate)")
    ]
