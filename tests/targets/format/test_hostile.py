"""What somebody wrote who means harm: refused by name, whatever it says, and never acted on."""

import json
import math
import resource
import shutil
import struct
from contextlib import contextmanager, nullcontext
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
import xxhash
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import limbeck.targets.format._blocks as blocks
import limbeck.targets.format._state_file as state_file
import limbeck.targets.reading._transfer_set as transfer_set
from limbeck._errors import TargetsError
from limbeck._files import file_hash
from limbeck.signals import Dense, Head
from limbeck.targets import Faithfulness, TransferSet, capture, data_fingerprint, make_codec
from limbeck.targets.format._announced import Announced, announced
from limbeck.targets.format._blocks import SETTINGS_KEY, block_of, parts_of, shard_schema
from limbeck.targets.format._from_shards import manifest_of
from limbeck.targets.format._manifest import HeadRecord, Settings, TeacherRecord, manifest_text
from limbeck.targets.format._shards import begun, open_shard, whole_shards
from tests.targets.codecs.conftest import without_numba

quickly = settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
MIB = 1 << 20


@contextmanager
def little_memory(size=512 * MIB):
    """No more than so many bytes beyond what the process has."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


def refusal(opened):
    """What a refusal says, "" if it is opened."""
    try:
        with little_memory():
            opened()
    except TargetsError as error:
        return str(error)
    return ""


@pytest.fixture
def only_inside(monkeypatch, tmp_path):
    """Fails when a file is named that is not of the transfer set's own folder."""

    def open_inside(path, **options):
        assert path.parent.resolve() == path.resolve().parent == (tmp_path / "set")
        return open_shard(path, **options)

    def state_inside(folder, checksum, inner=state_file.state_path):
        path = inner(folder, checksum)
        assert path.resolve().parent == (tmp_path / "set")
        return path

    monkeypatch.setattr(transfer_set, "open_shard", open_inside)
    monkeypatch.setattr(state_file, "state_path", state_inside)


names = st.sampled_from(
    ["../x", "/etc/passwd", "a/b", "\0", "\ud800", "", "..", "shard-00000-0123456789abcdef.arrow"]
)
numbers = st.sampled_from(
    [0, -1, 1, 2, 10**12, 2**31, 2**63, 2**64, 10**400, 0.5, 1e308, -0.0, math.nan, math.inf]
)
leaves = st.none() | st.booleans() | numbers | st.integers() | st.floats() | names | st.text()
values = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(names, inner, max_size=2),
    max_leaves=3,
)


def places(said, path=()):
    """Every path in some JSON."""
    yield path
    inner = said.items() if isinstance(said, dict) else ()
    inner = enumerate(said) if isinstance(said, list) else inner
    for name, value in inner:
        yield from places(value, (*path, name))


def changed(said, draw):
    """Some JSON in which something is other than it was."""
    said = json.loads(json.dumps(said))
    for _ in range(draw(st.integers(1, 3))):
        *way, last = draw(st.sampled_from(list(places(said))[1:] or [("added",)]))
        inside = said
        for name in way:
            inside = inside[name]
        how = draw(st.sampled_from(["replace", "replace", "drop", "add", "repeat"]))
        if how == "drop":
            del inside[last]
        elif how == "add" and isinstance(inside, dict):
            inside[draw(names | st.text())] = draw(values)
        elif how == "repeat" and isinstance(inside, list):
            inside.append(inside[last])
        else:
            inside[last] = draw(values)
    return said


def with_checksum(said):
    try:
        return manifest_text(said)
    except ValueError:  # NaN: nobody can make a checksum of that
        return json.dumps(said | {"checksum": "0" * 16})


@quickly
@given(data=st.data())
def test_whatever_a_manifest_says_it_is_refused_or_true(stored, only_inside, data):
    path = stored / "manifest.json"
    whole = path.read_text()
    said = json.loads(whole)
    said.pop("checksum")
    true = TransferSet(stored).manifest

    def opened():
        targets = TransferSet(stored)
        targets.read(torch.arange(3))
        assert targets.manifest == true

    text = with_checksum(changed(said, data.draw))
    path.write_text(text, encoding="utf-8", errors="surrogatepass")
    why = refusal(opened)
    path.write_text(whole)
    assert not why or "manifest.json" in why or "not of one piece" in why


