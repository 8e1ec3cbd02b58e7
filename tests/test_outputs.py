import re
from collections import OrderedDict
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from limbeck._errors import ModelError, ShapeError
from limbeck._outputs import as_logits, call, calling, check_outputs, read_outputs
from limbeck.signals import Head
from limbeck.teachers import Teacher

ONE = (Head(space="categorical", size=3),)
TWO = (Head(name="kind", space="categorical", size=3), Head(name="price", space="real", size=1))
ROWS = torch.randn(2, 3)
PRICE = torch.randn(2, 1)


@pytest.mark.parametrize(
    "output",
    [
        ROWS,
        (ROWS,),
        [ROWS, "hidden states"],
        {"label": ROWS},
        {"logits": ROWS, "loss": None},
        OrderedDict(logits=ROWS),
        SimpleNamespace(logits=ROWS),
    ],
    ids=["tensor", "tuple", "list", "by head", "logits", "ordered", "object"],
)
def test_one_heads_rows_are_found_in_whatever_a_model_returns(output):
    assert read_outputs(output, ONE, who="student")["label"] is ROWS


def test_a_transformers_output_is_understood():
    from transformers.modeling_outputs import SequenceClassifierOutput

    output = SequenceClassifierOutput(logits=ROWS)
    assert read_outputs(output, ONE, who="student")["label"] is ROWS


@pytest.mark.parametrize(
    "output", [(ROWS, PRICE), [ROWS, PRICE, None], {"price": PRICE, "kind": ROWS, "more": 1}]
)
def test_several_heads_come_in_order_or_by_name(output):
    answers = read_outputs(output, TWO, who="student")
    assert answers["kind"] is ROWS
    assert answers["price"] is PRICE


def test_many_rows_of_a_sample_are_rows():
    rows = torch.randn(2, 7, 3)
    assert read_outputs(rows, ONE, who="student")["label"] is rows


def test_one_number_a_sample_needs_no_second_axis():
    heads = (Head(name="price", space="real", size=1),)
    assert read_outputs(torch.zeros(4), heads, who="student")["price"].shape == (4, 1)


@pytest.mark.parametrize(
    ("tokens", "logits"), [(151_665, 152_064), (151_665, 151_936), (2000, 2048)]
)
def test_logits_that_round_a_vocabulary_up_are_left_out(tokens, logits):
    head = Head(space="categorical", size=tokens)
    rows = torch.arange(2.0 * logits).reshape(1, 2, logits)
    assert read_outputs(rows, [head], who="teacher")["label"].equal(rows[..., :tokens])


def test_logits_beyond_a_vocabulary_that_hold_mass_are_a_mistake():
    head, rows = Head(space="categorical", size=2000), torch.zeros(2, 3, 2048)
    rows[..., 2000:] = -20.0  # as someone trained says of what stands for no token
    for looked in (rows, torch.zeros(2, 3, 2048)):  # or someone untrained
        kept = read_outputs(looked, [head], who="teacher", look=True)["label"]
        assert kept.equal(looked[..., :2000])
    rows[..., 2040] = 6.0
    with pytest.raises(ShapeError, match=r"answers 2048 classes .* has 2000, .* 16\.\d% of the"):
        read_outputs(rows, [head], who="teacher", look=True)
    with pytest.raises(ShapeError, match="no rounding up"):
        Teacher(lambda x: rows.numpy(), [head]).answer(torch.zeros(2, 3))


@pytest.mark.parametrize(
    ("size", "shape"),
    [
        (1000, (2, 1001)),  # a class of nothing, which may be the first one
        (1024, (2, 3, 1025)),
        (1000, (2, 3, 1008)),  # no vocabulary
        (1024, (2, 3, 1536)),
    ],
)
def test_other_classes_too_many_are_a_mistake(size, shape):
    with pytest.raises(ShapeError, match=rf"must answer {size} classes for head label, got"):
        read_outputs(torch.zeros(shape), [Head(space="categorical", size=size)], who="teacher")


@pytest.mark.parametrize(
    ("output", "heads", "message"),
    [
        (
            None,
            ONE,
            "the teacher gave no tensor for head label: it returned NoneType. Return a dict with "
            'the key "label", a tensor, or an output with "logits".',
        ),
        (
            {"scores": ROWS, "loss": None},
            ONE,
            "the teacher gave no tensor for head label: it returned dict with the keys "
            "['loss', 'scores']. Return a dict with the key \"label\", a tensor, or an output "
            'with "logits".',
        ),
        (
            (ROWS,),
            TWO,
            "the teacher gave no tensor for head price: it returned tuple. Return a dict with "
            'the key "price", or a tuple of tensors.',
        ),
        (
            ROWS,
            TWO,
            "the teacher gave no tensor for head kind: it returned Tensor. Return a dict with "
            'the key "kind", or a tuple of tensors.',
        ),
        (
            {"logits": ROWS, "kind": ROWS},
            TWO,
            "the teacher gave no tensor for head price: it returned dict with the keys "
            "['kind', 'logits']. Return a dict with the key \"price\", or a tuple of tensors.",
        ),
        (
            SimpleNamespace(logits=ROWS),
            TWO,
            "the teacher gave no tensor for head kind: it returned SimpleNamespace. Return a "
            'dict with the key "kind", or a tuple of tensors.',
        ),
    ],
)
def test_a_head_without_an_answer_is_refused(output, heads, message):
    with pytest.raises(ModelError) as error:
        read_outputs(output, heads, who="teacher")
    assert str(error.value) == message


