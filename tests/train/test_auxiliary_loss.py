"""What a model adds to its loss itself, in the dict that it returns."""

import pytest
import torch
from torch import nn

from limbeck._errors import ModelError
from limbeck._outputs import auxiliary_loss
from tests.train.problem import furthest, model, train
from tests.train.test_fit import by_hand, cross_entropy

STRENGTH = 0.5


class Adds(nn.Module):
    """A model that would have its answers small."""

    def __init__(self, each: bool = False, strength: float = STRENGTH) -> None:
        super().__init__()
        self.inner, self.each, self.strength = model(), each, strength

    def forward(self, x):
        logits = self.inner(x)
        if not self.training:
            return logits
        added = self.strength * logits.square().sum(-1)
        return {"logits": logits, "auxiliary_loss": added if self.each else added.mean()}


def loss_by_hand(logits, index):
    return cross_entropy(logits, index) + STRENGTH * logits.square().sum(-1).mean()


def expected():
    theirs = model()
    by_hand(theirs, loss_by_hand, torch.optim.SGD(theirs.parameters(), lr=0.1))
    return theirs


@pytest.mark.parametrize("each", [False, True])
@pytest.mark.parametrize("accumulate", [1, 3])
def test_it_is_learned_beside_the_objective(each, accumulate):
    ours = Adds(each)
    train(ours, accumulate=accumulate)
    assert furthest(ours.inner, expected()) < 1e-5
    plain = model()
    train(plain)
    assert furthest(plain, ours.inner) > 1e-3


def test_it_is_in_the_history():
    silent, loud = Adds(strength=0.0), Adds()
    before = train(silent).histories["student"]
    after = train(loud).histories["student"]
    assert before.terms["auxiliary"] == [0.0] * 3
    assert all(loss > 0 for loss in after.terms["auxiliary"])
    hard, added = after.terms["hard"][0], after.terms["auxiliary"][0]
    assert after.loss[0] == pytest.approx(hard + added)
    assert "auxiliary" not in train(model()).histories["student"].terms


def test_a_model_that_adds_nothing_returns_no_such_key():
    assert auxiliary_loss(torch.zeros(2, 3), who="student") is None
    assert auxiliary_loss({"logits": torch.zeros(2, 3)}, who="student") is None


@pytest.mark.parametrize(
    ("added", "got"),
    [
        (1.0, "float"),
        (torch.tensor(1), r"a tensor \(\) int64"),
        (torch.zeros(2, 3), r"a tensor \(2, 3\) float32"),
    ],
)
def test_what_is_no_loss_is_refused(added, got):
    with pytest.raises(ModelError, match=f"auxiliary_loss of student must be .*, got {got}"):
        auxiliary_loss({"auxiliary_loss": added}, who="student")
