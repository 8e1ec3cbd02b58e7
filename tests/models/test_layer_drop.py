"""A shallower student begins with some of its teacher's layers, evenly spread."""

import pytest
import torch
from torch import nn
from transformers import BertConfig, BertForSequenceClassification

from limbeck._errors import ModelError
from limbeck.models import CNN, MLP
from limbeck.models._layer_drop import layer_drop, spread


def bert(layers: int, hidden: int = 8) -> nn.Module:
    return BertForSequenceClassification(
        BertConfig(
            hidden_size=hidden,
            num_hidden_layers=layers,
            num_attention_heads=2,
            intermediate_size=12,
            vocab_size=20,
            max_position_embeddings=10,
            num_labels=3,
        )
    ).eval()


def test_distilberts_layers_of_bert():
    """As the authors' scripts/extract_distilbert.py has them."""
    assert spread(6, 12) == [0, 2, 4, 7, 9, 11]


@pytest.mark.parametrize(
    ("count", "among", "expected"),
    [(1, 5, [0]), (2, 5, [0, 4]), (3, 5, [0, 2, 4]), (5, 5, [0, 1, 2, 3, 4])],
)
def test_layers_are_spread_from_the_first_to_the_last(count, among, expected):
    assert spread(count, among) == expected


def test_a_transformer_takes_every_other_block_and_all_that_is_no_block():
    student, teacher = bert(2), bert(4)
    taken = layer_drop(student, teacher)
    theirs = teacher.state_dict()
    assert taken.state.keys() == student.state_dict().keys()
    for name, tensor in taken.state.items():
        there = name.replace("layer.1.", "layer.3.")
        assert torch.equal(tensor, theirs[there]), name
    assert taken.words == ["bert.encoder.layer: 0, 3 of 0, 1, 2, 3"]


def test_a_student_of_all_layers_says_what_its_teacher_says():
    student, teacher = bert(3), bert(3)
    taken = layer_drop(student, teacher)
    student.load_state_dict(taken.state)
    ids = torch.arange(10).reshape(2, 5)
    assert torch.equal(student(input_ids=ids).logits, teacher(input_ids=ids).logits)
    assert taken.words == []


def test_a_perceptron_keeps_its_first_and_last_layer():
    student, teacher = MLP(6, [4, 4], 3), MLP(6, [4, 4, 4, 4], 3)
    taken, theirs = layer_drop(student, teacher), teacher.state_dict()
    # Five linear layers, 1, 3, 5, 7 and 9 of the sequence; of these three.
    for own, there in {1: 1, 3: 5, 5: 9}.items():
        for part in ("weight", "bias"):
            assert torch.equal(
                taken.state[f"layers.{own}.{part}"], theirs[f"layers.{there}.{part}"]
            )
    assert taken.words == ["layers: 1, 5, 9 of 1, 3, 5, 7, 9"]  # what has no weights is not told


def test_convolutions_and_normalisations_are_told_apart():
    student, teacher = CNN(3, [3, 3], 5), CNN(3, [3, 3, 3], 5)
    taken, theirs = layer_drop(student, teacher), teacher.state_dict()
    assert torch.equal(taken.state["features.4.weight"], theirs["features.8.weight"])
    assert torch.equal(taken.state["features.5.running_var"], theirs["features.9.running_var"])


def test_the_student_is_not_changed():
    student = MLP(6, [4], 3)
    before = {name: tensor.clone() for name, tensor in student.state_dict().items()}
    layer_drop(student, MLP(6, [4, 4], 3))
    assert all(torch.equal(before[name], part) for name, part in student.state_dict().items())


@pytest.mark.parametrize(
    ("student", "teacher", "said"),
    [
        (
            MLP(6, [5], 3),
            MLP(6, [4, 4], 3),
            r"its layers\.1\.weight is \(5, 6\), and the teacher's layers\.1\.weight is \(4, 6\)",
        ),
        (
            MLP(6, [4] * 2, 3),
            MLP(6, [4], 3),
            r"layers\.5 is one of 3 layers Linear in layers, and the teacher has 2 in layers",
        ),
        (bert(1, hidden=4), bert(2), r"word_embeddings\.weight is \(20, 4\), and the teacher's"),
        (
            MLP(6, [4], 3),
            CNN(6, [4], 3),
            r"layers\.1\.weight has no counterpart there: the teacher",
        ),
    ],
)
def test_the_first_misfit_is_named(student, teacher, said):
    with pytest.raises(ModelError, match=said):
        layer_drop(student, teacher)
