"""Runs that several tests look at."""

from pathlib import Path
from typing import Any

import pytest

import limbeck
from limbeck.pipeline._records import Record, Records
from tests.pipeline.examples import small


@pytest.fixture(autouse=True)
def _no_stopwatch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Latency is tested with `evaluate`; here it would only take time."""
    monkeypatch.setattr("limbeck.evaluation.median_latency_ms", lambda model, inputs: 1.0)


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The stages that leave a record from here on, in order."""
    stages: list[str] = []
    write = Records.write

    def spy(self: Records, stage: str, *arguments: Any, **options: Any) -> Record:
        stages.append(stage)
        return write(self, stage, *arguments, **options)

    monkeypatch.setattr(Records, "write", spy)
    return stages


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished run of the small recipe. Read it, or copy it; never change it."""
    folder = tmp_path_factory.mktemp("finished")
    limbeck.run(small(folder), folder / "run")
    return folder / "run"
