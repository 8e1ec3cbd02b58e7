import os

import pytest
import torch

from limbeck._checkpoint import load_checkpoint, save_checkpoint
from limbeck._errors import StorageError

OPTIMIZERS = {
    "Adam": lambda parameters: torch.optim.Adam(parameters, lr=0.1, amsgrad=True),
    "SGD": lambda parameters: torch.optim.SGD(parameters, lr=0.1, momentum=0.9),
}


def trained(make, *, steps):
    """A small model and its optimiser after some steps."""
    torch.manual_seed(0)
    model = torch.nn.Linear(3, 2)
    optimizer = make(model.parameters())
    step(model, optimizer, range(steps))
    return model, optimizer


def step(model, optimizer, numbers):
    for number in numbers:
        optimizer.zero_grad()
        model(torch.full((1, 3), float(number + 1))).square().sum().backward()
        optimizer.step()


def same(found, wanted):
    """Whether two nests are equal, tensors bit for bit, tuples as lists."""
    if isinstance(wanted, torch.Tensor):
        return found.dtype == wanted.dtype and torch.equal(found, wanted)
    if isinstance(wanted, dict):
        return found.keys() == wanted.keys() and all(same(found[k], wanted[k]) for k in wanted)
    if isinstance(wanted, list | tuple):
        return len(found) == len(wanted) and all(map(same, found, wanted))
    return type(found) is type(wanted) and found == wanted


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_an_optimisers_state_is_read_back_as_it_was(tmp_path, name):
    _, optimizer = trained(OPTIMIZERS[name], steps=3)
    save_checkpoint(tmp_path / "state", {"optimizer": optimizer.state_dict()})
    found = load_checkpoint(tmp_path / "state")
    assert same(found, {"optimizer": optimizer.state_dict()})


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_training_goes_on_from_it_to_the_same_weights(tmp_path, name):
    straight, _ = trained(OPTIMIZERS[name], steps=6)
    model, optimizer = trained(OPTIMIZERS[name], steps=3)
    save_checkpoint(
        tmp_path / "state", {"model": model.state_dict(), "optimizer": optimizer.state_dict()}
    )
    state = load_checkpoint(tmp_path / "state")
    model, optimizer = trained(OPTIMIZERS[name], steps=0)
    model.load_state_dict(state["model"])
    optimizer.load_state_dict(state["optimizer"])
    step(model, optimizer, range(3, 6))
    assert torch.equal(model.weight, straight.weight)


def test_any_nest_is_read_back_as_it_was(tmp_path):
    tied = torch.arange(4.0)
    state = {
        "numbers": {0: torch.tensor(1), 1: [None, True, 2, 0.1, float("inf"), "text"]},
        "0": "a text for a key",
        "a/b": tied,
        "a": {"b": tied.double(), "t": torch.arange(6).reshape(2, 3).t()},
        "tied": [tied, tied[1:]],
        "half": torch.ones(2, dtype=torch.bfloat16),
        "none": torch.zeros(0, 3),
    }
    save_checkpoint(tmp_path / "state", state)
    assert same(load_checkpoint(tmp_path / "state"), state)


def test_a_state_without_tensors_is_kept_too(tmp_path):
    save_checkpoint(tmp_path / "state", {"epoch": 3})
    assert load_checkpoint(tmp_path / "state") == {"epoch": 3}


def test_where_there_is_none_there_is_none(tmp_path):
    assert load_checkpoint(tmp_path / "state") is None


def test_a_damaged_one_counts_as_none(tmp_path):
    path = tmp_path / "state"
    save_checkpoint(path, {"weight": torch.ones(100)})
    whole = path.read_bytes()
    for damaged in (b"", b"x", whole[:50], whole[:-1], b"\xff" * 100):
        path.write_bytes(damaged)
        assert load_checkpoint(path) is None


def test_a_file_of_something_else_counts_as_none(tmp_path):
    import safetensors.torch

    for metadata in (None, {"state": "{"}, {"state": '{"a": "tensor:9"}'}):
        safetensors.torch.save_file({"a": torch.ones(1)}, str(tmp_path / "s"), metadata=metadata)
        assert load_checkpoint(tmp_path / "s") is None


def test_one_that_cannot_be_written_leaves_the_last(tmp_path, monkeypatch):
    path = tmp_path / "state"
    save_checkpoint(path, {"epoch": 1})

    def refuse(*args, **options):
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr("safetensors.torch.save_file", refuse)
    with pytest.raises(StorageError, match="there is no room left"):
        save_checkpoint(path, {"epoch": 2})
    assert load_checkpoint(path) == {"epoch": 1}
