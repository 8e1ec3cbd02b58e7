"""docs/targets.md is enough to read a transfer set, with Arrow and numpy and nothing of ours."""

import hashlib
import json

import numpy as np
import pyarrow as pa
import pytest
import torch
import xxhash
from hypothesis import example, given
from hypothesis import strategies as st
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


@pytest.fixture
def stored_of(tmp_path):
    """Stores what another head says, of one row a sample: the folder, the samples, and the logits.

    At temperature 2; `change` is done to logits first.
    """

    def store(head, codec, change=lambda logits: logits, **options):
        drawn = torch.rand(50, 8, generator=torch.Generator().manual_seed(0))
        weight = torch.randn(8, head.size, generator=torch.Generator().manual_seed(1)) * 3
        samples = ArraySamples(drawn, {})

        def asked(inputs):
            return change(inputs @ weight.numpy())

        capture(
            Teacher(asked, [head]),
            samples,
            tmp_path,
            temperature=2.0,
            codec=codec,
            codec_options=options,
        )
        return tmp_path, samples, asked(drawn.numpy()).astype(np.float64)

    return store


def written(value):
    """A value of JSON in the characters that the page states, keys sorted, by no writer of JSON."""
    if isinstance(value, dict):
        inside = [f"{written(key)}: {written(value[key])}" for key in sorted(value)]
        return "{" + ", ".join(inside) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(written, value)) + "]"
    if isinstance(value, str):
        return '"' + "".join(map(written_in_text, value)) + '"'
    if isinstance(value, float):
        return written_float(value)
    return str(value) if type(value) is int else {None: "null", True: "true", False: "false"}[value]


def written_in_text(character):
    short = {'"': '"', "\\": "\\", "\n": "n", "\r": "r", "\t": "t", "\b": "b", "\f": "f"}
    if character in short:
        return "\\" + short[character]
    return f"\\u{ord(character):04x}" if character < " " else character


def written_float(value):
    digits, exponent = np.format_float_scientific(value, trim="-").split("e")
    if value == 0 or 1e-4 <= abs(value) < 1e16:
        return np.format_float_positional(value, trim="0")
    return f"{digits}e{int(exponent):+03d}"


texts = st.text(st.characters(codec="utf-8"))
numbers = st.integers() | st.floats(allow_nan=False, allow_infinity=False)
values = st.recursive(
    st.none() | st.booleans() | numbers | texts,
    lambda inner: st.lists(inner) | st.dictionaries(texts, inner),
)


@given(values)
@example([1e-4, 9.999e-5, 1e-05, 5e-324, 9999999999999998.0, 1e16, 1.5e300, 4.0, -0.0])
@example({"\uffff": {}, "\U00010000": [], "\x7f\x1f\u2028": '"\\/\b'})
def test_the_page_says_to_the_letter_what_a_manifests_checksum_is_of(value):
    assert written(value) == json.dumps(value, sort_keys=True, ensure_ascii=False)


def manifest_of(folder):
    """The manifest, held to its checksum as the page says."""
    said = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    checksum = said.pop("checksum")
    assert hashlib.sha256(written(said).encode()).hexdigest()[:16] == checksum
    return said


def learned_of(folder):
    """What the codec learned of the only head, by the tensors' own names."""
    checksum = manifest_of(folder)["settings"]["state"]
    path = folder / f"state-{checksum}.safetensors"
    assert xxhash.xxh3_64(path.read_bytes()).hexdigest() == checksum
    return {name.removeprefix("label."): part for name, part in load_file(path).items()}


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


