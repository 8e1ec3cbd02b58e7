import errno
import json
import os
import resource
import shutil
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pyarrow as pa
import pytest
import torch

import limbeck.targets.asking._capture as capturing
import limbeck.targets.asking._learn as learning_rows
import limbeck.targets.asking._store as store
import limbeck.targets.encoding._encoder as encoder
import limbeck.targets.format._shard_writer as shard_writer
from limbeck._errors import (
    DataError,
    ModelError,
    OptionError,
    ShapeError,
    StorageError,
    TargetsError,
)
from limbeck._progress import Silence
from limbeck.data import ArraySamples
from limbeck.data._views import Views
from limbeck.signals import Dense, Head, Sparse
from limbeck.targets import Processes, TransferSet, capture, make_codec
from limbeck.targets.asking._capture import ASKED_AGAIN
from limbeck.targets.format._blocks import (
    CHECKSUM,
    FAITHFULNESS,
    MAGIC_BYTES,
    whole_blocks,
)
from limbeck.teachers import Teacher

pytestmark = pytest.mark.usefixtures("beside")


def read_all(targets, samples, view=0):
    return targets.read(targets.positions(samples.keys, view))


def raw_blocks(path):
    """The blocks of an open shard, with what is said of each, whatever that is."""
    with pa.memory_map(str(path)) as source:
        source.seek(MAGIC_BYTES)
        reader = pa.ipc.open_stream(source)
        while True:
            try:
                found = reader.read_next_batch_with_custom_metadata()
            except (StopIteration, pa.ArrowInvalid, OSError):
                return
            yield found.batch, dict(found.custom_metadata)


def leftovers(folder):
    return [path.name for path in folder.iterdir() if ".part" in path.name]


def test_stores_the_log_probabilities_of_the_live_teacher(teacher, samples, make, tmp_path):
    targets = capture(teacher, samples, tmp_path, codec="dense32", temperature=2.5)
    logits = torch.stack([torch.from_numpy(make.logits(x)) for x in samples.inputs.numpy()])
    got = read_all(targets, samples)["label"]
    assert isinstance(got, Dense)
    torch.testing.assert_close(got.values, (logits / 2.5).log_softmax(-1))
    assert got.temperature == targets.temperature == 2.5


@pytest.mark.parametrize("batch_size", [1, 7, 512])
def test_order_and_batch_size_do_not_matter(teacher, samples, make, tmp_path, batch_size):
    straight = capture(teacher, samples, tmp_path / "one")
    shuffled = samples.subset(torch.randperm(40, generator=torch.Generator().manual_seed(1)))
    other = capture(
        Teacher(make.asked(make.logits), [make.label]),
        shuffled,
        tmp_path / "two",
        batch_size=batch_size,
    )
    one, two = (read_all(targets, samples)["label"].values for targets in (straight, other))
    assert one.equal(two)
    assert straight.manifest.settings == other.manifest.settings


def test_samples_of_one_content_are_asked_and_stored_once(teacher, ask, samples, tmp_path):
    doubled = samples.subset(torch.arange(40).repeat(3))
    targets = capture(teacher, doubled, tmp_path, batch_size=16)
    assert ask.samples == 40
    assert targets.card.rows == 40
    first, second, third = read_all(targets, doubled)["label"].values.split(40)
    assert first.equal(second)
    assert first.equal(third)


def test_views_are_stored_and_replayed(ask, make, tmp_path):
    samples = make.samples(views=Views(shift=1, flip=True))
    targets = capture(Teacher(ask, [make.label]), samples, tmp_path, views=3, codec="dense32")
    assert (ask.samples, targets.views, targets.card.rows) == (120, 3, 120)
    aligned, index = targets.aligned(samples), torch.tensor([5, 0, 39])
    for view in range(3):
        inputs = samples.fetch(index, view).inputs.numpy()
        want = torch.stack([torch.from_numpy(make.logits(each)) for each in inputs])
        got = aligned.rows(index, view)["label"].values
        torch.testing.assert_close(got, (want / 4).log_softmax(-1))
    assert aligned.views == 3


