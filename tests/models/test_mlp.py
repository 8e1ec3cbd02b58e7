import pytest
import torch

from limbeck.models import MLP, parameter_count


@pytest.mark.parametrize("shape", [(12,), (3, 4), (1, 3, 4)])
def test_inputs_of_any_shape_are_flattened(shape):
    assert MLP(12, [8, 6], 5)(torch.randn(7, *shape)).shape == (7, 5)


def test_it_has_a_linear_layer_more_than_hidden_ones():
    assert parameter_count(MLP(12, [8, 6], 5)) == (12 * 8 + 8) + (8 * 6 + 6) + (6 * 5 + 5)


def test_without_hidden_layers_it_is_linear():
    model = MLP(4, [], 2)
    x, y = torch.randn(2, 1, 4).unbind()
    torch.testing.assert_close(
        model(x + y) + model(torch.zeros(1, 4)), model(x) + model(y), rtol=1e-5, atol=1e-5
    )


def test_hidden_layers_make_it_not_linear():
    model = MLP(4, [16], 2)
    x = torch.randn(1, 4)
    assert not torch.allclose(model(-x) + model(x), 2 * model(torch.zeros(1, 4)))


def zeros_in(model, name):
    """The fraction of zeros in what the module of that name gives in training."""
    seen = []
    model.get_submodule(name).register_forward_hook(lambda _, __, out: seen.append(out))
    model.train()(torch.ones(200, 50))
    return float((seen[0] == 0).float().mean())


def test_dropout_drops_hidden_activations_in_training_only():
    model = MLP(50, [40], 2, dropout=0.5)
    assert [type(layer).__name__ for layer in model.layers] == [
        "Flatten", "Linear", "ReLU", "Dropout", "Linear",
    ]  # fmt: skip
    x = torch.randn(3, 50)
    assert not torch.equal(model(x), model(x))
    assert torch.equal(model.eval()(x), model(x))


def test_input_dropout_drops_that_fraction_of_the_input():
    model = MLP(50, [40], 2, input_dropout=0.2)
    assert zeros_in(model, "layers.1") == pytest.approx(0.2, abs=0.02)