@pytest.mark.parametrize(
    ("codec", "levels"),
    [("sqrt5", 31), ("sqrt6", 63), ("sqrt8", 254), ("sqrt10", 1023), ("sqrt12", 4095)],
)
def test_a_square_root_grid_can_be_read_by_the_page(rows, stored, codec, levels):
    folder = stored(codec=codec)
    columns = columns_of(folder)
    _, samples, log_p = rows
    p = np.maximum((columns["label.levels"] / levels) ** 2, 1 / (12 * levels**2))
    p = p.reshape(50, 3, CLASSES)
    p = in_order(samples, columns["key"], p / p.sum(-1, keepdims=True))
    kl = (np.exp(log_p) * (log_p - np.log(p))).sum(-1).mean()
    assert kl == pytest.approx(manifest_of(folder)["card"]["kl_to_teacher"], rel=2e-3)
    assert 0 < kl < 1.1 * CLASSES / (6 * levels**2)


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


def log_softmax(values):
    return values - np.log(np.exp(values).sum(-1, keepdims=True))


def without_the_last(logits):
    """Logits that give the last class no probability."""
    return np.concatenate([logits[:, :-1], np.full_like(logits[:, :1], -np.inf)], axis=1)


def test_every_entry_in_half_precision_can_be_read_by_the_page(stored_of):
    head = Head(space="categorical", size=30)
    folder, samples, logits = stored_of(head, "dense16", without_the_last)
    columns = columns_of(folder)
    values = columns["label.values"].reshape(50, 30).astype(np.float64)
    found = in_order(samples, columns["key"], values)
    assert (found[:, -1] == -65504).all()
    log_p = log_softmax(logits[:, :-1] / 2)
    assert (np.abs(found[:, :-1] - log_p) <= 2**-11 * np.abs(log_p) + 1e-6).all()


def test_steps_of_numbers_can_be_read_by_the_page(stored_of):
    folder, samples, numbers = stored_of(Head(space="real", size=30), "real8")
    columns, learned = columns_of(folder), learned_of(folder)
    values = learned["low"] + columns["label.levels"].reshape(50, 30) * learned["step"]
    found = in_order(samples, columns["key"], values)
    seen = numbers.max(0) - numbers.min(0)
    assert (np.abs(found - numbers) <= seen * 1.25 / 510 + 1e-5).all()


@pytest.mark.parametrize("levels", [20, 254, 300])
def test_angles_of_binary_heads_can_be_read_by_the_page(stored_of, levels):
    codec, options = ("sqrt8", {}) if levels == 254 else ("sqrt", {"levels": levels})
    folder, samples, logits = stored_of(Head(space="binary", size=30), codec, **options)
    columns = columns_of(folder)
    level = columns["label.levels"].reshape(50, 30).astype(np.float64)
    level = np.where(level == 0, 0.25, np.where(level == levels, levels - 0.25, level))
    p = in_order(samples, columns["key"], np.sin(level / levels * np.pi / 2) ** 2)
    live = 1 / (1 + np.exp(-logits / 2))
    angle = np.arcsin(np.sqrt(live)) - np.arcsin(np.sqrt(p))
    assert (np.abs(angle) <= np.pi / 4 / levels + 1e-6).all()
    no = -live * np.log(p / live) - (1 - live) * np.log((1 - p) / (1 - live))
    kl = manifest_of(folder)["card"]["kl_to_teacher"]
    assert no.sum(-1).mean() == pytest.approx(kl, rel=1e-3)


def test_the_most_probable_classes_can_be_read_by_the_page(rows, stored):
    columns = columns_of(stored(codec="topk", codec_options={"k": 7}))
    _, samples, log_p = rows
    ids, named = (
        in_order(samples, columns["key"], columns[f"label.{part}"].reshape(50, 3, 7))
        for part in ("ids", "probabilities")
    )
    tail = in_order(samples, columns["key"], columns["label.tail"].reshape(50, 3))
    p = np.exp(log_p)
    largest = -np.sort(-p, axis=-1)[..., :7]
    assert (np.abs(named - np.take_along_axis(p, ids.astype(int), -1)) <= 2**-10 * largest).all()
    assert (np.abs(np.take_along_axis(p, ids.astype(int), -1) - largest) <= 1e-6).all()
    assert (np.abs(named.astype(np.float64).sum(-1) + tail - 1) < 1e-6).all()