def test_rows_of_a_sample_keep_their_axis(samples, make, tmp_path):
    def answer(x):  # (4, 5): a row for each line of the sample
        return np.stack([make.logits(line) for line in x])

    targets = capture(
        Teacher(make.asked(answer), [make.label]),
        samples,
        tmp_path,
        codec="topk",
        codec_options={"k": 2},
    )
    got = read_all(targets, samples)["label"]
    assert isinstance(got, Sparse)
    assert (got.ids.shape, got.probabilities.shape, got.tail.shape) == (
        (40, 4, 2),
        (40, 4, 2),
        (40, 4),
    )
    want = torch.stack([torch.from_numpy(answer(x)) for x in samples.inputs.numpy()])
    assert got.ids.long().equal(want.topk(2).indices)
    assert targets.manifest.rows_per_sample == {"label": 4}
    assert targets.card.rows == 160


def test_an_axis_of_one_row_is_kept_too(samples, make, tmp_path):
    asked = make.asked(lambda x: make.logits(x)[None])
    targets = capture(Teacher(asked, [make.label]), samples, tmp_path)
    assert read_all(targets, samples)["label"].values.shape == (40, 1, 5)


def test_several_heads_of_every_space(samples, tmp_path):
    heads = [
        Head(name="kind", space="categorical", size=3),
        Head(name="tags", space="binary", size=2),
        Head(name="price", space="real", size=1),
        Head(name="place", space="real", size=4),
    ]

    def answer(inputs):
        flat = inputs.reshape(len(inputs), -1)
        return {
            "kind": flat[:, :3] * 9,
            "tags": flat[:, 3:5] * 9 - 4,
            "price": flat[:, 5:6] * 1e3,
            "place": flat[:, 6:10],
        }

    targets = capture(Teacher(answer, heads), samples, tmp_path, codec="dense32", temperature=3.0)
    got, flat = read_all(targets, samples), samples.inputs.flatten(1)
    torch.testing.assert_close(got["kind"].values, (flat[:, :3] * 3).log_softmax(-1))
    torch.testing.assert_close(got["tags"].values, (flat[:, 3:5] * 9 - 4) / 3)
    assert got["price"].values.equal(flat[:, 5:6] * 1e3)
    assert got["place"].values.equal(flat[:, 6:10])
    assert [got[head.name].temperature for head in heads] == [3.0, 3.0, 1.0, 1.0]
    assert targets.heads == tuple(heads)
    assert targets.card.rows == 160
    assert targets.card.dense_bytes_per_row == 4 * (3 + 2 + 1 + 4) / 4


def test_probabilities_go_the_normalised_way(samples, tmp_path, make):
    def scores(x):
        return np.exp(make.logits(x)) * 7

    teacher = Teacher(make.asked(scores), [make.label], outputs="probabilities")
    targets = capture(teacher, samples, tmp_path, compress="normalised", codec="dense32")
    want = torch.stack([torch.from_numpy(make.logits(x)) for x in samples.inputs.numpy()])
    got = read_all(targets, samples)["label"].values
    torch.testing.assert_close(got, (want / 4).log_softmax(-1))


def test_the_card_is_measured_on_what_was_stored(teacher, samples, make, tmp_path):
    targets = capture(teacher, samples, tmp_path, codec="topk", codec_options={"k": 2})
    live = torch.stack([torch.from_numpy(make.logits(x)) for x in samples.inputs.numpy()]) / 4
    p, got = live.double().softmax(-1), read_all(targets, samples)["label"]
    kept = torch.cat([p.gather(1, got.ids.long()), torch.zeros(40, 1)], 1)
    kept[:, 2] = 1 - kept.sum(1)
    stored = torch.cat([got.probabilities.double(), got.tail.double()[:, None]], 1)
    want = (kept * (kept / stored).log()).sum(1).mean()
    card = targets.card
    assert card.kl_to_teacher == pytest.approx(want.item(), rel=1e-3)
    assert (card.agreement_with_teacher, card.biased) == (1.0, True)
    files = [path for path in tmp_path.iterdir() if path.suffix == ".arrow"]
    assert card.bytes == sum(path.stat().st_size for path in files)
    assert card.bytes_per_row == card.bytes / 40
    assert card.dense_bytes_per_row == 20


