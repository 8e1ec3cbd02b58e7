"""What several teachers say together, and how each is weighed."""

from dataclasses import replace

import pytest
import torch

from limbeck._errors import OptionError
from limbeck._mixture import WEIGHINGS, check_weighing, mixture, trust_of, weights_of
from limbeck.signals import Batch, Head

BATCH = Batch(inputs=torch.zeros(1, 2), labels={}, index=torch.zeros(1).long())
ALIKE = torch.ones(2)
# Of two teachers and three samples of one row and two classes.
SAID = (
    torch.tensor([[[0.9, 0.1]], [[0.4, 0.6]], [[0.5, 0.5]]]),
    torch.tensor([[[0.2, 0.8]], [[0.3, 0.7]], [[0.5, 0.5]]]),
)
PROBABILITIES = torch.stack(SAID)
TRUST = torch.tensor([[0.9, 0.5], [0.3, 0.7]])


def test_a_mixture_is_of_probabilities():
    weights = torch.tensor([[0.25, 0.75]] * 3)
    mixed = mixture(PROBABILITIES.log(), weights, "categorical").exp()
    torch.testing.assert_close(mixed, 0.25 * SAID[0] + 0.75 * SAID[1])


def test_logits_are_normalised_before_they_are_mixed():
    weights = torch.tensor([[0.5, 0.5]] * 3)
    moved = PROBABILITIES.log() + torch.tensor([5.0, -7.0])[:, None, None, None]
    torch.testing.assert_close(
        mixture(moved, weights, "categorical"),
        mixture(PROBABILITIES.log(), weights, "categorical"),
    )


def test_log_odds_are_mixed_as_probabilities_and_numbers_as_they_are():
    yes = torch.tensor([[[0.9]], [[0.2]]])
    weights = torch.tensor([[0.5, 0.5]])
    mixed = mixture(torch.logit(yes), weights, "binary").sigmoid()
    torch.testing.assert_close(mixed, torch.tensor([[0.55]]))
    numbers = torch.tensor([[[4.0]], [[-2.0]]])
    assert mixture(numbers, weights, "real").tolist() == [[1.0]]


def test_a_teacher_of_weight_0_is_not_heard():
    weights = torch.tensor([[1.0, 0.0]] * 3)
    torch.testing.assert_close(mixture(PROBABILITIES.log(), weights, "categorical").exp(), SAID[0])


@pytest.mark.parametrize(
    ("how", "expected"),
    [
        ("mean", [[1, 1], [1, 1], [1, 1]]),
        ("agreement", [[1, 1], [1, 1], [1, 1]]),  # of the teachers alone
        ("confidence", [[0.9, 0.8], [0.6, 0.7], [0.5, 0.5]]),
        ("most_confident", [[1, 0], [0, 1], [1, 0]]),
        # Together they see classes at .55, .45; at .35, .65; at .5, .5.
        (
            "by_class",
            [
                [0.55 * 0.9 + 0.45 * 0.5, 0.55 * 0.3 + 0.45 * 0.7],
                [0.35 * 0.9 + 0.65 * 0.5, 0.35 * 0.3 + 0.65 * 0.7],
                [0.7, 0.5],
            ],
        ),
    ],
)
def test_weights_are_as_the_docs_say_and_sum_to_1(how, expected):
    wanted = torch.tensor(expected, dtype=torch.float32)
    found = weights_of(how, PROBABILITIES, ALIKE, TRUST)
    torch.testing.assert_close(found, wanted / wanted.sum(-1, keepdim=True))


def test_every_way_is_in_that_test():
    assert list(WEIGHINGS) == ["mean", "confidence", "most_confident", "by_class", "agreement"]


@pytest.mark.parametrize("how", WEIGHINGS)
def test_weights_of_the_recipe_multiply(how):
    prior = torch.tensor([3.0, 1.0])
    plain = weights_of(how, PROBABILITIES, ALIKE, TRUST) * prior
    torch.testing.assert_close(
        weights_of(how, PROBABILITIES, prior, TRUST), plain / plain.sum(-1, keepdim=True)
    )


def test_the_rows_of_a_sample_are_weighed_together():
    rows = torch.stack([torch.tensor([[[0.9, 0.1], [0.4, 0.6]]]), torch.full((1, 2, 2), 0.5)])
    found = weights_of("confidence", rows, ALIKE, TRUST)
    torch.testing.assert_close(found, torch.tensor([[0.75, 0.5]]) / 1.25)


def test_trust_is_what_was_right_of_each_class_with_one_right_and_one_wrong_added():
    rows = torch.tensor([[1.0, 0, 0], [1.0, 0, 0], [0, 1.0, 0], [1.0, 0, 0]])
    trust = trust_of(rows, torch.tensor([0, 0, 1, 1]))
    torch.testing.assert_close(trust, torch.tensor([3 / 4, 2 / 4, 1 / 2]))


def test_a_way_that_there_is_not_or_not_for_this_head_is_refused():
    classes, numbers = Head(space="categorical", size=2), Head(space="real", size=1)
    tags = Head(space="binary", size=2)
    check_weighing("by_class", classes, BATCH)
    check_weighing("mean", numbers, BATCH)
    with pytest.raises(OptionError, match=r"ensemble\.how must be one of mean, confidence, most_c"):
        check_weighing("median", classes, BATCH)
    with pytest.raises(OptionError, match='"by_class" is for categorical heads, and head label is'):
        check_weighing("by_class", numbers, BATCH)
    with pytest.raises(OptionError, match=r"is for categorical heads, and head label is binary\."):
        check_weighing("confidence", tags, BATCH)


def test_rows_of_padding_are_not_weighed_by():
    classes = Head(space="categorical", size=2)
    padded = replace(BATCH, mask=torch.tensor([[True, False]]))
    check_weighing("mean", classes, padded)
    for name in ("confidence", "most_confident", "by_class"):
        with pytest.raises(OptionError, match="some of these are padding"):
            check_weighing(name, classes, padded)
