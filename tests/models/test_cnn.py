import pytest
import torch

from limbeck.models import CNN, parameter_count


@pytest.mark.parametrize("size", [(8, 8), (28, 28), (5, 7), (1, 1)])
def test_takes_images_of_any_size(size):
    assert CNN(3, [4, 6], 5)(torch.randn(2, 3, *size)).shape == (2, 5)


def test_takes_grey_images_without_a_channel_axis():
    model = CNN(1, [4], 5).eval()
    x = torch.randn(2, 8, 8)
    assert torch.equal(model(x), model(x[:, None]))


def test_it_has_a_convolution_for_each_number_of_channels():
    # 3x3 weights without a bias, then the scale and shift of the normalisation.
    wanted = (3 * 4 * 9 + 2 * 4) + (4 * 6 * 9 + 2 * 6) + (6 * 5 + 5)
    assert parameter_count(CNN(3, [4, 6], 5)) == wanted


def test_dropout_acts_in_training_only():
    model = CNN(1, [8], 5, dropout=0.5)
    x = torch.randn(4, 8, 8)
    assert not torch.equal(model(x), model(x))
    model.eval()
    assert torch.equal(model(x), model(x))
