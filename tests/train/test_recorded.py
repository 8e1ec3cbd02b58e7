"""Passes that are recorded and replayed train to the same weights; so do weights laid out anew.

No GPU is needed: what records here calls the model a few times, as torch's own does, and then
replays by calling it again.
"""

import gc
import weakref

import pytest
import torch
from torch import nn

from limbeck._errors import Interrupted, OptionError
from limbeck.data import ArraySamples
from limbeck.recipe import Train
from limbeck.taps import tap_name
from limbeck.train import _lane
from limbeck.train._recorded import Recorded, can_be_recorded
from tests.train.problem import LABELS, draw, same_weights, stopper, train, twin

IMAGES = ArraySamples(draw(50, 3, 6, 6), {"label": LABELS})


def net(dropout=0.2):
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1),
        nn.BatchNorm2d(8),
        nn.Dropout(dropout),
        nn.Conv2d(8, 4, 3),
        nn.Flatten(),
        nn.Linear(64, 3),
    )


@pytest.fixture
def recordings(monkeypatch):
    """The shapes that were recorded, by what stands in for CUDA's own."""
    shapes = []

    def record(module, sample_args, *, allow_unused_input):
        assert allow_unused_input
        shapes.append(tuple(sample_args[0].shape))
        for _ in range(3):
            module(*sample_args)
        return module

    monkeypatch.setattr(torch.cuda, "make_graphed_callables", record)
    monkeypatch.setattr(_lane, "can_be_recorded", lambda inputs: True)
    return shapes


def test_recorded_passes_train_to_the_same_weights_and_batch_statistics(recordings):
    plain, recorded = net(), net()
    train(plain, IMAGES)
    assert recordings == []
    train(recorded, IMAGES, cuda_graphs=True)
    assert same_weights(plain, recorded)
    assert recordings == [(8, 3, 6, 6)]  # once; of the last batch, of two samples, never


def test_what_is_recorded_gives_rows_and_features_by_name(recordings):
    model, inputs = net().eval(), draw(4, 3, 6, 6)
    said = {"label": model(inputs), tap_name("0"): model[0](inputs)}
    seen = Recorded(model, lambda x: {"label": model(x), tap_name("0"): model[0](x)}, inputs)
    assert seen.fits(inputs)
    assert not seen.fits(inputs[:2])
    assert not seen.fits({"pixels": inputs})
    found = seen(inputs)
    assert found.keys() == said.keys()
    assert all(torch.equal(found[name], said[name]) for name in said)


class Cyclic:
    """What refers to itself, as a module does whose passes were recorded."""

    def __init__(self):
        self.own = self


def test_no_garbage_is_collected_within_a_recording(monkeypatch):
    # To free an earlier graph there ends the recording with an error (torch's issue 161037).
    seen, model, inputs = [], net(), draw(4, 3, 6, 6)

    def record(module, sample_args, *, allow_unused_input):
        seen.append((earlier() is None, gc.isenabled()))
        if fails:
            raise RuntimeError
        return module

    monkeypatch.setattr(torch.cuda, "make_graphed_callables", record)
    assert gc.isenabled()
    for fails in (False, True):
        gc.disable()
        earlier = weakref.ref(Cyclic())
        gc.enable()
        if fails:
            with pytest.raises(RuntimeError):
                Recorded(model, lambda x: {"label": model(x)}, inputs)
        else:
            Recorded(model, lambda x: {"label": model(x)}, inputs)
        assert gc.isenabled()
    assert seen == [(True, False), (True, False)]


def test_nothing_is_recorded_without_a_cuda_device():
    assert not can_be_recorded(draw(2, 3))
    plain, recorded = net(), net()
    train(plain, IMAGES)
    train(recorded, IMAGES, cuda_graphs=True)
    assert same_weights(plain, recorded)


def test_gradients_that_are_overwritten_are_not_added_up():
    with pytest.raises(OptionError, match="cuda_graphs overwrites the gradients that accumulate"):
        Train(cuda_graphs=True, accumulate=2)


def formats(model):
    return [weight.is_contiguous() for weight in model.parameters() if weight.dim() == 4]


def test_channels_last_is_the_same_up_to_rounding_and_leaves_plain_weights():
    # Without dropout, which is drawn in the order of memory.
    plain, other = net(dropout=0.0), net(dropout=0.0)
    seen = []
    other[0].register_forward_hook(lambda module, given, output: seen.append(formats(other)))
    train(plain, IMAGES)
    train(other, IMAGES, channels_last=True)
    assert seen[0] == [False, False]
    assert formats(other) == [True, True]
    for one, two in zip(plain.state_dict().values(), other.state_dict().values(), strict=True):
        torch.testing.assert_close(one, two, rtol=1e-3, atol=1e-5)


def test_a_pass_with_channels_last_goes_on_to_the_same_weights(tmp_path, monkeypatch):
    how = {"channels_last": True, "optimizer_options": {"momentum": 0.9}}
    whole, model = net(), net()
    stopped = twin(model)
    train(whole, IMAGES, **how)
    with monkeypatch.context() as patch:
        stopper(patch)(10)
        with pytest.raises(Interrupted):
            train(stopped, IMAGES, checkpoint=tmp_path / "state", **how)
    train(model, IMAGES, checkpoint=tmp_path / "state", **how)
    assert same_weights(whole, model)


def test_samples_on_a_device_are_the_same_samples():
    pixels = torch.randint(0, 256, (5, 3, 6, 6), dtype=torch.uint8)
    samples = ArraySamples(pixels, {"label": LABELS[:5]})
    moved = samples.on(torch.device("cpu"))
    index = torch.tensor([3, 1])
    assert torch.equal(moved.fetch(index).inputs, samples.fetch(index).inputs)
    assert (moved.keys == samples.keys).all()
    assert torch.equal(moved.labels["label"], samples.labels["label"])
