import pytest
import torch

from limbeck import capture
from tests.api.problem import EXACT
from tests.train.problem import INPUTS, LABELS, model


@pytest.fixture(autouse=True)
def _no_stopwatch(monkeypatch):
    """Latency is tested with `limbeck.evaluation`; here it would only take time."""
    monkeypatch.setattr("limbeck.evaluation.median_latency_ms", lambda model, inputs: 1.0)


@pytest.fixture
def teacher():
    return model(seed=1)


@pytest.fixture
def logits(teacher):
    with torch.no_grad():
        return teacher(INPUTS) * 1.0


@pytest.fixture
def targets(teacher, tmp_path):
    return capture(teacher, (INPUTS, LABELS), tmp_path / "targets", **EXACT)