def test_of_many_samples_some_are_measured_chosen_by_their_keys(make, tmp_path, monkeypatch):
    monkeypatch.setattr(encoder, "_MEASURED_ROWS", 50)
    monkeypatch.setattr(encoder, "_LEAST_ROWS", 1)
    monkeypatch.setattr(encoder, "_MEASURED_AT_ONCE", 40)  # several lots of them
    samples = make.samples(400)
    teacher = Teacher(make.asked(make.logits), [make.label])
    card = capture(teacher, samples, tmp_path, codec="sqrt4").card
    chosen = samples.keys % np.uint64(400 // 50) == 0
    live = torch.stack([torch.from_numpy(make.logits(x)) for x in samples.inputs.numpy()]) / 4
    log_p = live.double().log_softmax(-1)
    log_q = read_all(TransferSet(tmp_path), samples)["label"].values.double().log_softmax(-1)
    want = (log_p.exp() * (log_p - log_q)).sum(1)[torch.from_numpy(chosen)].mean()
    assert (card.rows, card.rows_measured) == (400, chosen.sum())
    assert card.kl_to_teacher == pytest.approx(want.item(), rel=1e-4)


@pytest.mark.parametrize(
    ("samples", "rows", "size", "one_in"),
    [
        (4096, 1, 10, 1),  # all of a few
        (60_000, 1, 10, 60_000 // 4096),
        (10**7, 1, 10, 10**7 // 4096),
        (3400, 64, 18_328, 3400 * 64 // 1024),  # of a large vocabulary fewer
        (100, 5000, 10, 100 // 16),  # of no fewer samples than 16
        (10, 5000, 10, 1),
    ],
)
def test_what_is_measured_does_not_grow_with_what_is_stored(samples, rows, size, one_in):
    assert encoder._one_in(samples, rows, rows * size) == one_in


def test_a_codec_learns_from_fewer_rows_of_a_large_vocabulary(make, tmp_path, monkeypatch):
    monkeypatch.setattr(learning_rows, "_LEAST_FITTED_ROWS", 100)
    monkeypatch.setattr(learning_rows, "_FITTED_NUMBERS", 5 * 130)
    monkeypatch.setattr(learning_rows, "_KEPT_NUMBERS", 0)
    ask, samples = make.asked(make.logits), make.samples(400)
    capture(Teacher(ask, [make.label]), samples, tmp_path, codec="selected", batch_size=40)
    assert ask.samples == 400 + 130


@pytest.mark.parametrize("codec", ["selected", "threshold"])
def test_what_a_codec_learns_from_is_stored_and_not_asked_again(make, tmp_path, monkeypatch, codec):
    monkeypatch.setattr(learning_rows, "FITTED_ROWS", 50)
    drawn = make.samples(120).fetch(torch.arange(120)).inputs
    twice = ArraySamples(torch.cat([drawn, drawn[:40]]), {})
    heads = [Head(name=name, space="categorical", size=5) for name in ("one", "other")]
    ask = make.asked(make.logits)

    def answer(inputs):
        said = ask(inputs)
        return {"one": said, "other": -said}

    first = tmp_path / "first"
    made = capture(Teacher(answer, heads), twice, first, codec=codec, batch_size=40)
    assert ask.samples == 120
    assert made.card.rows == 2 * 120
    again = capture(Teacher(answer, heads), twice, tmp_path / "again", like=first, batch_size=7)
    index = torch.arange(160)
    for name in ("one", "other"):
        one = made.aligned(twice).rows(index)[name]
        other = again.aligned(twice).rows(index)[name]
        assert one.ids.equal(other.ids)
        assert one.probabilities.equal(other.probabilities)


def test_numbers_have_no_kl(samples, tmp_path):
    teacher = Teacher(lambda x: x.reshape(len(x), -1)[:, :1], [Head(space="real", size=1)])
    card = capture(teacher, samples, tmp_path).card
    assert (card.kl_to_teacher, card.agreement_with_teacher) == (None, None)
    assert not card.biased


def test_a_finished_capture_returns_at_once(teacher, ask, samples, stored):
    before = (stored / "manifest.json").read_bytes()
    assert capture(teacher, samples, stored).card.rows == 40
    assert ask.samples == 40 + ASKED_AGAIN
    assert (stored / "manifest.json").read_bytes() == before


def test_another_callable_of_the_same_name_is_refused(samples, make, tmp_path):
    def asked(answer):
        return Teacher(lambda x: np.stack([answer(one) for one in x]), [make.label])

    first, other = asked(make.logits), asked(lambda x: make.logits(x)[..., ::-1].copy())
    assert first.fingerprint == other.fingerprint  # their names are one
    capture(first, samples, tmp_path / "set")
    with pytest.raises(TargetsError, match="not what the teacher says now"):
        capture(other, samples, tmp_path / "set")
    stopped = make.asked(make.logits, stop_after=2)
    with pytest.raises(KeyboardInterrupt):
        capture(Teacher(stopped, [make.label]), samples, tmp_path / "half", batch_size=8)
    reverse = make.asked(lambda x: make.logits(x)[..., ::-1].copy())
    with pytest.raises(TargetsError, match="not what the teacher says now"):
        capture(Teacher(reverse, [make.label]), samples, tmp_path / "half", batch_size=8)
    assert not (tmp_path / "half" / "manifest.json").exists()


def test_an_interrupted_capture_goes_on_to_the_same_rows(samples, make, tmp_path):
    whole = capture(Teacher(make.asked(make.logits), [make.label]), samples, tmp_path / "whole")
    stopped = make.asked(make.logits, stop_after=2)
    with pytest.raises(KeyboardInterrupt):
        capture(Teacher(stopped, [make.label]), samples, tmp_path / "set", batch_size=8)
    assert not (tmp_path / "set" / "manifest.json").exists()
    assert leftovers(tmp_path / "set") == []
    with pytest.raises(TargetsError, match=r"no whole transfer set.*capture it again"):
        TransferSet(tmp_path / "set")
    again = make.asked(make.logits)
    resumed = capture(Teacher(again, [make.label]), samples, tmp_path / "set", batch_size=8)
    assert (stopped.samples, again.samples) == (16, 24 + ASKED_AGAIN)
    one, two = (read_all(targets, samples)["label"].values for targets in (whole, resumed))
    assert one.equal(two)
    assert resumed.card.kl_to_teacher == pytest.approx(whole.card.kl_to_teacher)


@pytest.fixture
def killed(samples, make, tmp_path, monkeypatch):
    """What a kill after three blocks of 8 would leave in a folder, and the whole set."""
    monkeypatch.setattr(shard_writer, "BLOCK_ROWS", 8)  # a block for each batch
    going, left = tmp_path / "going", tmp_path / "killed"

    def copy_what_a_kill_would_leave(sample):
        if asked.batches == 4 and not left.exists():
            wait_until(lambda: sum(1 for _ in whole_blocks(*only_leftover(going))) == 3)
            shutil.copytree(going, left)
        return make.logits(sample)

    asked = make.asked(copy_what_a_kill_would_leave)
    whole = capture(Teacher(asked, [make.label]), samples, going, batch_size=8)
    return left, whole


@pytest.mark.parametrize("torn", [0, 5, 400])
def test_whole_blocks_of_an_open_shard_are_kept(samples, make, killed, torn):
    killed, whole = killed
    path, _ = only_leftover(killed)
    path.write_bytes(path.read_bytes()[: -torn or None])
    (killed / ".shard-00007.1.part").write_bytes(b"of another process")
    again = make.asked(make.logits)
    resumed = capture(Teacher(again, [make.label]), samples, killed, batch_size=8)
    # What is torn costs the last whole block, no more.
    assert again.samples == (24 if torn else 16) + ASKED_AGAIN
    assert leftovers(killed) == []
    one, two = (read_all(targets, samples)["label"].values for targets in (whole, resumed))
    assert one.equal(two)


@pytest.mark.parametrize("what", ["kl", "checksum"])
def test_a_block_that_says_something_else_than_was_written_is_asked_again(
    samples, make, killed, what
):
    killed, whole = killed
    path, schema = only_leftover(killed)
    blocks = [metadata for _, metadata in raw_blocks(path)]
    said = blocks[1][FAITHFULNESS if what == "kl" else CHECKSUM]
    if what == "kl":
        start = said.index(b'"kl":') + 5
        other = (
            said[:start] + (b"7" if said[start : start + 1] != b"7" else b"8") + said[start + 1 :]
        )
    else:
        other = said[::-1]
    raw = path.read_bytes()
    assert raw.count(said) == 1
    path.write_bytes(raw.replace(said, other))
    assert sum(1 for _ in whole_blocks(path, schema)) == 1
    again = make.asked(make.logits)
    resumed = capture(Teacher(again, [make.label]), samples, killed, batch_size=8)
    assert again.samples == 32 + ASKED_AGAIN
    one, two = (read_all(targets, samples)["label"].values for targets in (whole, resumed))
    assert one.equal(two)
    assert resumed.card.kl_to_teacher == pytest.approx(whole.card.kl_to_teacher)


def test_blocks_that_were_kept_already_are_not_kept_twice(samples, make, tmp_path, monkeypatch):
    monkeypatch.setattr(shard_writer, "BLOCK_ROWS", 8)
    stopped = make.asked(make.logits, stop_after=2)
    with pytest.raises(KeyboardInterrupt):
        capture(Teacher(stopped, [make.label]), samples, tmp_path, batch_size=8)
    shard = next(tmp_path.glob("shard-*.arrow"))
    shutil.copy(shard, tmp_path / ".shard-00000.0123456789abcdef.part")
    again = make.asked(make.logits)
    resumed = capture(Teacher(again, [make.label]), samples, tmp_path, batch_size=8)
    assert again.samples == 24 + ASKED_AGAIN
    assert resumed.verify() == 40


def only_leftover(folder):
    """The one open shard of a folder, and its schema."""
    path = next(folder.glob(".shard-*.part"))
    with pa.memory_map(str(path)) as source:
        source.seek(8)
        return path, pa.ipc.open_stream(source).schema


def wait_until(is_so):
    end = time.monotonic() + 10
    while not is_so():
        assert time.monotonic() < end, "nothing came of it in 10 s"
        time.sleep(0.001)


def test_two_captures_into_one_folder_are_refused(samples, make, tmp_path):
    def answer(sample):
        if asked.batches == 1:
            with pytest.raises(StorageError, match=r"another process is writing to .*set\. Wait"):
                capture(Teacher(make.asked(make.logits), [make.label]), samples, tmp_path / "set")
        return make.logits(sample)

    asked = make.asked(answer)
    assert capture(Teacher(asked, [make.label]), samples, tmp_path / "set").verify() == 40


def test_the_manifest_is_made_again_from_the_shards(teacher, ask, samples, stored):
    before = (stored / "manifest.json").read_bytes()
    (stored / "manifest.json").unlink()
    capture(teacher, samples, stored)
    assert (stored / "manifest.json").read_bytes() == before
    assert ask.samples == 40 + ASKED_AGAIN


def test_a_lost_shard_alone_is_asked_again(samples, make, tmp_path, monkeypatch):
    monkeypatch.setattr(shard_writer, "SHARD_SECONDS", 0.0)
    monkeypatch.setattr(shard_writer, "BLOCK_ROWS", 10)
    asked = make.asked(make.logits)
    teacher = Teacher(asked, [make.label])
    before = capture(teacher, samples, tmp_path, batch_size=10)
    want = read_all(before, samples)["label"].values
    (tmp_path / before.manifest.shards[1].file).unlink()
    with pytest.raises(TargetsError, match=r"shard-00001-.* is missing from"):
        capture(teacher, samples, tmp_path)
    (tmp_path / "manifest.json").unlink()
    after = capture(teacher, samples, tmp_path)
    assert asked.samples == 50 + ASKED_AGAIN
    assert read_all(after, samples)["label"].values.equal(want)


def test_shards_are_closed_when_they_are_large(teacher, samples, tmp_path, monkeypatch):
    monkeypatch.setattr(shard_writer, "SHARD_BYTES", 1)
    monkeypatch.setattr(shard_writer, "BLOCK_ROWS", 10)
    targets = capture(teacher, samples, tmp_path, batch_size=10)
    assert [shard.samples for shard in targets.manifest.shards] == [10, 10, 10, 10]


def test_blocks_hold_some_thousand_rows(tmp_path, make):
    samples = ArraySamples(torch.arange(9000.0)[:, None], {})
    teacher = Teacher(
        lambda x: np.concatenate([x % 7 - 2, -x % 3], 1), [Head(space="categorical", size=2)]
    )
    targets = capture(teacher, samples, tmp_path, batch_size=9000)
    with pa.ipc.open_file(tmp_path / targets.manifest.shards[0].file) as reader:
        sizes = [reader.get_batch(i).num_rows for i in range(reader.num_record_batches)]
    assert sum(sizes) == 9000
    assert max(sizes) < 2 * shard_writer.BLOCK_ROWS


def test_blocks_of_long_rows_hold_few(teacher, samples, tmp_path, monkeypatch):
    monkeypatch.setattr(shard_writer, "BLOCK_BYTES", 8 * (8 + 4 + 2 * 5))  # of 8 samples
    monkeypatch.setattr(store, "LOT_NUMBERS", 4 * 5)  # of one batch
    targets = capture(teacher, samples, tmp_path, batch_size=4)
    with pa.ipc.open_file(tmp_path / targets.manifest.shards[0].file) as reader:
        sizes = [reader.get_batch(i).num_rows for i in range(reader.num_record_batches)]
    assert sizes == [8] * 5


def test_any_arrow_reader_reads_the_shards(stored, samples, make):
    said = json.loads((stored / "manifest.json").read_text())
    assert said["format"] == 2
    assert said["settings"]["heads"][0]["classes"] == ["ant", "bee", "cat", "dog", "eel"]
    table = pa.concat_tables(
        pa.ipc.open_file(stored / shard["file"]).read_all() for shard in said["shards"]
    )
    assert table.column_names == ["key", "view", "label.values"]
    by_key = dict(zip(table["key"].to_pylist(), table["label.values"].to_pylist(), strict=True))
    for key, x in zip(samples.keys.tolist(), samples.inputs.numpy(), strict=True):
        z = make.logits(x).astype(float) / 4
        want = z - np.log(np.exp(z).sum())
        np.testing.assert_allclose(by_key[key], want, rtol=2**-10, atol=1e-6)
    assert json.loads(table.schema.metadata[b"limbeck.settings"]) == said["settings"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"temperature": 2.0}, r"temperature: expected 2\.0, got 4\.0"),
        ({"codec": "dense32"}, r'codec: expected "dense32", got "dense16"'),
        ({"codec": "topk", "codec_options": {"k": 2}}, r'codec_options: expected \{"k": 2\}'),
        ({"views": 2}, r"views: expected 2, got 1"),
    ],
)
@pytest.mark.parametrize("finished", [True, False])
def test_rows_of_other_settings_never_mix(teacher, samples, stored, change, message, finished):
    if not finished:
        (stored / "manifest.json").unlink()
    with pytest.raises(TargetsError, match=rf"something else: .*{message}.*another folder"):
        capture(teacher, samples, stored, **change)


def test_rows_of_another_teacher_or_data_never_mix(teacher, samples, stored, make):
    linear = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(16, 5))
    with pytest.raises(TargetsError, match=r"teacher: expected \w{16} \(Sequential\), got .*asked"):
        capture(Teacher(linear, [make.label]), samples, stored)
    with pytest.raises(TargetsError, match=r"data: expected"):
        capture(teacher, make.samples(seed=1), stored)
    with pytest.raises(TargetsError, match=r'transform: expected "shift=2 flip=false'):
        capture(teacher, make.samples(views=Views(shift=2)), stored)


def test_a_torch_module_is_asked_too(samples, make, tmp_path):
    linear = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(16, 5))
    targets = capture(Teacher(linear, [make.label]), samples, tmp_path, codec="dense32")
    assert targets.manifest.settings.teacher.name == "Sequential"
    with torch.no_grad():
        want = (linear(samples.inputs) / 4).log_softmax(-1)
    torch.testing.assert_close(read_all(targets, samples)["label"].values, want)


