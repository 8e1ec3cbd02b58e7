"""What all of the pieces keep to."""

import inspect

import numpy as np
import pytest
import torch

from limbeck import capture, distil, evaluate, supervise
from limbeck._errors import (
    DataError,
    OptionError,
)
from limbeck.signals import Head
from tests.api.problem import (
    data_set,
)
from tests.train.problem import INPUTS, LABELS, model, settings


def test_the_callers_random_numbers_are_left_alone(teacher, targets, tmp_path):
    student = model(dropout=0.5)
    calls = {
        "capture": lambda: capture(teacher, (INPUTS, LABELS), tmp_path / "again"),
        "distil": lambda: distil(student, data_set(), targets, settings()),
        "supervise": lambda: supervise(student, data_set(), settings()),
        "evaluate": lambda: evaluate(student, data_set(), teacher=teacher),
    }
    for name, call in calls.items():
        torch.manual_seed(3)
        np.random.seed(3)
        expected = torch.rand(2), np.random.random()
        torch.manual_seed(3)
        np.random.seed(3)
        call()
        assert torch.equal(torch.rand(2), expected[0]), name
        assert np.random.random() == expected[1], name


@pytest.mark.parametrize("function", [capture, distil, supervise, evaluate])
def test_every_option_is_described(function):
    described = inspect.getdoc(function)
    assert described is not None
    for name in inspect.signature(function).parameters:
        assert f"\n    {name}: " in described, name


def test_labels_of_another_name_than_the_heads_are_refused(targets):
    other = Head(name="kind", space="categorical", size=3)
    for call in (supervise, evaluate):
        with pytest.raises(DataError, match=r"no labels for head kind, .* It has label\."):
            call(model(), (INPUTS, LABELS), heads=[other])


@pytest.mark.parametrize("call", ["supervise", "distil", "capture", "evaluate"])
def test_outputs_are_logits_or_probabilities_alone(call, targets, tmp_path):
    calls = {
        "supervise": lambda: supervise(model(), (INPUTS, LABELS), outputs="probs"),
        "distil": lambda: distil(model(), INPUTS, targets, outputs="probs"),
        "capture": lambda: capture(model(), (INPUTS, LABELS), tmp_path, outputs="probs"),
        "evaluate": lambda: evaluate(model(), (INPUTS, LABELS), outputs="probs"),
    }
    with pytest.raises(OptionError, match=r"outputs must be one of logits, probabilities, got"):
        calls[call]()
