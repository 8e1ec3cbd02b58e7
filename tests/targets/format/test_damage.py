"""What is wrong on disk is refused, by name, with the way out."""

import json
import random
import shutil

import pyarrow as pa
import pytest
import torch
import xxhash

from limbeck._errors import TargetsError
from limbeck.targets import TransferSet, capture
from limbeck.targets.format._manifest import manifest_text


def shard_of(folder):
    return next(folder.glob("shard-*.arrow"))


def with_flipped_bit(data, bit):
    flipped = bytearray(data)
    flipped[bit // 8] ^= 1 << bit % 8
    return bytes(flipped)


def rewritten(folder, change):
    """Change the manifest as somebody would who knows how its checksum is made."""
    said = json.loads((folder / "manifest.json").read_text())
    said.pop("checksum")
    change(said)
    (folder / "manifest.json").write_text(manifest_text(said))


def replaced(folder, data):
    """Put other bytes in the shard's place, with a name and a manifest that agree with them."""
    shard_of(folder).unlink()
    checksum = xxhash.xxh3_64(data).hexdigest()
    name = f"shard-00000-{checksum}.arrow"
    (folder / name).write_bytes(data)

    def change(said):
        said["shards"][0] |= {"file": name, "checksum": checksum, "bytes": len(data)}
        said["card"] |= {"bytes": len(data), "bytes_per_row": len(data) / said["card"]["rows"]}

    rewritten(folder, change)


def rebuilt(folder, *, columns=None, metadata=None, batch_metadata=None, times=1):
    """The shard, written again by plain pyarrow with something changed."""
    with pa.ipc.open_file(shard_of(folder)) as reader:
        block = reader.get_batch_with_custom_metadata(0)
        schema = reader.schema
    batch = block.batch
    for name, make in (columns or {}).items():
        at = batch.schema.get_field_index(name)
        array = make(batch.column(at))
        batch = batch.set_column(at, pa.field(name, array.type, nullable=False), array)
    schema = pa.schema(list(batch.schema), metadata={**schema.metadata, **(metadata or {})})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, schema) as writer:
        for _ in range(times):
            writer.write_batch(
                pa.record_batch(batch.columns, schema=schema),
                custom_metadata=batch_metadata or dict(block.custom_metadata),
            )
    replaced(folder, sink.getvalue().to_pybytes())


def test_the_helpers_alone_do_no_damage(stored):
    rebuilt(stored)
    assert TransferSet(stored).verify() == 40


def test_every_flipped_bit_of_a_shard_is_found(stored):
    path = shard_of(stored)
    whole, draw = path.read_bytes(), random.Random(0)
    for _ in range(300):
        path.write_bytes(with_flipped_bit(whole, draw.randrange(8 * len(whole))))
        with pytest.raises(TargetsError, match=rf"{path.name} in .* is damaged: expected checksum"):
            TransferSet(stored)
    path.write_bytes(whole)
    assert TransferSet(stored).verify() == 40


def test_every_flipped_bit_of_the_manifest_is_found(stored):
    path = stored / "manifest.json"
    whole, draw = path.read_bytes(), random.Random(0)
    for _ in range(400):
        path.write_bytes(with_flipped_bit(whole, draw.randrange(8 * len(whole))))
        with pytest.raises(TargetsError, match=r"manifest\.json is damaged"):
            TransferSet(stored)


@pytest.mark.parametrize(("written", "instead"), [("e-", "E-"), ("é", "\\u00e9"), (" 4", "  4")])
def test_a_manifest_that_says_the_same_in_other_characters_is_refused(stored, written, instead):
    def change(said):
        said["card"]["kl_to_teacher"] = 1e-7
        said["settings"]["teacher"]["name"] = "é"

    rewritten(stored, change)
    text = (stored / "manifest.json").read_text()
    assert written in text
    (stored / "manifest.json").write_text(text.replace(written, instead, 1))
    with pytest.raises(TargetsError, match=r"damaged or was changed: it says the same, in other"):
        TransferSet(stored)


@pytest.mark.parametrize("kept", [0, 1, 100, -1])
def test_a_truncated_shard_is_named(stored, kept):
    path = shard_of(stored)
    whole = path.read_bytes()
    path.write_bytes(whole[:kept])
    with pytest.raises(TargetsError, match=rf"{path.name} .* expected {len(whole)} bytes, got"):
        TransferSet(stored)