def test_progress_counts_every_sample_once(samples, make, tmp_path):
    class Seen:
        steps = 0

        def start(self, name, total):
            self.name, self.total = name, total

        def advance(self, steps, **numbers):
            self.steps += steps

    with pytest.raises(KeyboardInterrupt):
        capture(Teacher(make.asked(make.logits, 2), [make.label]), samples, tmp_path, batch_size=8)
    seen = Seen()
    capture(Teacher(make.asked(make.logits), [make.label]), samples, tmp_path, progress=seen)
    assert (seen.name, seen.total, seen.steps) == ("targets", 40, 40)


def test_probabilities_as_logits_are_refused_before_anything_is_stored(samples, make, tmp_path):
    def probabilities(x):
        z = np.exp(make.logits(x))
        return z / z.sum()

    with pytest.raises(ModelError, match=r"look like probabilities.*normalised"):
        capture(Teacher(make.asked(probabilities), [make.label]), samples, tmp_path)
    assert list(tmp_path.iterdir()) == []
    said = Teacher(make.asked(probabilities), [make.label], outputs="probabilities")
    with pytest.raises(OptionError, match=r'compress must be "normalised"'):
        capture(said, samples, tmp_path)


def test_a_wrong_class_count_is_the_teachers_own_error(ask, samples, tmp_path):
    with pytest.raises(ShapeError, match=r"teacher must answer 6 classes for head label"):
        capture(Teacher(ask, [Head(space="categorical", size=6)]), samples, tmp_path)


