import re

import numpy as np
import pytest
import torch
from torch import nn

from limbeck._errors import ModelError, OptionError, ShapeError
from limbeck.models import MLP, load_weights, save_weights
from limbeck.signals import Head
from limbeck.teachers import Teacher

HEADS = (Head(space="categorical", size=3),)
TWO = (Head(name="kind", space="categorical", size=3), Head(name="price", space="real", size=1))
X = torch.randn(4, 2)


def test_a_torch_teacher_is_frozen_in_eval_mode_and_keeps_no_graph():
    model = MLP(2, [8], 3, dropout=0.5)
    teacher = Teacher(model, HEADS)
    assert not any(module.training for module in model.modules())
    assert not any(parameter.requires_grad for parameter in model.parameters())
    said = teacher.answer(X.clone().requires_grad_())["label"]
    assert not said.requires_grad
    torch.testing.assert_close(said, teacher.answer(X)["label"])
    torch.testing.assert_close(said, model(X))


def test_answers_are_float32():
    for dtype in (torch.float64, torch.bfloat16):
        said = Teacher(nn.Linear(2, 3, dtype=dtype), HEADS).answer(X.to(dtype))
        assert said["label"].dtype == torch.float32


def test_a_callable_takes_and_gives_numpy_arrays():
    def table(x):
        assert isinstance(x, np.ndarray)
        return x @ np.ones((2, 3))

    said = Teacher(table, HEADS).answer(X)["label"]
    assert said.dtype == torch.float32
    torch.testing.assert_close(said, X @ torch.ones(2, 3))


def test_a_teacher_that_raises_at_some_sample_is_named_with_its_inputs():
    def table(x):
        return {0.0: [1.0, 2.0, 3.0]}[float(x[0, 0])]

    with pytest.raises(ModelError) as error:
        Teacher(table, HEADS).answer(torch.ones(4, 2))
    assert re.fullmatch(
        r"the teacher cannot be called with the inputs \(4, 2\) float32: KeyError: 1\.0 at "
        r"test_teachers\.py, line \d+\. Give it a model that takes them\.",
        str(error.value),
    )
    assert isinstance(error.value.__cause__, KeyError)


def test_heads_of_one_name_are_refused_before_anything_is_asked():
    with pytest.raises(OptionError, match=r"called by different names, got kind, price, kind: .*"):
        Teacher(lambda x: x, (*TWO, TWO[0]))


def test_a_callable_takes_keywords_and_gives_a_dict_by_head():
    def table(a, b):
        return {"price": (a + b)[:, :1], "kind": [[1.0, 2.0, 3.0]] * len(a)}

    said = Teacher(table, TWO).answer({"a": X, "b": X})
    torch.testing.assert_close(said["price"], 2 * X[:, :1])
    assert said["kind"].shape == (4, 3)


def test_a_classifier_of_scikit_learn_teaches_by_its_probabilities():
    from sklearn.linear_model import LogisticRegression

    inputs, labels = torch.randn(30, 2), torch.arange(30) % 3
    model = LogisticRegression().fit(inputs.numpy(), labels.numpy())
    said = Teacher(model.predict_proba, HEADS, outputs="probabilities").logits(X)["label"]
    want = torch.from_numpy(model.predict_proba(X.numpy())).float()
    torch.testing.assert_close(torch.softmax(said, -1), want)


def test_logits_of_a_teacher_that_gives_logits_are_its_answers():
    teacher = Teacher(nn.Linear(2, 3), HEADS)
    assert torch.equal(teacher.logits(X)["label"], teacher.answer(X)["label"])


def test_an_answer_that_is_not_finite_is_refused_by_head_and_sample():
    def table(x):
        said = np.zeros((4, 5, 3))
        said[2, 1, 0] = np.nan
        return said

    with pytest.raises(ModelError) as error:
        Teacher(table, HEADS).answer(X)
    assert str(error.value) == (
        "the teacher's answer for head label is not finite at sample 2 of a batch. Look at its "
        "weights and at that input."
    )