@pytest.mark.parametrize("text", ['{"a": 1, "a": 1}', '{"a":' * 50_000, "[" * 10**6, "9" * 10**6])
def test_a_manifest_that_is_hard_to_read_is_refused(stored, text):
    (stored / "manifest.json").write_text(text)
    with little_memory(), pytest.raises(TargetsError, match=r"manifest\.json is damaged"):
        TransferSet(stored)


@pytest.mark.parametrize(
    ("name", "lie"),
    [
        ("rows_measured", 39),
        ("kl_to_teacher", 0.5),
        ("agreement_with_teacher", 0.5),
        ("squared_error", 1e-9),
        ("bytes_per_row", 1.0),
        ("dense_bytes_per_row", 1.0),
        ("biased", True),
    ],
)
def test_a_card_that_its_shards_do_not_bear_out_is_refused(stored, name, lie):
    said = json.loads((stored / "manifest.json").read_text())
    said.pop("checksum")
    said["card"][name] = lie
    (stored / "manifest.json").write_text(manifest_text(said))
    assert "its shards do not hold what the manifest says" in refusal(lambda: TransferSet(stored))


KINDS = [
    ("dense16", {}),
    ("dense32", {}),
    ("sqrt8", {}),
    ("sqrt5", {}),
    ("real8", {}),
    ("real16", {}),
    ("topk", {"k": 2}),
    ("threshold", {"tau": 0.1}),
    ("threshold", {"tau": 0.3, "temperatures": [2.0]}),
    ("selected", {}),
    ("principal", {}),
    ("principal", {"components": 2}),
]


def settings_of(codec, head, keys, state):
    """Of rows of one head, whoever said them."""
    return Settings(
        teacher=TeacherRecord(fingerprint="0" * 16, name=""),
        data=data_fingerprint(keys),
        transform="",
        views=1,
        heads=(HeadRecord.of(head),),
        compress="softmax",
        temperature=4.0,
        codec=codec.name,
        codec_options=codec.options,
        state=state,
    )


def written(folder, said, rows_per_sample, blocks, faithfulness):
    """A shard of these columns, its checksums all right, and the manifest, if it opens so far."""
    schema = shard_schema(said, rows_per_sample)
    sink = pa.BufferOutputStream()
    options = pa.ipc.IpcWriteOptions(compression="zstd")
    with pa.ipc.new_file(sink, schema, options=options) as writer:
        for columns in blocks:
            batch, metadata = block_of(columns, schema, faithfulness)
            writer.write_batch(batch, custom_metadata=metadata)
    raw = sink.getvalue().to_pybytes()
    path = folder / f"shard-00000-{xxhash.xxh3_64(raw).hexdigest()}.arrow"
    path.write_bytes(raw)
    said = manifest_of([open_shard(path)]).model_dump(mode="json")
    (folder / "manifest.json").write_text(manifest_text(said))


def a_state(draw, codec, head):
    """What a codec learned of some rows; or something like it."""
    rows = torch.randn(8, head.size, generator=torch.Generator().manual_seed(0)).log_softmax(-1)
    state = dict(codec.fit([rows], head))
    for name in list(state):
        how = draw(st.sampled_from(["true", "true", "gone", "short", "other", "large", "nan"]))
        if how == "gone":
            del state[name]
        elif how == "short":
            state[name] = state[name].flatten()[:1]
        elif how == "other":
            state[name] = state[name].to(draw(st.sampled_from([torch.int64, torch.float64])))
        elif how == "large":
            state[name] = torch.full_like(state[name], 10**6)
        elif how == "nan" and state[name].is_floating_point():
            state[name] = torch.full_like(state[name], math.nan)
    return state


def lies_about(tensor):
    yield "is gone", None
    yield "is short", tensor.flatten()[:-1]
    yield "has one axis more", tensor[None]
    yield "is of another type", tensor.to(torch.float64)
    yield "names a class that there is not", torch.full_like(tensor, 10**6)
    if tensor.is_floating_point():
        yield "is no number", torch.full_like(tensor, math.nan)
    else:
        yield "names one class twice", tensor.clamp_min(1)


