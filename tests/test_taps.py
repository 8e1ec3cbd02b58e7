"""Taps see one call of a model, as it is, whatever wraps it."""

import copy

import pytest
import torch
from torch import nn
from torch.distributed.algorithms._checkpoint.checkpoint_wrapper import (
    CheckpointImpl,
    checkpoint_wrapper,
)
from torch.utils.checkpoint import checkpoint

from limbeck._errors import ModelError
from limbeck.taps import heard, modules_of, tapped


class Net(nn.Module):
    """A stem, a block that is called twice, and a head; `told` is a module that gives a dict."""

    def __init__(self, inplace=False):
        super().__init__()
        self.stem = nn.Linear(4, 6)
        self.act = nn.ReLU(inplace)
        self.block = nn.Sequential(nn.Linear(6, 6), nn.Tanh())
        self.unused = nn.Linear(6, 6)
        self.head = nn.Linear(6, 3)

    def forward(self, x):
        return self.head(self.block(self.block(self.act(self.stem(x)))))


X = torch.randn(5, 4, generator=torch.Generator().manual_seed(1))


def seen_of(model, *paths, called=None):
    with tapped(model, paths, who="student small") as seen:
        (called or model)(X)
    return seen


def hooks(model):
    return sum(len(module._forward_hooks) for module in model.modules())


# ---- what is recorded ---------------------------------------------------------------------------


def test_it_is_what_the_module_gives_and_of_several_calls_the_last():
    net = Net()
    seen = seen_of(net, "stem", "block", "block.1")
    stem = net.stem(X)
    assert torch.equal(seen["stem"], stem)
    assert torch.equal(seen["block"], net.block(net.block(net.act(stem))))
    assert torch.equal(seen["block.1"], seen["block"])


def test_no_hook_stays_also_after_an_error():
    net = Net()
    seen_of(net, "stem", "head")
    assert hooks(net) == 0
    with pytest.raises(RuntimeError), tapped(net, ["stem"], who="it"):
        net(X[:, :2])
    assert hooks(net) == 0


def test_a_call_outside_is_not_recorded():
    net = Net()
    seen = seen_of(net, "stem")
    first = seen["stem"]
    net(X + 1)
    assert seen["stem"] is first


def test_without_paths_nothing_is_done():
    assert seen_of(nn.Identity()) == {}


def test_the_gradient_goes_through():
    net = Net()
    seen_of(net, "stem")["stem"].sum().backward()
    assert net.stem.weight.grad.any()
    assert net.head.weight.grad is None


class Gives(nn.Module):
    def __init__(self, output):
        super().__init__()
        self.output = output

    def forward(self, x):
        return self.output(x)


@pytest.mark.parametrize(
    "output",
    [
        lambda x: (x, x + 1),
        lambda x: [None, (x,), x + 1],
        lambda x: {"none": None, "first": x, "second": x + 1},
    ],
    ids=["tuple", "nested", "dict"],
)
def test_the_first_tensor_of_what_is_given_counts(output):
    assert torch.equal(seen_of(nn.Sequential(Gives(output)), "0")["0"], X)


def test_an_output_of_transformers_is_its_first_tensor():
    transformers = pytest.importorskip("transformers")
    config = transformers.BertConfig(
        vocab_size=20,
        hidden_size=8,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=8,
        num_labels=3,
    )
    model = transformers.BertForSequenceClassification(config).eval()
    ids = torch.arange(10).reshape(2, 5)
    with tapped(model, ["bert", "bert.encoder.layer.1"], who="the teacher") as seen:
        model(input_ids=ids)
    assert seen["bert"].shape == seen["bert.encoder.layer.1"].shape == (2, 5, 8)
    assert torch.equal(seen["bert"], seen["bert.encoder.layer.1"])


# ---- what is refused ----------------------------------------------------------------------------


def refused(model, path):
    with pytest.raises(ModelError) as error:
        seen_of(model, path)
    assert hooks(model) == 0
    return str(error.value)


def test_a_path_that_is_not_there_is_refused_with_the_nearest():
    said = refused(Net(), "blok.1")
    assert said.startswith("student small has no module 'blok.1' to tap. Did you mean block.1?")


def test_the_model_itself_is_no_module_inside_it():
    assert "has no module ''" in refused(Net(), "")


def test_a_module_that_is_not_called_is_refused():
    assert refused(Net(), "unused") == (
        "the module 'unused' of student small was not called. Tap one that takes part in an answer."
    )


def test_a_module_without_a_tensor_is_refused():
    model = nn.Sequential(Gives(lambda x: 1), Gives(lambda x: torch.zeros(1)))
    assert "the module '0' of student small gives no tensor, but int" in refused(model, "0")