def test_a_truncated_manifest_is_named(stored):
    path = stored / "manifest.json"
    whole = path.read_bytes()
    for kept in (0, 1, len(whole) // 2, len(whole) - 3):
        path.write_bytes(whole[:kept])
        with pytest.raises(TargetsError, match=r"manifest\.json is damaged"):
            TransferSet(stored)


def test_a_missing_shard_is_named(stored):
    path = shard_of(stored)
    path.unlink()
    with pytest.raises(TargetsError, match=rf"{path.name} is missing from .* Delete manifest"):
        TransferSet(stored)


def test_a_folder_without_a_manifest_is_no_transfer_set(tmp_path):
    with pytest.raises(TargetsError, match=r"there is no manifest\.json\. Capture it"):
        TransferSet(tmp_path)


def test_a_manifest_that_cannot_be_read_is_named(stored):
    (stored / "manifest.json").unlink()
    (stored / "manifest.json").mkdir()
    with pytest.raises(TargetsError, match=r"manifest\.json cannot be read: Is a directory"):
        TransferSet(stored)


def test_a_damaged_shard_stops_a_resumed_capture(teacher, samples, stored):
    (stored / "manifest.json").unlink()
    path = shard_of(stored)
    path.write_bytes(with_flipped_bit(path.read_bytes(), 999))
    with pytest.raises(TargetsError, match=r"is damaged: expected checksum .* Delete it"):
        capture(teacher, samples, stored)
    path.unlink()
    assert capture(teacher, samples, stored).verify() == 40


def _set(*path, value):
    def change(said):
        for name in path[:-1]:
            said = said[name]
        said[path[-1]] = value

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_set("shards", 0, "file", value="../shard-00000-0123456789abcdef.arrow"), "file"),
        (_set("shards", 0, "file", value="/etc/passwd"), "file"),
        (_set("shards", 0, "file", value="sub/shard-00000-0123456789abcdef.arrow"), "file"),
        (_set("shards", 0, "file", value="shard-00000-0123456789abcdef.arrow\n"), "file"),
        (_set("shards", 0, "file", value="shard-00000-0123456789abcdef.arrow"), "checksum"),
        (_set("shards", 0, "bytes", value=12), "bytes must add up"),
        (_set("shards", 0, "bytes", value=2**80), "bytes"),
        (_set("shards", 0, "rows", value=-1), "rows"),
        (_set("shards", 0, "rows", value="40"), "rows"),
        (_set("shards", 0, "rows", value=41), "rows must add up"),
        (_set("shards", value=[]), "shards"),
        (_set("card", "kl_to_teacher", value=-0.5), "kl_to_teacher"),
        (_set("card", "agreement_with_teacher", value=1.5), "agreement_with_teacher"),
        (_set("card", "surprise", value=1), "surprise"),
        (_set("format", value=3), "format"),
        (_set("settings", "heads", value=[]), "heads"),
        (_set("settings", "heads", 0, "size", value=10**12), "size"),
        (_set("settings", "temperature", value=0), "temperature"),
        (_set("rows_per_sample", value={}), "rows_per_sample"),
        (_set("rows_per_sample", "label", value=0), "rows_per_sample"),
        (lambda said: said["shards"].append(said["shards"][0]), "listed twice"),
        (lambda said: said.pop("card"), "card"),
    ],
)
def test_a_hostile_manifest_is_refused(stored, change, message):
    rewritten(stored, change)
    with pytest.raises(
        TargetsError, match=rf"manifest\.json is damaged or was changed: .*{message}"
    ):
        TransferSet(stored)


@pytest.mark.parametrize("text", ["[]", "1", '"a"', "null", "[" * 100_000, '{"a": NaN}', "\xff"])
def test_a_manifest_that_is_something_else_is_refused(stored, text):
    (stored / "manifest.json").write_text(text, encoding="latin-1")
    with pytest.raises(TargetsError, match=r"manifest\.json is damaged"):
        TransferSet(stored)


@pytest.mark.parametrize(
    "change",
    [
        _set("settings", "teacher", "fingerprint", value="0123456789abcdef"),
        _set("settings", "data", value="0123456789abcdef"),
        _set("settings", "codec", value="zip"),
        _set("settings", "views", value=2**31 - 1),
        _set("rows_per_sample", "label", value=7),
    ],
)
def test_a_manifest_of_other_rows_is_refused(stored, change):
    rewritten(stored, change)
    with pytest.raises(
        TargetsError,
        match=r"not of one piece: (shard-.* is of another transfer set|it does not hold view 0)",
    ):
        TransferSet(stored)


def test_a_manifest_that_lies_about_samples_is_refused(stored):
    rewritten(stored, _set("shards", 0, "samples", value=39))
    with pytest.raises(TargetsError, match=r"shards do not hold what the manifest says"):
        TransferSet(stored)


@pytest.mark.parametrize("data", [b"", b"ARROW1\0\0", b"ARROW1\0\0" + bytes(500), bytes(1000)])
def test_what_is_no_arrow_file_is_refused(stored, data):
    if data:
        replaced(stored, data)
    else:
        shard_of(stored).write_bytes(data)
    with pytest.raises(TargetsError, match=r"is damaged"):
        TransferSet(stored)


