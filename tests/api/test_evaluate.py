"""A model is measured."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from limbeck import Teacher, evaluate
from limbeck._errors import (
    DataError,
    LimbeckError,
    ModelError,
    OptionError,
)
from tests.api.problem import (
    KIND,
    PRICE,
    PRICES,
    SAME,
    TwoHeads,
    Watched,
    accuracy,
    data_set,
    split,
)
from tests.train.problem import INPUTS, LABEL, LABELS, model


def test_a_model_is_scored_by_its_accuracy_or_the_metric_that_is_named(teacher, logits):
    right = (logits.argmax(-1) == LABELS).double().mean()
    found = evaluate(teacher, (INPUTS, LABELS))
    assert (found.metric, found.score) == ("accuracy", float(right))
    named = evaluate(teacher, (INPUTS, LABELS), metric="cross_entropy")
    assert named.metric == "cross_entropy"
    assert named.score == pytest.approx(float(F.cross_entropy(logits, LABELS)), rel=1e-6)


@pytest.mark.parametrize("form", [name for name in SAME if name != "a data set"])
def test_data_in_any_form_give_the_same_score(form, teacher, logits):
    right = (logits.argmax(-1) == LABELS).double().mean()
    assert evaluate(teacher, SAME[form]()).score == float(right)


def test_of_a_data_set_the_test_samples_are_read_and_no_others(teacher, logits):
    wrong = (logits.argmax(-1) + 1) % 3
    test = split(logits.argmax(-1)[:9], INPUTS[:9])
    watched = [Watched(INPUTS, {"label": wrong}) for _ in range(2)]
    data = data_set(watched[0], validation=watched[1], test=test)
    assert evaluate(teacher, data, teacher=teacher).score == 1.0
    assert [samples.asked for samples in watched] == [[], []]


def test_parameters_bytes_and_flops_are_told(teacher):
    cost = evaluate(teacher, (INPUTS, LABELS)).cost
    numbers = 4 * 16 + 16 + 16 * 3 + 3
    assert (cost.parameters, cost.bytes) == (numbers, 4 * numbers)
    assert cost.flops_per_example == 2 * (4 * 16 + 16 * 3)


def nearness_by_hand(student, teacher):
    """Agreement, and KL(teacher || student)."""
    ours, theirs = student.double().log_softmax(-1), teacher.double().log_softmax(-1)
    agreed = (ours.argmax(-1) == theirs.argmax(-1)).double().mean()
    return float(agreed), float((theirs.exp() * (theirs - ours)).sum(-1).mean())


@pytest.mark.parametrize("kind", ["module", "callable", "probabilities", "Teacher", "probable"])
def test_nearness_is_that_to_the_teacher_whatever_it_is(kind, logits):
    given = {
        "module": (model(seed=1), {}),
        "callable": (lambda inputs: logits.numpy(), {}),
        "probabilities": (
            nn.Sequential(model(seed=1), nn.Softmax(-1)),
            {"teacher_outputs": "probabilities"},
        ),
        "Teacher": (Teacher(model(seed=1), [LABEL]), {}),
        "probable": (
            Teacher(lambda x: logits.softmax(-1).numpy(), [LABEL], outputs="probabilities"),
            {},
        ),
    }
    asked, options = given[kind]
    student = model()
    found = evaluate(student, (INPUTS, LABELS), teacher=asked, **options).nearness
    with torch.no_grad():
        agreed, kl = nearness_by_hand(student(INPUTS), logits)
    assert found.agreement == agreed
    assert found.kl == pytest.approx(kl, rel=1e-4)


def test_without_a_teacher_there_is_no_nearness(teacher):
    assert evaluate(teacher, (INPUTS, LABELS)).nearness is None


def test_a_model_of_probabilities_is_measured_as_one_of_logits(teacher):
    plain, probable = model(), nn.Sequential(model(), nn.Softmax(-1))
    want = evaluate(plain, (INPUTS, LABELS), teacher=teacher)
    found = evaluate(probable, (INPUTS, LABELS), teacher=teacher, outputs="probabilities")
    assert found.score == want.score
    assert found.calibration_error == pytest.approx(want.calibration_error, rel=1e-5)
    assert found.nearness.kl == pytest.approx(want.nearness.kl, rel=1e-4)


def test_samples_that_lack_the_last_classes_are_measured_with_the_heads_or_the_teachers(teacher):
    first = LABELS < 2
    data = (INPUTS[first], LABELS[first])
    want = accuracy(model(), first)
    assert evaluate(model(), data, heads=[LABEL]).score == want
    assert evaluate(model(), data, teacher=Teacher(teacher, [LABEL])).score == want
    with pytest.raises(LimbeckError, match="must answer 2 classes"):
        evaluate(model(), data)


def test_heads_that_are_given_come_before_the_teachers(teacher):
    known = Teacher(lambda x: {"label": x[:, :3], "price": x[:, :1]}, [PRICE, LABEL])
    assert evaluate(model(), (INPUTS, LABELS), teacher=known, heads=[LABEL]).metric == "accuracy"


def test_the_first_head_is_scored():
    two, labels = TwoHeads(), {"kind": LABELS, "price": PRICES}
    with torch.no_grad():
        said = two(INPUTS)
    right = (said["kind"].argmax(-1) == LABELS).double().mean()
    assert evaluate(two, (INPUTS, labels)).score == float(right)
    found = evaluate(two, (INPUTS, labels), heads=[PRICE, KIND])
    assert found.metric == "rmse"
    assert found.score == pytest.approx(float(F.mse_loss(said["price"], PRICES).sqrt()), rel=1e-5)
    assert found.calibration_error is None


def test_measuring_changes_nothing_but_the_mode():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.Linear(8, 3))
    F.cross_entropy(network(INPUTS), LABELS).backward()
    before = {name: part.clone() for name, part in network.state_dict().items()}
    gradients = [weight.grad.clone() for weight in network.parameters()]
    scores = [evaluate(network.train(), (INPUTS, LABELS)).score for _ in range(2)]
    assert scores[0] == scores[1]
    assert not any(part.training for part in network.modules())
    assert all(torch.equal(part, before[name]) for name, part in network.state_dict().items())
    for weight, gradient in zip(network.parameters(), gradients, strict=True):
        assert weight.requires_grad
        assert torch.equal(weight.grad, gradient)


@pytest.mark.parametrize(
    ("data", "options", "kind", "said"),
    [
        (INPUTS, {}, OptionError, "these samples have no labels, which would tell"),
        ((INPUTS, LABELS), {"metric": "rmse"}, OptionError, "metric rmse is for real labels"),
        ((INPUTS, LABELS), {"metric": "acuracy"}, OptionError, "Did you mean accuracy"),
        ((INPUTS, LABELS), {"teacher": "mlp"}, ModelError, "a teacher is a torch module or"),
        ((INPUTS, LABELS + 1), {"heads": [LABEL]}, DataError, r"must be 0\.\.2 .* got 3"),
    ],
)
def test_what_cannot_be_measured_is_refused(data, options, kind, said):
    with pytest.raises(kind, match=said):
        evaluate(model(), data, **options)


def test_evaluate_leaves_the_teachers_module_as_it_was():
    teacher = model(dropout=0.5).train()
    teacher[0].requires_grad_(False)
    evaluate(model(), (INPUTS, LABELS), teacher=teacher)
    assert teacher.training
    assert [part.requires_grad for part in teacher.parameters()] == [False, False, True, True]


def test_probabilities_read_as_logits_are_not_measured():
    probable = nn.Sequential(model(), nn.Softmax(-1))
    with pytest.raises(ModelError, match="the model must give logits for head label"):
        evaluate(probable, (INPUTS, LABELS))
