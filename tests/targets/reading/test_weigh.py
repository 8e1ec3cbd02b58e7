"""Transfer sets are weighed by what they hold."""

from types import SimpleNamespace

import pytest
import torch

from limbeck._errors import OptionError
from limbeck._mixture import WEIGHINGS, weights_of
from limbeck.signals import Dense, Head, Sparse
from limbeck.targets import Ensemble, capture, weigh
from limbeck.targets.reading import _weigh
from limbeck.teachers import Teacher

CLASSES = 4


@pytest.fixture
def teachers(make):
    def of(number):
        asked = make.asked(lambda x: (number + 1) * make.logits(x * (number + 1)))
        return Teacher(asked, [make.label])

    return [of(0), of(1)]


@pytest.fixture
def captured(teachers, samples, tmp_path):
    def of(number, among=samples, **settings):
        folder = tmp_path / f"{number}"
        return capture(teachers[number], among, folder, batch_size=16, **settings)

    return of


@pytest.mark.parametrize("how", WEIGHINGS)
def test_weights_are_those_of_the_teachers_answers_at_temperature_1(
    captured, teachers, make, samples, monkeypatch, how
):
    monkeypatch.setattr(_weigh, "_BLOCK", 7)
    backwards = samples.subset(torch.arange(len(samples)).flip(0))
    members = [captured(k, of, temperature=4.0) for k, of in enumerate((samples, backwards))]
    prior, trust = torch.tensor([1.0, 2.0]), torch.rand(2, make.label.size)
    inputs = samples.fetch(torch.arange(len(samples))).inputs
    live = torch.stack([one.logits(inputs)["label"] for one in teachers]).softmax(-1)
    wanted = weights_of(how, live[:, :, None], prior, trust)
    found = weigh(members, samples, how, prior, trust)
    torch.testing.assert_close(found, wanted, rtol=2e-2, atol=2e-3)
    Ensemble(members, weights=found, samples=samples)


def test_of_a_sparse_row_the_first_choice_counts(captured, make, samples):
    members = [captured(0, codec="topk", codec_options={"k": 2}), captured(1)]
    trust = torch.ones(2, make.label.size)
    found = weigh(members, samples, "confidence", torch.ones(2), trust)
    read = [member.read(member.positions(samples.keys))["label"] for member in members]
    sure = torch.stack(
        [read[0].probabilities.float().amax(-1), read[1].logits.float().softmax(-1).amax(-1)], -1
    )
    torch.testing.assert_close(found, sure / sure.sum(-1, keepdim=True), rtol=1e-3, atol=1e-4)


def told(rows, *others, space="categorical"):
    """A transfer set of these rows of one head, and of others of further heads."""
    heads = [
        Head(name=f"number {place}", space=space, size=CLASSES) for place in range(1 + len(others))
    ]
    said = {head.name: each for head, each in zip(heads, (rows, *others), strict=True)}
    return SimpleNamespace(
        heads=heads,
        positions=lambda keys: torch.arange(len(keys)),
        read=lambda at: {name: each.select(at) for name, each in said.items()},
    )


def sure(*shares):
    """Dense rows, `(1, ...)`, of a sample: a first choice of this share, the others alike."""
    rows = [[each, *[(1 - each) / (CLASSES - 1)] * (CLASSES - 1)] for each in shares]
    return Dense(values=torch.tensor(rows if len(rows) == 1 else [rows]).log())


def by_confidence(make, *members):
    found = weigh(members, make.samples(1), "confidence", torch.ones(2), torch.ones(2, CLASSES))
    return found.tolist()


def test_the_first_head_alone_is_looked_at(make):
    found = by_confidence(make, told(sure(0.9), sure(0.4)), told(sure(0.6), sure(0.7)))
    assert found == [pytest.approx([0.6, 0.4])]


def test_of_a_sample_of_several_rows_the_mean_of_their_first_choices_counts(make):
    found = by_confidence(make, told(sure(0.9, 0.7, 0.8)), told(sure(0.5, 0.25, 0.45)))
    assert found == [pytest.approx([2 / 3, 1 / 3])]


def test_an_entry_that_was_drawn_is_not_taken_for_a_first_choice(make):
    """It stands for all that nobody kept: 0.7 of 1.2, over three classes."""
    drawn = Sparse(
        ids=torch.tensor([[0, 1]]),
        probabilities=torch.tensor([[0.5, 0.7]]),
        tail=torch.zeros(1),
        drawn=torch.tensor([[False, True]]),
    )
    first, other = 0.5 / 1.2, 0.5
    want = [first / (first + other), other / (first + other)]
    assert by_confidence(make, told(drawn), told(sure(other))) == [pytest.approx(want)]


def test_numbers_have_no_first_choice(make):
    numbers = told(Dense(values=torch.zeros(1, CLASSES)), space="real")
    with pytest.raises(OptionError, match=r"is for categorical heads, and head number 0 is real\."):
        by_confidence(make, numbers, numbers)
