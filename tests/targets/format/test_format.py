"""docs/targets.md is enough to read a transfer set, with Arrow and numpy and nothing of ours."""

import hashlib
import json

import numpy as np
import pyarrow as pa
import pytest
import torch
import xxhash
from safetensors.numpy import load_file

from limbeck.data import ArraySamples
from limbeck.signals import Head
from limbeck.targets import capture
from limbeck.teachers import Teacher

CLASSES = 300


@pytest.fixture(scope="module")
def rows():
    """A teacher, 50 samples, and its log-probabilities `(samples, 3, classes)` at T = 2."""
    drawn = torch.rand(50, 8, generator=torch.Generator().manual_seed(0))
    torch.manual_seed(1)
    model = torch.nn.Sequential(
        torch.nn.Linear(8, 3 * CLASSES), torch.nn.Unflatten(1, (3, CLASSES))
    )
    model[0].weight.data *= 6
    teacher = Teacher(model, [Head(space="categorical", size=CLASSES)])
    samples = ArraySamples(drawn, {})
    said = (teacher.answer(samples.fetch(torch.arange(50)).inputs)["label"] / 2).log_softmax(-1)
    return teacher, samples, said.double().numpy()


@pytest.fixture
def stored(rows, tmp_path):
    def store(**options):
        teacher, samples, _ = rows
        capture(teacher, samples, tmp_path, temperature=2.0, **options)
        return tmp_path

    return store


def manifest_of(folder):
    """The manifest, held to its checksum as the page says."""
    said = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    checksum = said.pop("checksum")
    text = json.dumps(said, sort_keys=True, ensure_ascii=False)
    assert hashlib.sha256(text.encode()).hexdigest()[:16] == checksum
    return said


def columns_of(folder):
    """Every column of the only block, flat."""
    (shard,) = manifest_of(folder)["shards"]
    raw = (folder / shard["file"]).read_bytes()
    assert xxhash.xxh3_64(raw).hexdigest() == shard["checksum"] == shard["file"][12:28]
    with pa.ipc.open_file(raw) as reader:
        batch = reader.get_batch(0)
        assert reader.num_record_batches == 1
    return {
        name: (column if name in ("key", "view") else column.flatten()).to_numpy(
            zero_copy_only=False
        )
        for name, column in zip(batch.schema.names, batch.columns, strict=True)
    }


def in_order(samples, keys, values):
    """What is stored by row, in the order of the samples, whose keys are those of the page."""
    place = {int(key): number for number, key in enumerate(keys)}
    raw = samples.inputs.numpy()
    return values[[place[xxhash.xxh3_64_intdigest(one.tobytes())] for one in raw]]


def planes(columns, name):
    parts = [part for part in columns if part.startswith(f"label.{name}_")]
    return sum(columns[part].astype(np.int64) << 8 * int(part[-1]) for part in parts)


def ranks_of(steps, counts):
    """By row: the ranks that its steps lead to."""
    found, at = [], 0
    for count in counts.astype(int):
        found.append(np.cumsum(steps[at : at + count] + 1) - 1)
        at += count
    return found


def test_a_square_root_grid_can_be_read_by_the_page(rows, stored):
    columns = columns_of(stored(codec="sqrt8"))
    _, samples, log_p = rows
    p = np.maximum(columns["label.levels"].reshape(50, 3, CLASSES) / 254, 12**-0.5 / 254) ** 2
    p = in_order(samples, columns["key"], p / p.sum(-1, keepdims=True))
    kl = (np.exp(log_p) * (log_p - np.log(p))).sum(-1)
    assert 0 < kl.mean() < CLASSES / (6 * 254**2)


def test_threshold_samples_can_be_read_by_the_page(rows, stored):
    folder = stored(codec="threshold", codec_options={"tau": 0.05, "levels": 200})
    columns, settings = columns_of(folder), manifest_of(folder)["settings"]
    order = load_file(folder / f"state-{settings['state']}.safetensors")["label.order"]
    _, samples, log_p = rows
    said = np.zeros((150, CLASSES))
    at = 0
    for name in ("kept", "drawn"):
        counts, at = columns[f"label.{name}"], 0
        for row, ranks in enumerate(ranks_of(planes(columns, f"{name}_steps"), counts)):
            levels = columns.get(f"label.{name}_levels", [])[at : at + len(ranks)]
            at += len(ranks)
            value = (levels / 200) ** 2 if name == "kept" else 0.05
            assert (said[row, order[ranks]] == 0).all()
            said[row, order[ranks]] = value
    said = in_order(samples, columns["key"], said.reshape(50, 3, CLASSES))
    p = np.exp(log_p)
    large = p >= 0.05
    assert (np.abs(np.sqrt(said[large]) - np.sqrt(p[large])) <= 1 / 200).all()
    assert set(said[~large]) == {0.0, 0.05}
    # Systematic sampling: the number drawn is what the mass says, rounded up or down.
    mass = np.where(large, 0, p).sum(-1) / 0.05
    drawn = (said[..., :] == 0.05).sum(-1) - ((said == 0.05) & large).sum(-1)
    assert (np.abs(drawn - mass) < 1 + 1e-3).all()


def test_selected_entries_can_be_read_by_the_page(rows, stored):
    folder = stored(codec="selected", codec_options={"levels": 255, "cost": 1e-4})
    columns, settings = columns_of(folder), manifest_of(folder)["settings"]
    state = load_file(folder / f"state-{settings['state']}.safetensors")
    first = state["label.common"][planes(columns, "context")]
    tail = np.maximum((columns["label.tail"] / 255) ** 2, 1 / 12 / 255**2)
    counts = columns["label.others"]
    p, at = np.zeros((150, CLASSES)), 0
    for row, ranks in enumerate(ranks_of(planes(columns, "steps"), counts)):
        others = state["label.order"][first[row]][ranks]
        p[row, others] = (columns["label.levels"][at : at + len(ranks)] / 255) ** 2
        p[row, first[row]] = 1 - tail[row] - p[row].sum()
        spread = np.where(p[row] > 0, 0, np.exp(state["label.tail"].astype(np.float64)))
        p[row] += tail[row] * spread / spread.sum()
        at += len(ranks)
    _, samples, log_p = rows
    p = in_order(samples, columns["key"], p.reshape(50, 3, CLASSES))
    kl = (np.exp(log_p) * (log_p - np.log(p))).sum(-1).mean()
    assert kl == pytest.approx(manifest_of(folder)["card"]["kl_to_teacher"], rel=1e-3)


def test_steps_along_directions_can_be_read_by_the_page(rows, stored):
    folder = stored(codec="principal", codec_options={"step": 0.05, "components": 20})
    columns, settings = columns_of(folder), manifest_of(folder)["settings"]
    state = load_file(folder / f"state-{settings['state']}.safetensors")
    low = np.concatenate(
        [columns[f"label.low_{first}"].reshape(150, -1) for first in (0, 8, 16)], axis=1
    ).astype(np.int64)
    folded = low + 256 * columns["label.high"].reshape(150, 20).astype(np.int64)
    c = np.where(folded % 2, -(folded + 1) // 2, folded // 2)
    values = state["label.mean"] + 0.05 * c @ state["label.basis"].astype(np.float64)
    _, samples, log_p = rows
    values -= np.log(np.exp(values).sum(-1, keepdims=True))
    log_q = in_order(samples, columns["key"], values.reshape(50, 3, CLASSES))
    kl = (np.exp(log_p) * (log_p - log_q)).sum(-1).mean()
    assert kl == pytest.approx(manifest_of(folder)["card"]["kl_to_teacher"], rel=1e-3)