@pytest.mark.parametrize(("name", "options"), KINDS)
def test_every_lie_about_what_a_codec_learned_is_a_fault(name, options):
    codec = make_codec(name, options)
    head = Head(space="real" if name.startswith("real") else "categorical", size=5)
    rows = torch.randn(8, 5, generator=torch.Generator().manual_seed(0)).log_softmax(-1)
    true = dict(codec.fit([rows], head))
    assert codec.state_fault(true, head) is None
    assert "extra" in codec.state_fault(true | {"extra": torch.zeros(1)}, head)
    for tensor, value in true.items():
        for how, lie in lies_about(value):
            state = {key: each for key, each in true.items() if key != tensor}
            state |= {} if lie is None else {tensor: lie}
            may_be = how == "names a class that there is not" and name in ("real8", "principal")
            assert codec.state_fault(state, head) or may_be, f"{tensor} {how}"


@quickly
@given(data=st.data())
def test_rows_that_no_codec_wrote_are_refused(tmp_path_factory, data):
    folder, draw = tmp_path_factory.mktemp("hostile"), data.draw
    name, options = draw(st.sampled_from(KINDS))
    codec = make_codec(name, options)
    head = Head(space="real" if name.startswith("real") else "categorical", size=5)
    rows = draw(st.sampled_from([None, 1, 3]))
    samples = draw(st.integers(1, 4))
    keys = np.arange(samples, dtype=np.uint64)
    state = state_file.write_states(folder, {head.name: a_state(draw, codec, head)})
    said = settings_of(codec, head, keys, state)
    columns = {"key": keys, "view": np.zeros(samples, dtype=np.int32)}
    for part, column, per_sample in parts_of(said, {head.name: rows}):
        length = samples * per_sample * (1 if column.counted_by else column.width)
        if column.counted_by:
            length = draw(st.sampled_from([0, 1, length, 5 * length]))
        raw = draw(st.binary(min_size=1, max_size=40))
        size = length * column.dtype.itemsize
        raw = (raw * (size // len(raw) + 1))[:size]
        columns[part] = np.frombuffer(raw, dtype=column.dtype)
    total = samples * (rows or 1)
    lie = draw(st.sampled_from([{}, {}, {"kl": math.nan}, {"agreement": 99.0}, {"compared": -1}]))
    faithfulness = Faithfulness(**({"rows": total, "compared": total} | lie))
    reading = draw(st.sampled_from(["memory", "mapped"]))

    def opened():
        written(folder, said, {head.name: rows}, [columns], faithfulness)
        targets = TransferSet(folder, reading=reading)
        found = targets.read(torch.arange(samples))[head.name]
        shown = found.values if isinstance(found, Dense) else found.probabilities
        assert shown.shape[:-1] == ((samples,) if rows is None else (samples, rows))
        targets.verify()

    why = refusal(opened)
    assert not why or folder.name in why
    shutil.rmtree(folder)


def is_refused_or_read(folder):
    """Whatever was done to it, it is read, or refused by the name of its folder."""
    for reading in ("memory", "mapped"):
        why = refusal(lambda reading=reading: TransferSet(folder, reading=reading).verify())
        assert not why or folder.name in why


def replaced(folder, raw):
    """Put other bytes in the shard's place, with a name and a manifest that agree with them."""
    next(folder.glob("shard-*")).unlink()
    checksum = xxhash.xxh3_64(raw).hexdigest()
    name = f"shard-00000-{checksum}.arrow"
    (folder / name).write_bytes(raw)
    said = json.loads((folder / "manifest.json").read_text())
    said.pop("checksum")
    said["shards"][0] |= {"file": name, "checksum": checksum, "bytes": len(raw)}
    said["card"] |= {"bytes": len(raw), "bytes_per_row": len(raw) / said["card"]["rows"]}
    (folder / "manifest.json").write_text(manifest_text(said))


integers = st.sampled_from([0, 1, -1, 8, 2**16, 2**31 - 1, 2**31, 2**40, 2**62, -(2**63)])


def lying(whole, draw):
    """Some bytes of which others stand in a few places."""
    raw = bytearray(whole)
    for _ in range(draw(st.integers(1, 3))):
        at = 8 * draw(st.integers(0, len(raw) // 8 - 1))
        lie = draw(integers.map(lambda number: struct.pack("<q", number)) | st.binary(max_size=9))
        raw[at : at + len(lie)] = lie
    return bytes(raw)


@pytest.fixture
def shard(stored):
    return next(stored.glob("shard-*")).read_bytes()


@quickly
@given(data=st.data())
def test_a_shard_whose_bytes_lie_is_refused_or_read(stored, shard, data):
    """Lengths, offsets and sizes of its messages and of its compressed columns among them."""
    replaced(stored, lying(shard, data.draw))
    is_refused_or_read(stored)


def rezipped(shard, columns, times=1):
    """The shard with other columns in its block, or in several."""
    with pa.ipc.open_file(shard) as reader:
        block, schema = reader.get_batch_with_custom_metadata(0), reader.schema
    sink = pa.BufferOutputStream()
    options = pa.ipc.IpcWriteOptions(compression="zstd")
    with pa.ipc.new_file(sink, schema, options=options) as writer:
        for _ in range(times):
            batch = pa.record_batch(columns, schema=schema)
            writer.write_batch(batch, custom_metadata=dict(block.custom_metadata))
    return sink.getvalue().to_pybytes()


def zeros(rows):
    """Columns of a dense16 shard of 5 classes, all 0, which compress to nearly nothing."""
    values = pa.array(np.zeros(5 * rows, dtype=np.float16))
    kind = pa.list_(pa.field("item", pa.float16(), nullable=False), 5)
    return [
        pa.array(np.zeros(rows, dtype=np.uint64)),
        pa.array(np.zeros(rows, dtype=np.int32)),
        pa.FixedSizeListArray.from_arrays(values, type=kind),
    ]


def resettled(folder, **changes):
    """Other settings, in the shard and in the manifest; the shard's new path."""
    with pa.ipc.open_file(next(folder.glob("shard-*")).read_bytes()) as reader:
        block, schema = reader.get_batch_with_custom_metadata(0), reader.schema
    said = json.loads(schema.metadata[SETTINGS_KEY]) | changes
    metadata = {**schema.metadata, SETTINGS_KEY: json.dumps(said)}
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, schema.with_metadata(metadata)) as writer:
        writer.write_batch(block.batch, custom_metadata=dict(block.custom_metadata))
    replaced(folder, sink.getvalue().to_pybytes())
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest.pop("checksum")
    manifest["settings"] |= changes
    (folder / "manifest.json").write_text(manifest_text(manifest))
    return next(folder.glob("shard-*"))


@pytest.mark.parametrize("temperatures", [None, 5, True, {}, "x", [[1]], [None], [0]])
def test_options_that_no_codec_takes_are_a_fault_of_the_shard(stored, temperatures):
    options = {"tau": 0.1, "levels": 63, "temperatures": temperatures}
    path = resettled(stored, codec="threshold", codec_options=options)
    for opened in (lambda: open_shard(path), lambda: TransferSet(stored)):
        assert f"{path.name} in {stored} is damaged: it is no shard" in refusal(opened)


@pytest.mark.parametrize("classes", [["ant"], ["ant"] * 6])
def test_names_of_other_classes_than_there_are_are_a_fault(stored, classes):
    head = {"name": "label", "space": "categorical", "size": 5, "classes": classes}
    path = resettled(stored, heads=[head])
    assert f"{path.name} in {stored} is damaged: it is no shard" in refusal(
        lambda: open_shard(path)
    )
    why = refusal(lambda: TransferSet(stored))
    assert why.startswith(f"{stored / 'manifest.json'} is damaged or was changed: settings.heads.0")
    assert (
        f"classes of head label must be 5 names, one for each, or none, got {len(classes)}. Del"
        in why
    )


@pytest.mark.parametrize(("rows", "times"), [(10**6, 1), (50_000, 40)])
def test_rows_that_unpack_to_far_more_than_they_take_are_refused(stored, shard, rows, times):
    raw = rezipped(shard, zeros(rows), times)
    assert len(raw) < 100_000
    replaced(stored, raw)
    why = refusal(lambda: TransferSet(stored))
    assert f"it says that it holds {rows * times} samples in {len(raw)} bytes" in why


def test_a_column_that_unpacks_to_more_than_a_block_may_is_refused(stored, shard, monkeypatch):
    monkeypatch.setattr(blocks, "LARGEST_BLOCK", 40 * 22)  # bytes of 40 rows
    assert TransferSet(stored).verify() == 40
    at = shard.index(struct.pack("<q", 40 * 8) + b"\x28\xb5\x2f\xfd")  # the keys, then zstd's mark
    replaced(stored, shard[:at] + struct.pack("<q", 40 * 8 + 1) + shard[at + 8 :])
    assert "a block of it would take 881 bytes unpacked" in refusal(lambda: TransferSet(stored))


@pytest.mark.parametrize(
    ("rows", "largest", "kept"),
    [(40, 40 * 22, 1), (10**6, 1 << 30, 0), (20_000, 20_000 * 22, 1), (20_000, 20_000 * 22 - 1, 0)],
)
def test_a_block_of_an_open_shard_is_not_unpacked_beyond_what_a_block_may(
    stored, shard, monkeypatch, rows, largest, kept
):
    monkeypatch.setattr(blocks, "LARGEST_BLOCK", largest)
    path = stored / ".shard-00001.0123456789abcdef.part"
    with pa.ipc.open_file(shard) as reader:
        schema = reader.schema
    columns = [column.flatten() if at == 2 else column for at, column in enumerate(zeros(rows))]
    names = dict(zip(schema.names, (column.to_numpy() for column in columns), strict=True))
    batch, said = block_of(names, schema, Faithfulness(rows=rows))
    options = pa.ipc.IpcWriteOptions(compression="zstd")
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, schema, options=options) as out:
        out.write_batch(batch, custom_metadata=said)
    del batch, columns, names
    before, pool = pa.default_memory_pool(), pa.proxy_memory_pool(pa.default_memory_pool())
    pa.set_memory_pool(pool)
    try:
        assert sum(1 for _ in blocks.whole_blocks(path, schema)) == kept
    finally:
        pa.set_memory_pool(before)
    assert (pool.max_memory() >= rows * 22) == bool(kept)


def test_what_an_open_shard_says_of_its_columns_must_be_true(stored, shard):
    (whole,) = whole_shards(stored)
    whole.path.unlink()
    path = stored / ".shard-00000.0123456789abcdef.part"
    with pa.ipc.open_file(shard) as reader:
        schema = reader.schema
    for names, begins in ((schema.names, True), (["key", "view", "other"], False)):
        sink = pa.BufferOutputStream()
        columns = [schema.field(at).with_name(name) for at, name in enumerate(names)]
        pa.ipc.new_file(sink, pa.schema(columns, metadata=schema.metadata)).close()
        path.write_bytes(sink.getvalue())
        assert (begun(stored, [], whole.settings) is not None) == begins


def test_what_blocks_say_of_their_sizes_is_what_they_hold(shard):
    with pa.ipc.open_file(shard) as reader:
        batch = reader.get_batch(0)
    assert list(announced(shard)) == [Announced(batch.num_rows, batch.nbytes)]
    sink = pa.BufferOutputStream()
    table = pa.table({"a": pa.array(range(300)), "b": pa.array([[1, 2], [3]] * 150)})
    with pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table, max_chunksize=100)
    found = list(announced(sink.getvalue().to_pybytes()))
    assert [block.rows for block in found] == [100, 100, 100]
    assert all(block.bytes >= 100 * (8 + 4) + 150 * 8 for block in found)


@pytest.mark.parametrize("lie", [b"", b"\0" * 399, b"\0" * 401, b"\0" * 4000])
def test_a_copy_of_other_sizes_is_refused_though_its_checksums_are_right(stored, lie):
    TransferSet(stored, reading="mapped").read(torch.arange(1))
    (contents,) = stored.glob(".unpacked-*/contents.json")
    contents.with_name("0.bin").write_bytes(lie)
    contents.write_text(json.dumps({"0.bin": xxhash.xxh3_64(lie).hexdigest()}))
    opened = TransferSet(stored, reading="mapped")
    assert "an unpacked copy of the shards" in refusal(lambda: opened.read(torch.arange(1)))


THERE_IS_NOT = [
    ("topk", {"k": 3}, "ids"),
    *(
        ("selected", {"cost": 0.0}, part)
        for part in ("context_0", "tail", "others", "levels", "steps_0")
    ),
    *(("threshold", {"tau": 0.3}, part) for part in ("kept", "drawn", "kept_levels")),
    *(("threshold", {"tau": 0.3}, part) for part in ("kept_steps_0", "drawn_steps_0")),
]


@pytest.mark.parametrize(("codec", "options", "part"), THERE_IS_NOT)
@pytest.mark.parametrize("without", [nullcontext, without_numba])
def test_a_copy_that_names_what_there_is_not_is_refused_though_its_checksums_are_right(
    samples, teacher, tmp_path, codec, options, part, without
):
    words = {
        "codec": codec,
        "codec_options": options,
        "temperature": 20.0,
    }  # neither sharp nor flat
    whole = capture(teacher, samples, tmp_path, **words)
    TransferSet(tmp_path, reading="mapped").read(torch.arange(1))
    (contents,) = tmp_path.glob(".unpacked-*/contents.json")
    parts = list(make_codec(codec, options).columns(whole.heads[0]))
    path = contents.with_name(f"{parts.index(part)}.bin")
    path.write_bytes(b"\xff" * path.stat().st_size)
    said = json.loads(contents.read_text()) | {path.name: file_hash(path)}
    contents.write_text(json.dumps(said))
    with without():
        why = refusal(lambda: TransferSet(tmp_path, reading="mapped").read(torch.arange(40)))
    assert "an unpacked copy of the shards beside it, is damaged. Delete it" in why


def test_a_copy_whose_contents_climb_out_is_refused(stored, tmp_path):
    TransferSet(stored, reading="mapped").read(torch.arange(1))
    (contents,) = stored.glob(".unpacked-*/contents.json")
    (tmp_path / "outside").write_bytes(b"secret")
    said = json.loads(contents.read_text())
    said["../../outside"] = xxhash.xxh3_64(b"secret").hexdigest()
    contents.write_text(json.dumps(said))
    opened = TransferSet(stored, reading="mapped")
    assert "an unpacked copy of the shards" in refusal(lambda: opened.read(torch.arange(1)))


def columns_of_other_types(column):
    """A column's values in types that other programs write."""
    plain = pa.array(range(len(column)))
    return [
        plain,
        pa.nulls(len(column)),
        pa.array([None] * len(column), column.type),
        plain.dictionary_encode(),
        pa.array([{"a": 1}] * len(column)),
        pa.array([[1]] * len(column), pa.large_list(pa.int64())),
        pa.array(["x" * 99] * len(column)),
        pa.ExtensionArray.from_storage(
            pa.uuid(), pa.array([bytes(16)] * len(column), pa.binary(16))
        ),
        pa.RunEndEncodedArray.from_arrays([len(column)], [7]),
    ]


@pytest.mark.parametrize("at", range(3))
def test_columns_of_other_types_are_refused(stored, shard, at):
    with pa.ipc.open_file(shard) as reader:
        block, schema = reader.get_batch_with_custom_metadata(0), reader.schema
    for other in columns_of_other_types(block.batch.column(at)):
        field = pa.field(schema.field(at).name, other.type)
        batch = block.batch.set_column(at, field, other)
        sink = pa.BufferOutputStream()
        with pa.ipc.new_file(sink, batch.schema.with_metadata(schema.metadata)) as writer:
            writer.write_batch(batch, custom_metadata=dict(block.custom_metadata))
        replaced(stored, sink.getvalue().to_pybytes())
        assert "is damaged: " in refusal(lambda: TransferSet(stored))


@quickly
@given(data=st.data())
def test_a_state_whose_bytes_lie_is_refused_or_read(tmp_path_factory, data):
    """The sizes in its header among them; its name carries its true checksum."""
    folder, head = tmp_path_factory.mktemp("state"), Head(space="categorical", size=5)
    codec = make_codec("threshold", {"tau": 0.1})
    rows = torch.randn(8, 5, generator=torch.Generator().manual_seed(0)).log_softmax(-1)
    true = state_file.write_states(folder, {head.name: codec.fit([rows], head)})
    raw = lying(state_file.state_path(folder, true).read_bytes(), data.draw)
    state = xxhash.xxh3_64(raw).hexdigest()
    state_file.state_path(folder, state).write_bytes(raw)
    said = settings_of(codec, head, np.arange(8, dtype=np.uint64), state)
    why = refusal(lambda: state_file.read_states(folder, said))
    assert not why or folder.name in why
    shutil.rmtree(folder)


def test_a_copy_that_agrees_with_itself_and_not_with_the_shards_is_found(stored):
    targets = TransferSet(stored, reading="mapped")
    rows = len(targets.keys)
    targets.read(torch.arange(1))
    assert TransferSet(stored).verify() == targets.verify() == 40 == rows
    (copy,) = stored.glob(".unpacked-*")
    part = copy / "0.bin"
    part.write_bytes(part.read_bytes()[::-1])
    said = json.loads((copy / "contents.json").read_text())
    (copy / "contents.json").write_text(json.dumps(said | {"0.bin": file_hash(part)}))
    for reading in ("mapped", "memory"):
        opened = TransferSet(stored, reading=reading)
        assert "an unpacked copy of the shards" in refusal(opened.verify)
    part.unlink()
    assert "an unpacked copy of the shards" in refusal(TransferSet(stored).verify)
