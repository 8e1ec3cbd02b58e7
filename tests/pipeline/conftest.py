"""Runs that several tests look at."""

from pathlib import Path

import pytest

import limbeck
from tests.pipeline.examples import small


@pytest.fixture(autouse=True)
def _no_stopwatch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Latency is tested with `evaluate`; here it would only take time."""
    monkeypatch.setattr("limbeck.evaluation.median_latency_ms", lambda model, inputs: 1.0)


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished run of the small recipe. Read it, or copy it; never change it."""
    folder = tmp_path_factory.mktemp("finished")
    limbeck.run(small(folder), folder / "run")
    return folder / "run"