def test_refuses_answers_whose_rows_change(samples, make, tmp_path):
    def changing(inputs):
        logits = np.stack([make.logits(x) for x in inputs])
        return np.stack([logits] * len(inputs), 1)

    with pytest.raises(ModelError, match=r"expected \(8, 16, 5\), got \(8, 8, 5\)"):
        capture(Teacher(changing, [make.label]), samples, tmp_path, batch_size=16)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"temperature": 0.0}, r"temperature must be above 0"),
        ({"temperature": "2"}, r"temperature must be above 0 and finite, got '2'"),
        ({"views": 0}, r"views must be a whole number, 1 or more, got 0"),
        ({"views": 1.0}, r"views must be a whole number, 1 or more, got 1\.0"),
        ({"batch_size": 0}, r"batch_size must be a whole number, 1 or more, got 0"),
        ({"batch_size": 2.5}, r"batch_size must be a whole number, 1 or more, got 2\.5"),
        ({"codec": "auto", "budget": 16}, r'budget must be .* "16 B/row" .*, got 16'),
        ({"codec": "auto", "max_kl": "1e-3"}, r"max_kl must be above 0 and finite, got '1e-3'"),
        ({"codec": make_codec("sqrt8", {})}, r"codec must be a name, got SquareRoot\("),
        ({"codec": "topk", "codec_options": ["k"]}, r"codec_options must be .*, got \['k'\]"),
        ({"compress": "hard"}, r"compress must be one of"),
        ({"codec": "hard"}, r"codec must be one of"),
        ({"codec": "topk", "codec_options": {"k": 6}}, r"at most the 5 classes"),
    ],
)
def test_refuses_options_before_anything_is_made(teacher, ask, samples, tmp_path, options, message):
    with pytest.raises(OptionError, match=message):
        capture(teacher, samples, tmp_path / "set", **options)
    assert not (tmp_path / "set").exists()
    assert ask.batches == 0


