"""Several teachers as one module say the mixture of what they say."""

import torch
from torch import Tensor, nn

from limbeck._together import together
from limbeck.signals import Head
from limbeck.teachers import Teacher

LABEL = Head(space="categorical", size=3)
ALIKE, TRUST = torch.ones(2), torch.ones(2, 3)


def member(seed: int, outputs: str = "logits") -> Teacher:
    torch.manual_seed(seed)
    layers = [nn.Linear(4, 3)] + [nn.Softmax(-1)] * (outputs == "probabilities")
    return Teacher(nn.Sequential(*layers), [LABEL], outputs=outputs)


def probabilities(teacher: Teacher, inputs: Tensor) -> Tensor:
    return teacher.logits(inputs)["label"].softmax(-1)


INPUTS = torch.randn(6, 4, generator=torch.Generator().manual_seed(0))


def test_together_they_say_the_mean_of_their_probabilities():
    one, other = member(1), member(2, outputs="probabilities")
    both = together({"one": one, "other": other}, "mean", torch.tensor([3.0, 1.0]), TRUST)
    wanted = 0.75 * probabilities(one, INPUTS) + 0.25 * probabilities(other, INPUTS)
    torch.testing.assert_close(probabilities(both, INPUTS), wanted)


def test_the_most_confident_answers_each_sample():
    one, other = member(1), member(2)
    both = together({"one": one, "other": other}, "most_confident", ALIKE, TRUST)
    first, second = probabilities(one, INPUTS), probabilities(other, INPUTS)
    surer = first.amax(-1, keepdim=True) >= second.amax(-1, keepdim=True)
    assert 0 < int(surer.sum()) < len(INPUTS)
    torch.testing.assert_close(probabilities(both, INPUTS), torch.where(surer, first, second))


def test_they_are_another_teacher_with_other_weights():
    members = {"one": member(1), "other": member(2)}
    one = together(members, "mean", ALIKE, TRUST)
    assert one.fingerprint == together(members, "mean", ALIKE, TRUST).fingerprint
    assert one.fingerprint != together(members, "mean", 2 * ALIKE, TRUST).fingerprint
    assert (
        one.fingerprint != together({**members, "one": member(3)}, "mean", ALIKE, TRUST).fingerprint
    )


class Texts(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(5, 3)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> dict[str, Tensor]:
        rows = self.table(input_ids)
        return {"logits": (rows * attention_mask[..., None]).sum(1)}


def test_keyword_inputs_reach_every_member():
    torch.manual_seed(0)
    one, other = Teacher(Texts(), [LABEL]), Teacher(Texts(), [LABEL])
    both = together({"one": one, "other": other}, "mean", ALIKE, TRUST)
    inputs = {"input_ids": torch.tensor([[1, 2]]), "attention_mask": torch.tensor([[1, 0]])}
    wanted = (probabilities(one, inputs) + probabilities(other, inputs)) / 2
    torch.testing.assert_close(probabilities(both, inputs), wanted)