def test_an_arrow_file_of_something_else_is_refused(stored):
    sink = pa.BufferOutputStream()
    batch = pa.record_batch({"a": [1, 2]})
    with pa.ipc.new_file(sink, batch.schema) as writer:
        writer.write_batch(batch)
    replaced(stored, sink.getvalue().to_pybytes())
    with pytest.raises(TargetsError, match=r"it is no shard of a transfer set"):
        TransferSet(stored)


def test_columns_that_are_not_those_of_the_settings_are_refused(stored):
    rebuilt(stored, columns={"view": lambda column: column.cast(pa.int64())})
    with pytest.raises(TargetsError, match=r"columns are not those of its settings"):
        TransferSet(stored)


def test_settings_that_cannot_be_are_refused(stored):
    with pa.ipc.open_file(shard_of(stored)) as reader:
        said = json.loads(reader.schema.metadata[b"limbeck.settings"])
    said |= {"codec": "topk", "codec_options": {"k": 10**15}}
    rebuilt(stored, metadata={b"limbeck.settings": json.dumps(said)})
    with pytest.raises(TargetsError, match=r"no shard of a transfer set: k of codec topk"):
        TransferSet(stored)


def test_measures_that_do_not_fit_the_rows_are_refused(stored):
    said = {"rows": 39, "compared": 39, "kl": 0.0, "agreement": 39.0, "squared": 0.0}
    said["difference"] = 0.0
    rebuilt(stored, batch_metadata={"limbeck.faithfulness": json.dumps(said)})
    with pytest.raises(TargetsError, match=r"does not hold the rows that it says"):
        TransferSet(stored)


def test_rows_that_stand_twice_are_refused(stored):
    rebuilt(stored, times=2)

    def change(said):
        said["shards"][0] |= {"rows": 80, "samples": 80}
        said["card"] |= {"rows": 80, "rows_measured": 80}
        said["card"]["bytes_per_row"] /= 2

    rewritten(stored, change)
    with pytest.raises(TargetsError, match=r"not of one piece: it holds a sample of view 0 twice"):
        TransferSet(stored)


def test_other_keys_than_the_datas_are_refused(stored):
    rebuilt(
        stored, columns={"key": lambda column: pa.array([5, *column.to_pylist()[1:]], pa.uint64())}
    )
    with pytest.raises(TargetsError, match=r"does not hold view 0 of every sample"):
        TransferSet(stored)


def test_other_views_than_were_asked_are_refused(stored):
    rebuilt(stored, columns={"view": lambda column: pa.array([3] * len(column), pa.int32())})
    with pytest.raises(TargetsError, match=r"holds the views \[3\], not the first 1"):
        TransferSet(stored)


def test_numbers_that_are_not_finite_are_refused(stored):
    def poisoned(column):
        values = column.flatten().to_numpy().copy()
        values[17] = float("nan")
        return pa.FixedSizeListArray.from_arrays(pa.array(values), type=column.type)

    rebuilt(stored, columns={"label.values": poisoned})
    targets = TransferSet(stored)
    with pytest.raises(TargetsError, match=r"head label holds a number that is not finite"):
        targets.verify()


def test_a_copy_elsewhere_is_the_same_transfer_set(stored, tmp_path, samples):
    shutil.copytree(stored, tmp_path / "copy")
    moved, first = TransferSet(tmp_path / "copy"), TransferSet(stored)
    assert moved.manifest == first.manifest
    every = torch.arange(40)
    assert moved.read(every)["label"].values.equal(first.read(every)["label"].values)


def test_shards_of_another_format_are_refused(stored):
    rebuilt(stored, metadata={b"limbeck.format": b"3"})
    with pytest.raises(TargetsError, match=r"expected format 2, got b'3'"):
        TransferSet(stored)


def test_a_shard_that_is_damaged_after_it_was_opened_is_named(stored):
    targets, path = TransferSet(stored), shard_of(stored)
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(TargetsError, match=rf"{path.name} in .* is damaged: it cannot be read"):
        targets.verify()


def test_a_folder_that_is_not_there_or_is_a_runs_is_named_with_the_way_out(stored, tmp_path):
    with pytest.raises(TargetsError, match=r"there is no transfer set .*nowhere.*Correct its name"):
        TransferSet(tmp_path / "nowhere")
    run = tmp_path / "run"
    run.mkdir()
    stored.rename(run / "targets")
    with pytest.raises(
        TargetsError, match=r"is the folder of a run\. Its transfer set is .*run.*targets"
    ):
        TransferSet(run)