def test_what_is_changed_in_place_afterwards_is_refused():
    said = refused(Net(inplace=True), "stem")
    assert "'stem' of student small gives is changed in place" in said
    assert seen_of(Net(inplace=True), "act")["act"].min() == 0


def test_a_keras_model_is_refused():
    keras = pytest.importorskip("keras")
    model = keras.Sequential([keras.layers.Input((4,)), keras.layers.Dense(3)])
    with pytest.raises(ModelError, match="the teacher is a Keras model, whose layers cannot"):
        modules_of(model, who="the teacher")


# ---- what wraps a model -------------------------------------------------------------------------


def test_a_compiled_model_is_tapped_by_the_names_of_the_original():
    net = Net()
    compiled = torch.compile(net, backend="eager")
    compiled(X)  # compiled without a hook, and not made for one
    seen = seen_of(compiled, "block.0")
    assert torch.equal(seen["block.0"], seen_of(net, "block.0")["block.0"])
    seen["block.0"].sum().backward()
    assert net.stem.weight.grad.any()
    assert torch.equal(seen_of(compiled, "block.0")["block.0"], seen["block.0"])


def test_a_compiled_part_is_tapped_too():
    net = Net()
    plain = seen_of(net, "block", "block.0")
    net.block = torch.compile(net.block, backend="eager")
    net.head.compile(backend="eager")
    with torch.no_grad():
        net(X)
    seen = seen_of(net, "block", "block.0", "head")
    assert torch.equal(seen["block"], plain["block"])
    assert torch.equal(seen["block.0"], plain["block.0"])


@pytest.fixture
def process_group():
    store = torch.distributed.HashStore()
    torch.distributed.init_process_group("gloo", store=store, rank=0, world_size=1)
    yield
    torch.distributed.destroy_process_group()


@pytest.mark.usefixtures("process_group")
def test_a_model_that_processes_share_is_tapped_by_the_names_of_the_original():
    net = Net()
    net.unused.requires_grad_(False)
    shared = nn.parallel.DistributedDataParallel(net)
    with tapped(shared, ["block.0"], who="it") as seen:
        answer = shared(X)
    (seen["block.0"].sum() + answer.sum()).backward()
    found = net.stem.weight.grad.clone()
    alone = copy.deepcopy(net)
    alone.zero_grad()
    with tapped(alone, ["block.0"], who="it") as seen:
        answer = alone(X)
    (seen["block.0"].sum() + answer.sum()).backward()
    assert torch.equal(found, alone.stem.weight.grad)


class Plain(Net):
    def forward(self, x):
        return self.head(self.block(self.act(self.stem(x))))


class Checkpointed(Net):
    def forward(self, x):
        hidden = self.act(self.stem(x))
        return self.head(checkpoint(self.block, hidden, use_reentrant=False))


def test_the_second_call_of_activation_checkpointing_does_not_disturb():
    net = Checkpointed()
    with tapped(net, ["block.0", "block"], who="it") as seen:
        answer = net(X)
    before = {path: tensor.detach().clone() for path, tensor in seen.items()}
    (answer.sum() + seen["block.0"].square().sum()).backward()
    assert all(torch.equal(seen[path], tensor) for path, tensor in before.items())
    found = net.stem.weight.grad.clone()
    net.zero_grad()
    net.__class__ = Plain
    with tapped(net, ["block.0"], who="it") as seen:
        answer = net(X)
    (answer.sum() + seen["block.0"].square().sum()).backward()
    torch.testing.assert_close(found, net.stem.weight.grad)


@pytest.mark.parametrize("form", [CheckpointImpl.REENTRANT, CheckpointImpl.NO_REENTRANT])
def test_what_a_checkpointed_module_gives_has_a_gradient_in_both_forms(form):
    net = Net()
    net.block = checkpoint_wrapper(net.block, checkpoint_impl=form)
    seen = seen_of(net, "block")
    assert seen["block"].requires_grad
    assert "block.0" in modules_of(net, who="it")
    seen["block"].sum().backward()
    assert net.stem.weight.grad.any()


@pytest.mark.parametrize("form", [CheckpointImpl.REENTRANT, CheckpointImpl.NO_REENTRANT])
def test_what_a_checkpointed_module_gives_has_its_gradient_when_it_is_heard(form):
    net = Net()
    net.block = checkpoint_wrapper(net.block, checkpoint_impl=form)
    block, learns = modules_of(net, who="it")["block"], []
    with heard({"block": block}, lambda path, output: learns.append(output.requires_grad)):
        net(X)
    assert learns == [True, True]  # it is called twice