@pytest.mark.parametrize("temperature", [2.0, 0.5])
def test_threshold_samples_can_be_read_at_another_temperature_by_the_page(
    rows, stored, temperature
):
    options = {"tau": 0.05, "levels": 200, "temperatures": [3.0, temperature]}
    folder = stored(codec="threshold", codec_options=options)
    columns, order = columns_of(folder), learned_of(folder)["order"]
    _, samples, log_p = rows
    largest = (1 - 1 / temperature) * np.log(CLASSES)
    log_z = columns["label.log_normalisers"].reshape(150, 2)[:, 1] / 65535 * largest
    said, own = np.zeros((2, 150, CLASSES))
    for name in ("kept", "drawn"):
        levels, at = columns[f"label.{name}_levels"].astype(np.float64), 0
        steps = planes(columns, f"{name}_steps")
        for row, ranks in enumerate(ranks_of(steps, columns[f"label.{name}"])):
            level = levels[at : at + len(ranks)]
            p = (level / 200) ** 2 if name == "kept" else 0.05 * np.exp(-level / 12)
            value = p if name == "kept" else 0.05
            said[row, order[ranks]] = value / p * np.exp(np.log(p) / temperature - log_z[row])
            own[row, order[ranks]] = p
            at += len(ranks)
    said, own = (
        in_order(samples, columns["key"], each.reshape(50, 3, CLASSES)) for each in (said, own)
    )
    log_z = in_order(samples, columns["key"], log_z.reshape(50, 3))
    exact = np.log(np.exp(log_p / temperature).sum(-1))
    assert (np.abs(log_z - exact) <= np.abs(largest) / 65535).all()
    kept = np.exp(log_p) >= 0.05
    is_drawn = (own > 0) & ~kept
    assert (np.abs(np.log(own[is_drawn]) - log_p[is_drawn]) <= 1 / 24 + 1e-5).all()
    want = np.exp(log_p / temperature - exact[..., None])
    near = 2 / temperature / 200 / np.sqrt(0.05)
    assert (np.abs(said[kept] / want[kept] - 1) <= 1.3 * near).all()
    mass = np.where(kept, 0, said).sum(-1)
    assert mass.mean() == pytest.approx(np.where(kept, 0, want).sum(-1).mean(), rel=0.05)


@pytest.mark.parametrize("space", ["categorical", "real"])
def test_steps_along_the_directions_of_many_numbers_can_be_read_by_the_page(stored_of, space):
    change = without_the_last if space == "categorical" else np.copy
    options = {"step": 0.05, "components": 20}
    head = Head(space=space, size=2100)
    folder, samples, logits = stored_of(head, "principal", change, **options)
    columns, learned = columns_of(folder), learned_of(folder)
    low = np.concatenate([columns[f"label.low_{at}"].reshape(50, -1) for at in (0, 8, 16)], axis=1)
    high = columns["label.high"].reshape(50, 20)
    folded = low.astype(np.int64) + 256 * high.astype(np.int64)
    c = np.where(folded % 2, -(folded + 1) // 2, folded // 2)
    values = (
        learned["mean"] + 0.05 * c @ learned["directions"].astype(np.float64) / learned["scale"]
    )
    found = in_order(samples, columns["key"], values)
    card = manifest_of(folder)["card"]
    if space == "real":
        off = np.abs(found - logits) / np.maximum(np.abs(logits), 1)
        assert off.max() == pytest.approx(card["largest_difference"], rel=1e-3)
        return
    assert (found[:, -1] == -np.inf).all()
    log_p, log_q = (log_softmax(each[:, :-1]) for each in (logits / 2, found))
    kl = (np.exp(log_p) * (log_p - log_q)).sum(-1).mean()
    assert kl == pytest.approx(card["kl_to_teacher"], rel=1e-3)
