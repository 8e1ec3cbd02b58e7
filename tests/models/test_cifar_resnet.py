"""The residual networks of the papers: their sizes, shapes and shortcuts."""

from itertools import pairwise

import pytest
import torch

from limbeck._errors import ModelError
from limbeck.models import CifarResNet, Interface, WideResNet, build, parameter_count
from limbeck.signals import Head

NARROW, FOUR_TIMES = (16, 16, 32, 64), (32, 64, 128, 256)


@pytest.mark.parametrize(
    ("depth", "channels", "classes", "millions"),
    [
        # He et al. 2016, table 6, of 10 classes; their shortcuts have no weights.
        (20, NARROW, 10, 0.27),
        (32, NARROW, 10, 0.46),
        (56, NARROW, 10, 0.85),
        (110, NARROW, 10, 1.73),
        # As the code of CRD has them, of 100 classes.
        (20, NARROW, 100, 0.28),
        (56, NARROW, 100, 0.86),
        (8, FOUR_TIMES, 100, 1.23),
        (32, FOUR_TIMES, 100, 7.43),
    ],
)
def test_it_has_the_published_number_of_weights(depth, channels, classes, millions):
    found = parameter_count(CifarResNet(3, depth, channels, classes)) / 1e6
    shortcuts = sum(a * b + 2 * b for a, b in pairwise(channels) if a != b)
    if classes == 10:
        found -= shortcuts / 1e6
    assert found == pytest.approx(millions, abs=0.01)


@pytest.mark.parametrize(
    ("depth", "width", "millions"), [(16, 2, 0.70), (40, 2, 2.26), (40, 1, 0.57), (16, 1, 0.18)]
)
def test_a_wide_one_has_the_published_number_of_weights(depth, width, millions):
    found = parameter_count(WideResNet(3, depth, width, 100)) / 1e6
    assert found == pytest.approx(millions, abs=0.006)


def test_a_wide_one_of_ten_times_the_width_is_the_papers():
    # Zagoruyko and Komodakis 2016, table 4: 36.5 M weights of WRN-28-10.
    assert parameter_count(WideResNet(3, 28, 10, 10)) / 1e6 == pytest.approx(36.5, abs=0.05)


@pytest.mark.parametrize(
    ("make", "channels"),
    [
        (lambda: CifarResNet(3, 14, (4, 4, 8, 16), 5), [4, 8, 16]),
        (lambda: WideResNet(3, 16, 1, 5), [16, 32, 64]),
    ],
    ids=["plain", "wide"],
)
def test_maps_are_halved_twice_and_their_mean_goes_to_the_head(make, channels):
    model, shapes = make(), {}
    for name in ("stages.0", "stages.1", "stages.2", "pool"):
        model.get_submodule(name).register_forward_hook(
            lambda module, given, output, name=name: shapes.update({name: tuple(output.shape[1:])})
        )
    assert model(torch.randn(2, 3, 32, 32)).shape == (2, 5)
    sides = dict(zip(("stages.0", "stages.1", "stages.2"), (32, 16, 8), strict=True))
    wanted = {name: (c, sides[name], sides[name]) for name, c in zip(sides, channels, strict=True)}
    assert shapes == wanted | {"pool": (channels[-1],)}


def normalised(x, norm):
    """Batch normalisation in eval mode, by its formula."""
    scale = norm.weight / (norm.running_var + norm.eps).sqrt()
    return (x - norm.running_mean[:, None, None]) * scale[:, None, None] + norm.bias[:, None, None]


def unlike(model):
    """`model` in eval mode, whose normalisations all do something else."""
    for part in model.modules():
        if isinstance(part, torch.nn.BatchNorm2d):
            for tensor in (part.weight.data, part.bias.data, part.running_mean):
                tensor.copy_(torch.randn_like(tensor))
            part.running_var.copy_(torch.rand_like(part.running_var) + 0.5)
    return model.eval()


@torch.no_grad()
def test_a_block_adds_its_shortcut_and_then_cuts_at_zero():
    model = unlike(CifarResNet(3, 8, (4, 4, 8, 16), 5))
    conv, x = torch.nn.functional.conv2d, torch.randn(2, 4, 6, 6)
    for stage, stride in ((0, 1), (1, 2)):
        block, given = model.stages[stage][0], x
        inner = normalised(conv(x, block.first.weight, None, stride, 1), block.first_norm).relu()
        inner = normalised(conv(inner, block.second.weight, None, 1, 1), block.second_norm)
        if stage:
            layer, norm = block.shortcut
            x = normalised(conv(x, layer.weight, None, stride), norm)
        x = (inner + x).relu()
        torch.testing.assert_close(model.stages[stage](given), x)


@torch.no_grad()
def test_a_wide_block_normalises_before_and_adds_last():
    model = unlike(WideResNet(3, 10, 1, 5))
    conv, x = torch.nn.functional.conv2d, torch.randn(2, 16, 6, 6)
    for stage, stride in ((0, 1), (1, 2)):
        block, given = model.stages[stage][0], x
        ready = normalised(x, block.first_norm).relu()
        inner = conv(ready, block.first.weight, None, stride, 1)
        inner = conv(normalised(inner, block.second_norm).relu(), block.second.weight, None, 1, 1)
        x = inner + (conv(ready, block.shortcut.weight, None, stride) if stage else given)
        torch.testing.assert_close(model.stages[stage](given), x)


def test_dropout_of_a_wide_one_acts_in_training_only():
    model, x = WideResNet(3, 10, 1, 5, dropout=0.5), torch.randn(4, 3, 8, 8)
    assert not torch.equal(model(x), model(x))
    model.eval()
    assert torch.equal(model(x), model(x))


def interface(*shape):
    head = Head(space="categorical", size=7)
    return Interface(shape=shape, vocabulary=0, heads=(head,))


@pytest.mark.parametrize("shape", [(3, 32, 32), (28, 28), (1, 8, 8)])
@pytest.mark.parametrize("name", ["cifar_resnet", "wide_resnet"])
def test_a_recipe_names_it_for_images_of_any_size(name, shape):
    assert build(name, {}, interface(*shape))(torch.randn(2, *shape)).shape == (2, 7)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("cifar_resnet", {"depth": 18}, r"depth must be 8, 14, 20, \.\.\. \(6 n \+ 2\), got 18"),
        ("cifar_resnet", {"depth": 2}, "got 2"),
        ("cifar_resnet", {"channels": [16, 32, 64]}, "channels must be four"),
        ("wide_resnet", {"depth": 20}, r"depth must be 10, 16, 22, \.\.\. \(6 n \+ 4\), got 20"),
        ("wide_resnet", {"width": 0}, "width must be 1 or more, got 0"),
    ],
)
def test_a_size_that_is_none_is_refused(name, options, message):
    with pytest.raises(ModelError, match=message):
        build(name, options, interface(3, 32, 32))


@pytest.mark.parametrize("name", ["cifar_resnet", "wide_resnet"])
def test_what_is_no_image_is_refused(name):
    with pytest.raises(ModelError, match=rf"{name} takes images.*Take mlp instead"):
        build(name, {}, interface(12))
