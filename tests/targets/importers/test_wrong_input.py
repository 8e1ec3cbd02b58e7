"""What is wrong with a cache, or with the settings given for it, is named; nothing is written."""

import io
import json
import tarfile
import tracemalloc
import zipfile

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from limbeck._errors import DataError, OptionError, TargetsError
from limbeck.data import ArraySamples
from limbeck.targets.importers import import_set
from tests.targets.importers.conftest import KEPT, WORDS
from tests.targets.importers.test_importers import saved, tar_of, write_tinyvit, zstd


@pytest.fixture
def refused(tmp_path):
    """Import something that is refused, and leaves nothing behind; what is said of it."""

    def say(error, layout, path, **more):
        with pytest.raises(error) as caught:
            import_set(layout, path, tmp_path / "set", **more)
        assert not list((tmp_path / "set").glob("*"))
        return str(caught.value)

    return say


# ---- DistillKit: two texts of two tokens, two of 16 classes, exact -----------------------------

IDS = [[0b0001_0010], [0b0011_0100]]
LOGS = [list(np.array([-0.5, -1.5], "<f4").tobytes())] * 2
COLUMNS = {
    "input_ids": [[5, 6], [7, 8]],
    "compressed_logprobs": [LOGS, LOGS],
    "bytepacked_indices": [IDS, IDS],
}
SETTINGS = {"d": 16, "k": 2, "exact_k": 2}
BIN = {"scale_dtype": "float16", "element_bits": 1, "num_elements": 1}


def distillkit(folder, **columns):
    """Of a cache with these columns instead, how it is imported."""
    pq.write_table(pa.table({**COLUMNS, **columns}), folder / "data_0.parquet")
    samples = ArraySamples({"input_ids": torch.tensor([[5, 6], [7, 8]])}, {})
    return {"samples": samples, "classes": 16, "options": SETTINGS}


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"k": "two"}, "k: input should be a valid integer, got 'two'."),
        ({"k": 0}, "k: input should be greater than or equal to 1, got 0."),
        ({"k": -1}, "k: input should be greater than or equal to 1, got -1."),
        ({"k": True}, "k: input should be a valid integer, got True."),
        ({"d": 2**70}, "d: input should be less than 2147483648"),
        ({"k": 17}, "k is d at most, got 2 + 0, 17 and 16."),
        ({"exact_k": 3}, "are k at most, and k is d at most, got 3 + 0, 2 and 16."),
        ({"residual_bins": [BIN]}, "are k at most, and k is d at most, got 2 + 1, 2 and 16."),
        ({"exact_k": 1}, "k above exact_k takes polynomial_terms or residual_bins"),
        ({"residual_bins": "x"}, "residual_bins: input should be a valid list, got 'x'."),
        ({"residual_bins": [{"element_bits": 1}]}, "residual_bins.0.scale_dtype is missing."),
        (
            {"residual_bins": [{**BIN, "scale_dtype": "int9"}]},
            "residual_bins.0.scale_dtype: input should be 'float16', 'bfloat16', 'float32' or "
            "'float64', got 'int9'.",
        ),
        (
            {"residual_bins": [{**BIN, "element_bits": 64}]},
            "residual_bins.0.element_bits: input should be less than or equal to 63, got 64.",
        ),
        (
            {"residual_bins": [{**BIN, "bits": 1}]},
            "there is no key residual_bins.0.bits. Known here: scale_dtype, element_bits, "
            "num_elements.",
        ),
        ({"polynomial_terms": [[1]]}, "polynomial_terms.0: a polynomial term is a power from 0"),
        ({"polynomial_terms": [0, "cube"]}, """64, "sqrt" or "exp", got 'cube'."""),
        ({"polynomial_terms": [-1]}, "got -1."),
        ({"kk": 1}, "there is no key kk."),
    ],
)
def test_distillkit_settings_that_cannot_be_are_named(refused, tmp_path, wrong, named):
    given = distillkit(tmp_path)
    given["options"] = {**SETTINGS, **wrong}
    said = refused(OptionError, "distillkit", tmp_path, **given)
    assert said.startswith("options of layout distillkit: ")
    assert named in said
    assert said.endswith("Give those that the cache was made with.")


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"exact_dtype": "float16"}, "a row of compressed_logprobs takes 4 bytes, got 8."),
        ({"d": 17}, "a row of bytepacked_indices takes 2 bytes, got 1."),
    ],
)
def test_distillkit_settings_of_another_width_are_found(refused, tmp_path, wrong, named):
    given = distillkit(tmp_path)
    given["options"] = {**SETTINGS, **wrong}
    said = refused(OptionError, "distillkit", tmp_path, **given)
    assert said.startswith(str(tmp_path / "data_0.parquet"))
    assert named in said


