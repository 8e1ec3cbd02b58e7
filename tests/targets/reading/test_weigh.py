"""Transfer sets are weighed by what they hold."""

import pytest
import torch

from limbeck._mixture import WEIGHINGS, weights_of
from limbeck.targets import Ensemble, capture, weigh
from limbeck.targets.reading import _weigh
from limbeck.teachers import Teacher


@pytest.fixture
def teachers(make):
    def of(number):
        asked = make.asked(lambda x: (number + 1) * make.logits(x * (number + 1)))
        return Teacher(asked, [make.label])

    return [of(0), of(1)]


@pytest.fixture
def captured(teachers, samples, tmp_path):
    def of(number, **settings):
        folder = tmp_path / f"{number}"
        return capture(teachers[number], samples, folder, batch_size=16, **settings)

    return of


@pytest.mark.parametrize("how", WEIGHINGS)
def test_weights_are_those_of_the_teachers_answers_at_temperature_1(
    captured, teachers, make, samples, monkeypatch, how
):
    monkeypatch.setattr(_weigh, "_BLOCK", 7)
    members = [captured(k, temperature=4.0) for k in range(2)]
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