def test_a_class_may_have_no_mass_but_not_every_class():
    said = np.zeros((4, 5, 3), dtype=np.float32)
    said[2, 1, :2] = -np.inf
    assert Teacher(lambda x: said, HEADS).answer(X)["label"][2, 1].tolist() == [-np.inf] * 2 + [0]
    for bad in (-np.inf, np.inf):
        said[2, 1, 2] = bad
        with pytest.raises(ModelError, match="not finite at sample 2"):
            Teacher(lambda x: said, HEADS).answer(X)


def test_finite_numbers_of_which_the_sum_is_not_are_no_fault():
    said = np.full((4, 3), 3e38, dtype=np.float32)
    assert torch.isfinite(Teacher(lambda x: said, HEADS).answer(X)["label"]).all()


def test_scores_and_numbers_are_finite():
    said = np.array([[1.0, -np.inf, 0.5]] * 4, dtype=np.float32)
    for head, outputs in ((HEADS[0], "probabilities"), (Head(space="real", size=3), "logits")):
        with pytest.raises(ModelError, match="not finite at sample 0"):
            Teacher(lambda x: said, [head], outputs=outputs).answer(X)


def test_another_number_of_classes_is_refused():
    with pytest.raises(ShapeError, match=r"^the teacher must answer 3 classes for head label, got"):
        Teacher(nn.Linear(2, 4), HEADS).answer(X)


def test_another_number_of_answers_is_refused():
    for inputs in (X, {"x": X}):
        with pytest.raises(ShapeError) as error:
            Teacher(lambda x: np.zeros((1, 3)), HEADS).answer(inputs)
        assert str(error.value) == (
            "the teacher was asked about 4 samples, and gave 1 answers for head label. Its first "
            "axis must be the batch."
        )


@pytest.mark.parametrize("said", [[["a", "b", "c"]] * 4, None])
def test_what_is_no_number_is_refused(said):
    with pytest.raises(ModelError, match=r"^the teacher must give numbers, got an array of "):
        Teacher(lambda x: said, HEADS).answer(X)


def test_what_cannot_be_asked_is_no_teacher():
    with pytest.raises(ModelError) as error:
        Teacher("mlp", HEADS)
    assert str(error.value) == "a teacher is a torch module or a callable, got str."


def test_one_changed_weight_changes_the_fingerprint():
    model = MLP(2, [8], 3)
    teacher = Teacher(model, HEADS)
    before = teacher.fingerprint
    assert len(before) == 16
    assert teacher.fingerprint == before
    model.layers[1].weight.view(-1)[3] += 1e-6
    assert teacher.fingerprint != before


def test_a_changed_running_mean_changes_the_fingerprint():
    model = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
    teacher = Teacher(model, HEADS)
    before = teacher.fingerprint
    model[1].running_mean[0] = 1.0
    assert teacher.fingerprint != before


def test_weights_that_are_saved_and_loaded_have_the_same_fingerprint(tmp_path):
    model, again = MLP(2, [8], 3), MLP(2, [8], 3)
    before = Teacher(model, HEADS).fingerprint
    assert Teacher(again, HEADS).fingerprint != before
    save_weights(model, tmp_path / "weights.safetensors")
    load_weights(again, tmp_path / "weights.safetensors")
    assert Teacher(again, HEADS).fingerprint == before


def test_the_class_and_what_its_answers_are_belong_to_the_fingerprint():
    class Other(nn.Linear):
        pass

    model, other = nn.Linear(2, 3), Other(2, 3)
    other.load_state_dict(model.state_dict())
    marks = {
        Teacher(model, HEADS).fingerprint,
        Teacher(other, HEADS).fingerprint,
        Teacher(model, HEADS, outputs="probabilities").fingerprint,
        Teacher(np.sin, HEADS).fingerprint,
        Teacher(np.cos, HEADS).fingerprint,
    }
    assert len(marks) == 5


def test_a_callable_object_has_the_fingerprint_of_its_class():
    class Table:
        def __call__(self, x):
            return x

    assert Teacher(Table(), HEADS).fingerprint == Teacher(Table(), HEADS).fingerprint