def test_counts_may_be_numpys(teacher, samples, tmp_path):
    made = capture(teacher, samples, tmp_path, views=np.int64(1), batch_size=np.int64(7))
    assert made.views == 1


def test_refuses_no_samples(teacher, samples, tmp_path):
    with pytest.raises(DataError, match=r"no samples"):
        capture(teacher, samples.subset(torch.arange(0)), tmp_path)


def test_a_full_disk_at_the_sync_keeps_what_is_whole(teacher, ask, samples, tmp_path, monkeypatch):
    def full(number):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(StorageError, match=r"no room left\. Free some space"):
            capture(teacher, samples, tmp_path)
    assert list(tmp_path.glob("shard-*")) == []
    assert capture(teacher, samples, tmp_path).verify() == 40
    assert ask.samples == 40 + ASKED_AGAIN
    assert leftovers(tmp_path) == []


def test_a_disk_that_fills_while_arrow_writes_keeps_what_is_whole(samples, make, tmp_path):
    first = make.asked(make.logits)
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)

    def answer(x):
        if first.batches == 3:  # from now on no file may grow beyond what fits the shards so far
            wait_until(lambda: len(list(tmp_path.glob("shard-*.arrow"))) == 2)
            resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limit[1]))
        return make.logits(x)

    first.answer = answer
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shard_writer, "SHARD_SECONDS", 0.0)
        patch.setattr(shard_writer, "BLOCK_ROWS", 8)
        try:
            with pytest.raises(StorageError, match=r"no room left"):
                capture(Teacher(first, [make.label]), samples, tmp_path, batch_size=8)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    assert leftovers(tmp_path) == []
    assert len(list(tmp_path.glob("shard-*.arrow"))) == 2
    again = make.asked(make.logits)
    assert capture(Teacher(again, [make.label]), samples, tmp_path).card.rows == 40
    assert again.samples == 24 + ASKED_AGAIN