LOGS_OF_THREE = np.log([0.5, 0.25, 0.125])


@pytest.mark.parametrize(
    ("kind", "written", "wrong", "total"),
    [
        ("<f4", np.diff(LOGS_OF_THREE, prepend=0.0), {"delta_encoding": False}, "1.5"),
        ("<f2", LOGS_OF_THREE, {"exact_dtype": "bfloat16", "delta_encoding": False}, "2.005"),
        ("<f4", LOGS_OF_THREE + 1, {"delta_encoding": False}, "2.378"),
    ],
)
def test_distillkit_settings_by_which_a_row_sums_to_more_than_1_are_named(
    refused, tmp_path, kind, written, wrong, total
):
    rows = [list(np.asarray(written, kind).tobytes())] * 2
    columns = {"compressed_logprobs": [rows] * 2, "bytepacked_indices": [[[1, 0x23]] * 2] * 2}
    given = distillkit(tmp_path, **columns)
    settings = {**SETTINGS, "k": 3, "exact_k": 3, "exact_dtype": "float32", **wrong}
    said = refused(TargetsError, "distillkit", tmp_path, **{**given, "options": settings})
    assert said.startswith(
        f"row 0 of sample 0 in {tmp_path} sums to {total}, where rounding leaves"
    )
    assert "at most. Give the options that the cache was made with, such as exact_dtype" in said


def test_distillkit_rows_that_were_fitted_may_sum_to_half_as_much_again(refused, tmp_path):
    for log, total in ((np.log(0.74), None), (np.log(0.76), "1.52")):  # a constant, twice
        rows = [list(np.float32(log).tobytes())] * 2
        given = distillkit(tmp_path, compressed_logprobs=[rows] * 2)
        settings = {**SETTINGS, "exact_k": 0, "polynomial_terms": [0], "delta_encoding": False}
        given = {**given, "options": settings}
        if total is None:
            made = import_set("distillkit", tmp_path, tmp_path / "fitted", **given)
            assert made.like["label"].probabilities.tolist() == [[[0.5, 0.5]] * 2]
        else:
            said = refused(TargetsError, "distillkit", tmp_path, **given)
            assert f"sums to {total}, where rounding leaves 1.5 at most" in said


@pytest.mark.parametrize(
    ("columns", "named"),
    [
        ({"input_ids": [None, [7, 8]]}, "column input_ids holds nothing"),
        ({"input_ids": [[5, None], [7, 8]]}, "column input_ids holds nothing"),
        ({"bytepacked_indices": [IDS, None]}, "column bytepacked_indices holds nothing"),
        ({"bytepacked_indices": [IDS, [None, [1]]]}, "column bytepacked_indices holds nothing"),
        ({"bytepacked_indices": [IDS, [[None], [1]]]}, "column bytepacked_indices holds nothing"),
        ({"bytepacked_indices": [IDS, [[300], [1]]]}, "indices: Integer value 300 not in range"),
        ({"input_ids": ["ab", "cd"]}, "column input_ids: Unsupported cast from string"),
        ({"compressed_logprobs": ["ab", "cd"]}, "compressed_logprobs: Unsupported cast from"),
        (
            {"bytepacked_indices": [IDS, IDS[:1]]},
            "has 2 rows of compressed_logprobs and 1 of",
        ),
        (
            {"bytepacked_indices": [IDS, IDS + IDS], "compressed_logprobs": [LOGS, LOGS + LOGS]},
            "2 tokens has 4 rows of compressed_logprobs and 4 of bytepacked_indices",
        ),
    ],
)
def test_distillkit_columns_that_hold_something_else_are_named(refused, tmp_path, columns, named):
    said = refused(TargetsError, "distillkit", tmp_path, **distillkit(tmp_path, **columns))
    assert said.startswith(f"{tmp_path / 'data_0.parquet'} is not what it must be: ")
    assert named in said


def test_distillkit_rows_are_of_texts(refused, tmp_path):
    given = distillkit(tmp_path)
    given["samples"] = ArraySamples({"pixels": torch.rand(2, 3)}, {})
    said = refused(DataError, "distillkit", tmp_path, **given)
    assert "the samples have pixels, but no input_ids" in said


# ---- Megatron-LM -------------------------------------------------------------------------------


def megatron(folder, member, *, meta=None):
    """A cache of one member; how it is imported."""
    saver = {"k": KEPT, "save_dtype": "fp32"} if meta is None else meta
    files = {"_meta.json": json.dumps({"saver": saver}).encode(), "0.pt.zst": member}
    tar_of(folder / "cp0_dp0__0.tar", files)
    ids = torch.arange(12).reshape(2, 6)
    return {"samples": ArraySamples({"input_ids": ids}, {}), "classes": WORDS}


