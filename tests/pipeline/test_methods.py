"""A method and its options are part of a run: read, checked, trained by, and told apart."""

import pytest

import limbeck
from limbeck._errors import LossError, OptionError, TargetsError
from limbeck.pipeline import _context, _preflight
from limbeck.recipe_file import load_recipe
from limbeck.train import fit
from tests.pipeline.examples import equal, small, weights

OWN = "tests.methods.own_losses"
TOPK = ("targets.codec=topk", "targets.codec_options={k=3}")


def test_options_move_the_students_and_nothing_before_them(tmp_path):
    out = tmp_path / "out"
    dkd = ("seeds=1", "distil.method=dkd", "distil.hard_weight=1")
    limbeck.run(small(tmp_path, *dkd), out)
    first = weights(out)
    limbeck.run(small(tmp_path, *dkd, "distil.options={others_weight = 2.0}"), out)
    second = weights(out)
    changed = {name for name in first if not equal({"": first[name]}, {"": second[name]})}
    assert changed == {"distil/seed-0/small.safetensors", "students/small/student.safetensors"}


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["distil.options.target=1"], "method soft_targets has no options, got target"),
        (["distil.method=dkd", "distil.options.target_weight=-1"], "target_weight: input should"),
        (["distil.method=dkd", "distil.options=2"], "distil.options: input should be a valid dict"),
    ],
)
def test_a_wrong_option_is_refused_before_anything_is_made(tmp_path, overrides, said):
    with pytest.raises((OptionError, limbeck.LimbeckError), match=said):
        limbeck.run(small(tmp_path, *overrides), tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("own", "said"),
    [
        ("by_class", "must return one value for each row"),
        ("failing", "raised ValueError at own_losses"),
    ],
)
def test_a_loss_of_ones_own_is_asked_before_anything_is_made(tmp_path, own, said):
    with pytest.raises(LossError, match=said):
        limbeck.run(small(tmp_path, f"distil.method={OWN}:{own}"), tmp_path / "o")
    assert not (tmp_path / "o").exists()


def test_a_search_that_begins_with_a_loss_of_ones_own_ends_with_a_recipe(tmp_path):
    pytest.importorskip("optuna")
    own = f"{OWN}:kd"
    recipe = small(tmp_path, "seeds=2", f"distil.method={own}", "distil.options.alpha=0.5")
    found = limbeck.tune(recipe, tmp_path / "out", trials=4)
    first = found.trials[0].candidate
    assert first.method == own
    assert first.put_in(recipe).distil.options == {"alpha": 0.5}
    limbeck.run(load_recipe(str(tmp_path / "out" / "tuned.toml"), ["seeds=1"]), tmp_path / "run")


def test_a_search_begins_anew_by_a_loss_whose_code_changed(tmp_path, monkeypatch):
    pytest.importorskip("optuna")
    recipe = small(tmp_path, "seeds=2", f"distil.method={OWN}:kd")
    limbeck.tune(recipe, tmp_path / "out", trials=1)
    limbeck.tune(recipe, tmp_path / "out", trials=1)
    assert len(list((tmp_path / "out" / "tune").glob("*.json"))) == 1
    monkeypatch.setattr("limbeck.pipeline._tune.method_code", lambda method: ["other"])
    limbeck.tune(recipe, tmp_path / "out", trials=1)
    assert len(list((tmp_path / "out" / "tune").glob("*.json"))) == 2


def test_rows_that_name_too_few_classes_are_refused_before_anything_is_made(tmp_path):
    with pytest.raises(TargetsError, match="method dist needs every class of a row, and codec top"):
        limbeck.run(small(tmp_path, "distil.method=dist", *TOPK), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_codec_that_was_chosen_later_is_refused_before_a_control_is_trained(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(_preflight, "check_rows", lambda *arguments, **options: None)
    monkeypatch.setattr(_preflight, "mean_terms", lambda *arguments: {})
    with pytest.raises(TargetsError, match="codec topk names only some of head label"):
        limbeck.run(small(tmp_path, "distil.method=dist", *TOPK), tmp_path / "out")
    assert not (tmp_path / "out" / "control").exists()


def test_where_labels_are_needed_a_student_sees_what_its_control_sees(tmp_path):
    """Label smoothing of 0 is the control's loss: from the same batches it makes the same model."""
    overrides = [
        "distil.method=label_smoothing",
        "distil.options.smoothing=0",
        "data.labelled=0.2",
        "seeds=1",
    ]
    limbeck.run(small(tmp_path, *overrides), tmp_path / "out")
    made = weights(tmp_path / "out")
    control, student = (made[f"{role}/seed-0/small.safetensors"] for role in ("control", "distil"))
    assert all(float((control[name] - student[name]).abs().max()) < 1e-5 for name in control)


@pytest.mark.parametrize(
    ("method", "labelled_alone"), [("dkd", True), ("label_smoothing", True), ("skew_kl", False)]
)
def test_whom_students_see_is_as_their_method_counts(tmp_path, monkeypatch, method, labelled_alone):
    pools = {}

    def spy(learners, samples, settings, *, order, teach=None, **options):
        pools.setdefault(learners[0].name, []).append(len(order.pool))
        return fit(learners, samples, settings, order=order, teach=teach, **options)

    monkeypatch.setattr(_context, "fit", spy)
    few = ("data.labelled=0.2", "seeds=1", f"distil.method={method}", "distil.hard_weight=0")
    limbeck.run(small(tmp_path, *few), tmp_path / "out")
    control, student = pools["small"]
    assert control == 120
    assert student == (120 if labelled_alone else 600)
