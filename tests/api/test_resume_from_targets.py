"""Stopped in the midst of an epoch, distillation goes on exactly, however its rows are read."""

import pytest
import torch

from limbeck import TransferSet, capture, distil
from limbeck._errors import Interrupted
from limbeck.data import ArraySamples
from limbeck.targets import Ensemble
from limbeck.targets.reading._transfer_set import READINGS
from tests.api.problem import EXACT, ORDER
from tests.pipeline.examples import python
from tests.train.problem import (
    INPUTS,
    LABELS,
    NEVER,
    furthest,
    model,
    same_weights,
    settings,
    stopper,
)


@pytest.fixture
def stop_after(monkeypatch):
    return stopper(monkeypatch)


SAMPLES = {
    "all": ArraySamples(INPUTS, {"label": LABELS}),
    "a subset": ArraySamples(INPUTS[ORDER[:33]], {"label": LABELS[ORDER[:33]]}),
    "a concatenation": ArraySamples(
        torch.cat([INPUTS[30:], INPUTS[:20], INPUTS[5:15]]),
        {"label": torch.cat([LABELS[30:], LABELS[:20], LABELS[5:15]])},
    ),
}


@pytest.mark.parametrize("reading", READINGS)
@pytest.mark.parametrize("samples", SAMPLES.values(), ids=SAMPLES)
@pytest.mark.parametrize("batch_size", [1, 8, 50])
def test_any_reading_and_batch_size_goes_on(
    reading,
    samples,
    batch_size,
    targets,
    stop_after,
    tmp_path,
):
    how = settings(batch_size=batch_size, epochs=2)
    unbroken = model(dropout=0.5)
    distil(unbroken, samples, targets, how)
    stop_after(-(-len(samples) // batch_size) // 2 + 1)
    again = TransferSet(targets.folder, reading=reading)
    with pytest.raises(Interrupted):
        distil(model(dropout=0.5), samples, again, how, checkpoint=tmp_path / "state")
    stop_after(NEVER)
    resumed = model(7, dropout=0.5)  # other weights: everything must come from the checkpoint
    again = TransferSet(targets.folder, reading=reading)
    distil(resumed, samples, again, how, checkpoint=tmp_path / "state")
    assert same_weights(resumed, unbroken)


def test_several_teachers_go_on_together(targets, stop_after, tmp_path):
    samples = SAMPLES["all"]
    other = capture(model(seed=9), samples, tmp_path / "other", **EXACT)
    unbroken, resumed = model(), model(7)
    distil(unbroken, samples, Ensemble([targets, other]), settings())
    stop_after(10)
    with pytest.raises(Interrupted):
        distil(model(), samples, Ensemble([targets, other]), settings(), checkpoint=tmp_path / "s")
    stop_after(NEVER)
    distil(resumed, samples, Ensemble([targets, other]), settings(), checkpoint=tmp_path / "s")
    assert same_weights(resumed, unbroken)


KILLED = """
import os, sys
from limbeck import TransferSet, distil
from limbeck.train import _resume
from tests.train.problem import INPUTS, LABELS, model, settings

_resume.CHECKPOINT_SECONDS = 0.0
targets = TransferSet(sys.argv[1], reading="mapped")
read, calls = targets.read, []
def killed(positions):
    calls.append(len(positions))
    if len(calls) == 12:
        os._exit(9)
    return read(positions)
targets.read = killed
distil(model(), (INPUTS, LABELS), targets, settings(), checkpoint=sys.argv[2])
"""


def test_two_processes_that_were_killed_are_gone_on_from_by_one(targets, tmp_path):
    (tmp_path / "killed.py").write_text(KILLED, encoding="utf-8")
    two = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    state = tmp_path / "state"
    process = python(*two, "killed.py", str(targets.folder), str(state), cwd=tmp_path)
    printed, _ = process.communicate(timeout=240)
    assert process.returncode != 0
    assert state.is_file(), printed
    unbroken, resumed = model(), model(7)
    distil(unbroken, (INPUTS, LABELS), targets, settings())
    asked = []
    counted = TransferSet(targets.folder)
    read = counted.read
    counted.read = lambda positions: asked.append(len(positions)) or read(positions)
    distil(resumed, (INPUTS, LABELS), counted, settings(), checkpoint=state)
    assert len(asked) <= 21 - 9  # the kill cost a step or two
    assert furthest(resumed, unbroken) < 1e-4