@pytest.mark.parametrize(
    ("head", "shape", "what", "meant"),
    [
        (ONE[0], (2, 4), "3 classes for head label", ""),
        (ONE[0], (3,), "3 classes for head label", ""),
        (
            TWO[1],
            (2, 2),
            "1 numbers for head price",
            " Labels that are not whole numbers make it a regression: if they are classes, give "
            "integers.",
        ),
    ],
)
def test_an_answer_of_another_size_is_refused(head, shape, what, meant):
    with pytest.raises(ShapeError) as error:
        read_outputs(torch.zeros(shape), (head,), who="student")
    assert str(error.value) == (
        f"the student must answer {what}, got an answer of shape {shape}. Give it an output layer "
        "of that size, or the data's own class list." + meant
    )


@pytest.mark.parametrize("dtype", [torch.int64, torch.bool])
def test_answers_in_whole_numbers_are_refused(dtype):
    with pytest.raises(ModelError) as error:
        read_outputs(torch.zeros((2, 3), dtype=dtype), ONE, who="student a")
    assert str(error.value) == (
        "the student a must answer with floating point numbers for head label, got "
        f"{str(dtype).removeprefix('torch.')}. Return its scores, not the classes that it chose, "
        "or convert them."
    )


@pytest.mark.parametrize(
    ("raised", "said"),
    [
        (ValueError("no such shape.\nand more"), "no such shape."),
        (AttributeError("no attribute shape"), "AttributeError: no attribute shape."),
        (KeyError("mask"), "KeyError: 'mask'."),
        (AssertionError(), "AssertionError: no words."),
    ],
)
def test_whatever_a_model_raises_is_told_with_its_name(raised, said):
    with pytest.raises(ModelError) as error, calling("student a", torch.zeros(4, 2)):
        raise raised
    said = re.escape(said.removesuffix("."))
    assert re.fullmatch(
        rf"student a cannot be called with the inputs \(4, 2\) float32: {said} at "
        r"test_outputs\.py, line \d+\. Give it a model that takes them\.",
        str(error.value),
    )
    assert error.value.__cause__ is raised


def test_logits_stay_as_they_are():
    answers = {"label": ROWS}
    assert as_logits(answers, ONE, "logits") is answers


def test_the_logarithms_of_probabilities_are_logits():
    said = torch.softmax(ROWS, -1)
    found = as_logits({"label": said}, ONE, "probabilities")["label"]
    torch.testing.assert_close(torch.softmax(found, -1), said)


def test_a_probability_of_0_has_a_finite_logit_and_no_mass():
    found = as_logits({"label": torch.tensor([[1.0, 0.0, 0.0]])}, ONE, "probabilities")["label"]
    assert bool(torch.isfinite(found).all())
    torch.testing.assert_close(torch.softmax(found, -1), torch.tensor([[1.0, 0.0, 0.0]]))


def test_the_log_odds_of_yes_or_no_probabilities_are_logits():
    heads = (Head(name="tags", space="binary", size=3),)
    said = torch.tensor([[0.25, 0.5, 0.0]])
    found = as_logits({"tags": said}, heads, "probabilities")["tags"]
    torch.testing.assert_close(torch.sigmoid(found), said, rtol=0, atol=1e-5)
    assert bool(torch.isfinite(found).all())


def test_numbers_are_no_probabilities():
    answers = {"kind": torch.softmax(ROWS, -1), "price": PRICE}
    assert as_logits(answers, TWO, "probabilities")["price"] is PRICE


def test_a_model_is_called_with_a_tensor_or_with_keywords():
    class Sum(nn.Module):
        def forward(self, a, b=2.0):
            return a + b

    assert call(Sum(), torch.zeros(1)).tolist() == [2.0]
    assert call(Sum(), {"b": torch.ones(1), "a": torch.ones(1)}).tolist() == [2.0]


def test_a_keras_model_is_told_whether_it_is_in_training():
    import keras

    model = keras.Sequential([keras.layers.Input((50,)), keras.layers.Dropout(0.5)])
    x = torch.ones(4, 50)
    assert float((call(model.train(), x) == 0).float().mean()) > 0.2
    assert torch.equal(call(model.eval(), x), x)


TAGS = Head(name="tags", space="binary", size=4)


def test_probabilities_where_logits_were_announced_are_refused():
    with pytest.raises(ModelError, match=r"student a must give logits for head label, .*take the"):
        check_outputs(torch.randn(8, 3).softmax(-1), ONE[0], "logits", who="student a")
    with pytest.raises(ModelError, match=r"head tags, got what look like .* within 0\.\.1"):
        check_outputs(torch.rand(20, 4), TAGS, "logits", who="the teacher")


def test_logits_where_probabilities_were_announced_are_refused():
    with pytest.raises(ModelError, match=r'for head label, got -1\. .*outputs = "logits"'):
        check_outputs(torch.tensor([[2.0, -1.0, 0.0]]), ONE[0], "probabilities", who="the teacher")


def test_what_is_announced_passes():
    one_row_is_no_distribution = torch.tensor([[0.5, 0.5, 0.0], [0.5, 0.5, 0.5]])
    check_outputs(one_row_is_no_distribution, ONE[0], "logits", who="student")
    check_outputs(torch.randn(20, 4), TAGS, "logits", who="student")
    check_outputs(torch.rand(3, 4), TAGS, "logits", who="student")  # too few to tell
    check_outputs(torch.tensor([[0.2, 3.0, 0.0]]), ONE[0], "probabilities", who="student")
    price = Head(name="price", space="real", size=1)
    for outputs in ("logits", "probabilities"):
        check_outputs(torch.tensor([[-1.0]]), price, outputs, who="student")
        check_outputs(torch.ones(1, 1), price, outputs, who="student")
