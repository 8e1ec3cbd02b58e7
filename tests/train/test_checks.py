"""What a model must be before it is trained."""

import pytest
import torch
from torch import nn

from limbeck._errors import ModelError
from limbeck.recipe import Train
from limbeck.train import check_batch_norm, check_weights
from limbeck.train._checks import smallest_batch
from tests.train.problem import INPUTS, model, settings, train


def normalised():
    return nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Linear(6, 3))


@pytest.mark.parametrize(
    ("batch_size", "accumulate", "num_samples", "smallest"),
    [
        (64, 1, 640, 64),
        (64, 1, 650, 10),  # the last batch of an epoch
        (64, 1, 20, 20),  # all there is
        (64, 4, 640, 16),
        (7, 3, 70, 1),  # 3 + 3 + 1
        (8, 3, 80, 2),  # 3 + 3 + 2
        (64, 4, 643, 1),  # the last batch of 3 in pieces of one
    ],
)
def test_the_smallest_batch_is_counted_over_batches_and_micro_batches(
    batch_size, accumulate, num_samples, smallest
):
    settings = Train(batch_size=batch_size, accumulate=accumulate)
    assert smallest_batch(settings, num_samples) == smallest


def test_a_sample_alone_is_refused_where_each_number_is_normalised_over_the_batch():
    lonely = settings(batch_size=7)  # 50 samples: the last batch is one
    with pytest.raises(ModelError, match=r"of 50 samples with batch_size = 7 .* one comes alone"):
        check_batch_norm(normalised(), lonely, 50, who="student")
    maps = nn.Sequential(nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2))  # it may be of one position
    plain = nn.Linear(4, 3)
    check_batch_norm(plain, lonely, 50, who="student", beside=nn.ModuleList())
    with pytest.raises(ModelError, match=r"student normalises over the batch \(BatchNorm2d\)"):
        check_batch_norm(plain, lonely, 50, who="student", beside=maps)
    with pytest.raises(ModelError, match="one comes alone"):
        train(normalised(), batch_size=7)


def test_torch_agrees_about_who_cannot_be_alone():
    alone = INPUTS[:1]
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        normalised().train()(alone)
    images = nn.Sequential(nn.Unflatten(1, (1, 2, 2)), nn.BatchNorm2d(1), nn.Flatten())
    assert torch.isfinite(images.train()(alone)).all()
    check_batch_norm(images, settings(batch_size=7), 50, who="student")
    check_batch_norm(normalised(), settings(batch_size=8), 50, who="student")


def test_a_model_without_a_weight_that_can_learn_is_refused():
    with pytest.raises(ModelError, match=r"student a has no weight that can learn\. Unfreeze"):
        check_weights(model().requires_grad_(False), who="student a")
    partly = model()
    partly[0].requires_grad_(False)
    check_weights(partly, who="student a")


def test_a_student_of_probabilities_that_was_said_to_give_logits_is_refused_before_it_learns():
    soft = nn.Sequential(*model(), nn.Softmax(-1))
    before = [part.clone() for part in soft.parameters()]
    with pytest.raises(ModelError, match="student must give logits for head label, got what look"):
        train(soft)
    assert all(map(torch.equal, before, soft.parameters()))


def test_a_model_that_breaks_in_training_is_named():
    class Breaks(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(4, 3)

        def forward(self, x):
            return self.layer(x[:, :3] if self.training else x)

    with pytest.raises(ModelError, match=r"student cannot be called with the inputs \(8, 4\)"):
        train(Breaks())