def rows_of(tokens=6, samples=2, kept=KEPT):
    """Log-probabilities and ids of a micro-batch."""
    shape = (tokens, samples, kept)
    return np.full(shape, -2.0), np.broadcast_to(np.arange(kept), shape).copy()


@pytest.mark.parametrize(
    ("meta", "named"),
    [
        ({"save_dtype": "fp16"}, "saver.k is missing"),
        (
            {"k": "two", "save_dtype": "fp16"},
            "saver.k: input should be a valid integer, got",
        ),
        ({"k": 0, "save_dtype": "fp16"}, "saver.k: input should be greater than or equal to 1"),
        ({"k": 2}, "saver.save_dtype is missing"),
        ({"k": 2, "save_dtype": "int7"}, "saver.save_dtype: input should be 'fp16', 'bf16' or"),
        ([], "saver: must be a section of keys ("),
    ],
)
def test_megatron_settings_that_cannot_be_are_named(refused, tmp_path, meta, named):
    given = megatron(tmp_path, b"", meta=meta)
    said = refused(TargetsError, "megatron", tmp_path, **given)
    tar = tmp_path / "cp0_dp0__0.tar"
    assert said.startswith(f"{tar} is not what it must be: _meta.json: {named}")
    assert ".." not in said


def unpacked(member):
    with pa.CompressedInputStream(pa.BufferReader(member), "zstd") as stream:
        return stream.read()


@pytest.fixture
def peak():
    """Asked at the end: the most bytes that Python held since."""
    tracemalloc.start()
    yield lambda: tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()


@pytest.mark.parametrize("whole", [True, False])
def test_a_megatron_member_is_unpacked_no_further_than_its_tensors_reach(
    refused, tmp_path, request, whole
):
    values, ids = rows_of()
    archive = unpacked(saved([values], [ids], torch.float32)) if whole else b""
    member = zstd(archive + bytes(300 << 20))
    assert len(member) < 20_000
    given = megatron(tmp_path, member)
    peak = request.getfixturevalue("peak")  # only now
    said = refused(TargetsError, "megatron", tmp_path, **given)
    assert ("more than its tensors take" if whole else "not begin as torch.save writes it") in said
    assert "cp0_dp0__0.tar is not what it must be: 0.pt.zst: " in said
    assert peak() < 32 << 20


def test_a_megatron_member_of_more_rows_than_the_samples_have_is_not_unpacked(
    refused, tmp_path, request
):
    values, ids = rows_of(samples=100_000)
    given = megatron(tmp_path, saved([values], [ids], torch.float32))
    peak = request.getfixturevalue("peak")
    said = refused(DataError, "megatron", tmp_path, **given)
    assert said.startswith(f"0.pt.zst of {tmp_path / 'cp0_dp0__0.tar'} has 600000 rows, but all ")
    assert "samples together 12" in said
    assert peak() < values.size * 7 / 2


def rewritten(member, old=b"", new=b"", kind=zipfile.ZIP_STORED):
    """The member again, its pickle changed, and the numbers of its tensors stored otherwise."""
    archive, buffer = unpacked(member), io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(archive)) as before, zipfile.ZipFile(buffer, "w") as after:
        for name in before.namelist():
            raw = before.read(name)
            if name.endswith("data.pkl"):
                assert old in raw
                raw = raw.replace(old, new)
            after.writestr(name, raw, kind if "/data/" in name else zipfile.ZIP_STORED)
    return zstd(buffer.getvalue())


def test_what_a_megatron_member_says_of_itself_must_agree(refused, tmp_path):
    values, ids = rows_of()

    def said_of(member, **saver):
        meta = {"k": KEPT, "save_dtype": "fp32", **saver}
        return refused(TargetsError, "megatron", tmp_path, **megatron(tmp_path, member, meta=meta))

    member = saved([values], [ids], torch.float32)
    assert "it keeps 5 entries, not 4" in said_of(member, k=4)
    assert "data/0 does not hold 6 x 2 x 5 numbers" in said_of(member, save_dtype="fp16")
    assert "data/0 does not hold 6 x 2 x 5 numbers" in said_of(
        rewritten(member, kind=zipfile.ZIP_DEFLATED)
    )
    others = saved([values], [ids[:3]], torch.float32)
    assert "its three lists are of tensors of other sizes" in said_of(others)
    size = bytes([ord("K"), 6, ord("K"), 2])  # 6 x 2, then -6 x -2 in four bytes each
    negative = b"J" + (-6).to_bytes(4, "little", signed=True)
    negative += b"J" + (-2).to_bytes(4, "little", signed=True)
    strides = bytes([ord("K"), 10, ord("K"), 5])
    turned = b"J" + (-10).to_bytes(4, "little", signed=True) + strides[2:]
    lying = rewritten(rewritten(member, size, negative), strides, turned)
    assert "does not lie as torch.save writes it" in said_of(lying)