def test_a_file_in_the_folders_place_is_named(teacher, samples, tmp_path):
    (tmp_path / "set").write_text("mine")
    with pytest.raises(StorageError, match=r"cannot write .*set: a file or folder"):
        capture(teacher, samples, tmp_path / "set")


class Watched(Silence):
    """Keeps the numbers that it is told."""

    def __init__(self):
        self.told = []

    def advance(self, steps, **numbers):
        if numbers:
            self.told.append((steps, numbers))


def test_whoever_watches_is_told_rows_a_second_and_bytes_that_grow(make, tmp_path, monkeypatch):
    monkeypatch.setattr(shard_writer, "BLOCK_ROWS", 16)
    texts = ArraySamples(torch.arange(480.0).reshape(40, 4, 3), {})
    watched, linear = Watched(), torch.nn.Linear(3, 5)

    def answer(inputs):
        time.sleep(0.05)
        return linear(torch.from_numpy(inputs)).detach().numpy()

    begun = time.monotonic()
    capture(Teacher(answer, [make.label]), texts, tmp_path, batch_size=8, progress=watched)
    seconds = time.monotonic() - begun
    assert [steps for steps, _ in watched.told] == [8] * 5
    rate = watched.told[-1][1]["rows/s"]
    assert 160 / seconds < rate <= 160 / 0.25  # 40 samples of 4 rows, five batches
    sizes = [numbers["MB"] for _, numbers in watched.told]
    assert sizes == sorted(sizes)
    assert sizes[-1] > 0  # of a shard that is still open


