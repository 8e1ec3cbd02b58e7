"""A constant answer's score, and the warning of a teacher that knows no more."""

import pytest
import torch
from torch import Tensor

from limbeck._chance import chance_warnings, constant_score
from limbeck.data import ArraySamples, DataSet
from limbeck.metrics import METRICS
from limbeck.signals import Head
from limbeck.tasks import Task

LABELS = torch.tensor([0] * 60 + [1] * 40)


def task_of(head: Head, labels: Tensor, metric: str) -> Task:
    inputs = torch.arange(len(labels)).float()[:, None]
    split, test = (ArraySamples(inputs + moved, {"label": labels}) for moved in (0, 0.5))
    data = DataSet(train=split, validation=split, test=test, heads=(head,))
    return Task(data=data, metric=METRICS[metric])


CLASSES = task_of(Head(space="categorical", size=2), LABELS, "accuracy")


def test_the_constant_answer_is_the_commonest_class():
    assert constant_score(CLASSES.data, METRICS["accuracy"]) == pytest.approx(0.6)


def test_the_constant_answer_has_the_entropy_of_the_classes():
    share = torch.tensor([0.6, 0.4]).double()
    expected = float(-(share * share.log()).sum())
    assert constant_score(CLASSES.data, METRICS["cross_entropy"]) == pytest.approx(expected)


def test_the_constant_answer_to_numbers_is_their_mean():
    numbers = torch.tensor([[1.0], [3.0], [8.0]])
    task = task_of(Head(space="real", size=1), numbers, "rmse")
    assert constant_score(task.data, METRICS["rmse"]) == pytest.approx(
        float(numbers.std(correction=0))
    )


def test_the_constant_answer_to_yes_or_no_is_what_most_say():
    answers = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 0.0]])
    task = task_of(Head(space="binary", size=2), answers, "exact_match")
    assert constant_score(task.data, METRICS["exact_match"]) == pytest.approx(2 / 3)


# Two standard errors of a share of 0.6 in 100 samples are 0.098.
@pytest.mark.parametrize("score", [0.3, 0.6, 0.69])
def test_a_teacher_at_chance_level_is_warned_of(score):
    [warning] = chance_warnings(CLASSES, score)
    assert f"validation accuracy {score:.4g}, which is not clearly better than 0.6, the" in warning


def test_a_teacher_above_chance_by_more_than_its_error_is_not():
    assert chance_warnings(CLASSES, 0.71) == []


def test_a_regressor_no_better_than_the_mean_is_warned_of():
    numbers = torch.tensor([[1.0], [3.0], [8.0]])
    task = task_of(Head(space="real", size=1), numbers, "rmse")
    [warning] = chance_warnings(task, 3.0)
    assert "at chance level: validation rmse 3, which is not clearly better than 2.944" in warning
    assert chance_warnings(task, 2.9) == []