def test_a_megatron_tar_that_promises_more_than_it_has_is_refused(refused, tmp_path):
    given = megatron(tmp_path, b"")
    tar = tmp_path / "cp0_dp0__0.tar"
    info = tarfile.TarInfo("_meta.json")
    info.size = 300 << 20
    tar.write_bytes(info.tobuf() + bytes(1024))
    said = refused(TargetsError, "megatron", tmp_path, **given)
    assert f"{tar} is not what it must be: _meta.json is said to be larger than the tar" in said


# ---- TinyViT -----------------------------------------------------------------------------------


def tinyvit(folder, ids=((1, 2), (3, 4)), values=((0.5, 0.25), (0.5, 0.25)), names="01"):
    write_tinyvit(folder / "logits_top2_epoch0", np.array(ids), np.array(values), names)
    return {"samples": ArraySamples(torch.rand(2, 3), {}), "classes": 5}


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"values": [[0.5, 0.25], [0.5, -0.25]]}, "has a probability of -0.25."),
        ({"values": [[0.5, 0.25], [0.5, np.nan]]}, "has a probability of nan."),
        ({"values": [[0.5, 0.25], [0.5, np.inf]]}, "has a probability of inf."),
        (
            {"values": [[0.5, 0.25], [0.75, 0.275]]},
            "sums to 1.025, where rounding leaves 1.013 at most. Give the options that",
        ),
        ({"ids": [[1, 2], [3, -1]]}, "names class -1, but they count from 0."),
        ({"ids": [[1, 2], [3, 5]]}, "names class 5, got 5 classes."),
        ({"ids": [[1, 2], [3, 3]]}, "names class 3 twice."),
    ],
)
def test_a_row_that_cannot_be_is_named(refused, tmp_path, wrong, named):
    given = tinyvit(tmp_path, **wrong)
    folder = tmp_path / "logits_top2_epoch0"
    said = refused(TargetsError, "tinyvit", folder, **given)
    assert said.startswith(f"row 0 of sample 1 in {folder} {named}")


def test_a_row_far_behind_is_named(refused, tmp_path):
    values = np.full((300, 2), 0.25)
    values[290, 1] = -0.25
    given = tinyvit(tmp_path, ids=[[1, 2]] * 300, values=values, names=range(300))
    given["samples"] = ArraySamples(torch.rand(300, 3), {})
    folder = tmp_path / "logits_top2_epoch0"
    said = refused(TargetsError, "tinyvit", folder, **given)
    assert said.startswith(f"row 0 of sample 290 in {folder} has a probability of -0.25")


@pytest.mark.parametrize(
    ("names", "named"),
    [
        (["7", "7"], "key 7 is there twice"),
        (["7", "07"], "key 7 is there twice"),
        (["a.jpg", "a.jpg"], "key a.jpg is there twice"),
        (["1", "9" * 30], f"key {'9' * 30} is no sample's number"),
        (["1", "9" * 5000], f"key {'9' * 40} is no sample's number"),
    ],
)
def test_tinyvit_keys_that_say_no_order_are_named(refused, tmp_path, names, named):
    given = tinyvit(tmp_path, names=names)
    folder = tmp_path / "logits_top2_epoch0"
    said = refused(TargetsError, "tinyvit", folder, **given)
    assert said.startswith(f"{folder} is not what it must be: {named}")


def test_tinyvit_keys_that_are_no_text_are_named(refused, tmp_path):
    given = tinyvit(tmp_path)
    keys = tmp_path / "logits_top2_epoch0" / "rank1-keys.txt"
    keys.write_bytes(b"\xff\n")
    said = refused(TargetsError, "tinyvit", keys.parent, **given)
    assert said.startswith(f"{keys} is not what it must be: 'utf-8' codec can't decode byte 0xff")


@pytest.mark.parametrize("kept", ["0", "9" * 30])
def test_tinyvit_folders_of_no_number_of_classes_are_refused(refused, tmp_path, kept):
    given = tinyvit(tmp_path)
    folder = (tmp_path / "logits_top2_epoch0").rename(tmp_path / f"logits_top{kept}_epoch0")
    said = refused(TargetsError, "tinyvit", folder, **given)
    assert "is no folder of saved logits of TinyViT" in said


# ---- all ---------------------------------------------------------------------------------------


def test_no_samples_at_all_are_refused(refused, tmp_path):
    given = tinyvit(tmp_path)
    given["samples"] = ArraySamples(torch.rand(0, 3), {})
    said = refused(DataError, "tinyvit", tmp_path / "logits_top2_epoch0", **given)
    assert "there are no samples" in said