def test_what_was_learned_for_rows_that_were_never_stored_is_forgotten(
    make, samples, tmp_path, learning
):
    (tmp_path / "state-0000000000000000.safetensors").write_bytes(b"of a capture that was killed")
    targets = capture(
        Teacher(make.asked(make.logits), [make.label]), samples, tmp_path, codec=learning
    )
    assert targets.verify() == 40
    names = [path.name for path in tmp_path.glob("state-*")]
    assert names == [f"state-{targets.manifest.settings.state}.safetensors"]


def test_nobody_adds_a_shard_before_every_process_has_seen_the_same_ones(
    make, samples, tmp_path, monkeypatch
):
    """The second one looks late. What it finds decides which samples are its part."""
    barrier, look = threading.Barrier(2, timeout=20), capturing.whole_shards
    monkeypatch.setattr(shard_writer, "SHARD_SECONDS", 0.0)
    monkeypatch.setattr(shard_writer, "BLOCK_ROWS", 5)

    def look_late(folder):
        if threading.current_thread().name.endswith("_1"):
            end = time.monotonic() + 0.5
            while not any(folder.glob("shard-*")) and time.monotonic() < end:
                time.sleep(0.01)
        return look(folder)

    def ask_as(index):
        asked = make.asked(make.logits)
        processes = Processes(index=index, count=2, wait=barrier.wait)
        teacher = Teacher(asked, [make.label])
        try:
            capture(teacher, samples, tmp_path, batch_size=5, processes=processes)
        except BaseException:
            barrier.abort()
            raise
        return asked.samples

    monkeypatch.setattr(capturing, "whole_shards", look_late)
    with ThreadPoolExecutor(2, "process") as threads:
        assert list(threads.map(ask_as, range(2))) == [20, 20]
    assert TransferSet(tmp_path).verify() == 40


def test_of_several_processes_the_first_chooses_the_codec_for_all(make, samples, tmp_path):
    shared, before = [], []

    def first(own):
        shared.append(own)
        return own

    def second(own):
        before.append(own)
        return shared[0]

    asked = make.asked(make.logits)
    auto = {"codec": "auto", "max_kl": 0.01, "temperature": 1.0}
    teacher = Teacher(asked, [make.label])
    capture(teacher, samples, tmp_path, processes=Processes(share=first), **auto)
    assert shared[0].chosen_by == "max_kl 0.01"
    found = capture(
        teacher, samples, tmp_path, processes=Processes(index=1, count=2, share=second), **auto
    )
    assert [own.chosen_by for own in before] == [""]
    assert found.manifest.settings.codec == shared[0].codec != "dense16"
