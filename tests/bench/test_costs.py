"""The benchmark of losses, at small shapes: none is left out."""

import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest
import torch

from limbeck.methods import every_method

BENCH = Path(__file__).parents[2] / "bench"


@pytest.fixture
def costs(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(BENCH))
    for name in ("costs", "losses", "_results", "_bars"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    return import_module("costs")


def test_the_loss_of_every_method_is_measured(costs, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["costs.py", "--quick"])
    monkeypatch.setattr(costs, "write", lambda *given: pytest.fail("a result file was written"))
    costs.main()
    said = {line[15:50].strip().partition(",")[0] for line in capsys.readouterr().out.splitlines()}
    assert every_method().keys() <= said


def test_a_call_leaves_a_gradient_in_every_tensor_that_a_student_gives(costs):
    given = [torch.randn(3, 4), torch.randn(2)]
    seen = []

    def loss(*leaves):
        seen.extend(leaves)
        return sum(leaf.square().sum() for leaf in leaves)

    costs.backward(loss, given)()
    for leaf, tensor in zip(seen, given, strict=True):
        torch.testing.assert_close(leaf.grad, 2 * tensor)
    assert all(tensor.grad is None for tensor in given)


def test_each_loss_is_compared_with_its_own_kind(costs):
    for shape, cases in costs.groups(quick=True).items():
        for name in cases:
            assert costs.compared_with(name) in cases, (shape, name)
    assert costs.compared_with("dkd, sparse rows") == "cross-entropy"
    assert costs.compared_with("rkd") == "squared error of vectors"
    assert costs.compared_with("reviewkd") == "squared error of maps, 3 taps"
