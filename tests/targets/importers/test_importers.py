"""Small caches written to each layout's description, and read back."""

import io
import json
import math
import tarfile

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from limbeck._errors import DataError, OptionError, TargetsError
from limbeck.data import ArraySamples
from limbeck.signals import Sparse
from limbeck.targets import TransferSet
from limbeck.targets.importers import import_set
from limbeck.targets.importers._cache import most_if_rounded
from tests.targets.importers.conftest import KEPT, TOKENS, WORDS


def check(targets, samples, ids, probabilities, *, rel):
    """The rows of `samples` are these, and say of themselves what they are."""
    rows = TransferSet(targets.folder).read(targets.positions(samples.keys))["label"]
    assert isinstance(rows, Sparse)
    assert np.array_equal(rows.ids.long().numpy(), ids)
    assert rows.probabilities.numpy() == pytest.approx(probabilities, rel=rel, abs=1e-6)
    total = rows.probabilities.double().sum(-1) + rows.tail
    assert float((total - 1).abs().max()) < 1e-5
    assert targets.card.biased
    assert targets.manifest.settings.origin.kl_to_teacher is None
    assert targets.verify() == targets.card.rows


# ---- DistillKit -------------------------------------------------------------------------------


def bits_of(number, bits):
    return [(number >> place) & 1 for place in range(bits - 1, -1, -1)]


def packed(numbers, bits):
    stream = [bit for number in numbers for bit in bits_of(int(number), bits)]
    stream += [0] * (-len(stream) % 8)
    return [int("".join(map(str, stream[at : at + 8])), 2) for at in range(0, len(stream), 8)]


def write_distillkit(folder, samples, ids, compressed, *, lengths=None, rename=None):
    folder.mkdir()
    lines = {"input_ids": [], "compressed_logprobs": [], "bytepacked_indices": []}
    for number, tokens in enumerate(samples.inputs["input_ids"].tolist()):
        length = TOKENS if lengths is None else lengths[number]
        lines["input_ids"].append(tokens[:length])
        lines["compressed_logprobs"].append(compressed[number][:length])
        lines["bytepacked_indices"].append([packed(row, 17) for row in ids[number][:length]])
    schema = pa.schema(
        [
            ("input_ids", pa.list_(pa.uint64())),
            ("compressed_logprobs", pa.list_(pa.list_(pa.uint8()))),
            ("bytepacked_indices", pa.list_(pa.list_(pa.uint8()))),
        ]
    )
    table = pa.table(lines, schema=schema)
    for number, at in enumerate((0, 7)):  # more than nine files come in the order of numbers
        part = table.slice(at, 7 if at == 0 else 5)
        pq.write_table(
            part if rename is None else part.rename_columns(rename),
            folder / f"data_{[2, 10][number]}.parquet",
        )


def float_bytes(values, kind="<f4"):
    return list(np.asarray(values, dtype=kind).tobytes())


EXACT = {"d": WORDS, "k": KEPT, "exact_k": KEPT}


def test_distillkit_with_steps(texts, kept, tmp_path):
    ids, logs = kept
    steps = np.diff(logs, prepend=0.0)
    compressed = [[float_bytes(row) for row in text] for text in steps]
    write_distillkit(tmp_path / "cache", texts, ids, compressed)
    targets = import_set(
        "distillkit", tmp_path / "cache", tmp_path / "set",
        samples=texts, classes=WORDS, options=EXACT,
    )  # fmt: skip
    check(targets, texts, ids, np.exp(logs), rel=2e-3)
    assert targets.manifest.settings.origin.path == ("distillkit",)


def test_distillkit_with_a_polynomial_and_residuals(texts, kept, tmp_path):
    ids, _ = kept
    # Two exact in bfloat16, three of a + b place + c sqrt(place) + scale (level - 8).
    exact, (a, b, c), scale, levels = [-1.0, -1.5], (-2.0, -0.25, -0.5), 0.125, [9, 8, 6]
    logs = exact + [
        a + b * place + c * math.sqrt(place) + scale * (level - 8)
        for place, level in zip(range(3), levels, strict=True)
    ]
    bfloat = torch.tensor(exact, dtype=torch.bfloat16).view(torch.uint8).tolist()
    row = bfloat + float_bytes([a, b, c]) + float_bytes([scale], "<f2") + packed(levels, 4)
    write_distillkit(tmp_path / "cache", texts, ids, [[row] * TOKENS] * 12)
    options = {
        "d": WORDS, "k": KEPT, "exact_k": 2, "exact_dtype": "bfloat16",
        "polynomial_terms": [0, 1, "sqrt"], "delta_encoding": False,
        "residual_bins": [{"scale_dtype": "float16", "element_bits": 4, "num_elements": 3}],
    }  # fmt: skip
    targets = import_set(
        "distillkit", tmp_path / "cache", tmp_path / "set",
        samples=texts, classes=WORDS, options=options,
    )  # fmt: skip
    whole = np.exp(logs)
    check(targets, texts, ids, np.broadcast_to(whole / max(1, whole.sum()), ids.shape), rel=2e-3)


def test_distillkit_bins_of_one_bit_are_one_scale_up_or_down(texts, kept, tmp_path):
    ids, _ = kept
    # One exact, a constant fit of four, a bin of three single bits, and one that no bin reaches.
    rng = np.random.default_rng(4)
    compressed, expected = [], np.zeros((12, TOKENS, KEPT))
    for text in range(12):
        compressed.append([])
        for token in range(TOKENS):
            log, scale = float(np.float32(rng.uniform(-2, -1))), float(np.float16(rng.uniform()))
            ups = rng.integers(0, 2, 3).tolist()
            byte = 128 * ups[0] + 64 * ups[1] + 32 * ups[2]
            row = [*float_bytes([log, -1.5]), *float_bytes([scale], "<f2"), byte]
            compressed[-1].append(row)
            expected[text, token, 0] = math.exp(log)
            for place in range(1, KEPT):
                residual = 0.0 if place == 4 else scale if ups[place - 1] else -scale
                log += -1.5 + residual
                expected[text, token, place] = math.exp(log)
    write_distillkit(tmp_path / "cache", texts, ids, compressed)
    options = {
        "d": WORDS, "k": KEPT, "exact_k": 1, "polynomial_terms": [0],
        "residual_bins": [{"scale_dtype": "float16", "element_bits": 1, "num_elements": 3}],
    }  # fmt: skip
    targets = import_set(
        "distillkit", tmp_path / "cache", tmp_path / "set",
        samples=texts, classes=WORDS, options=options,
    )  # fmt: skip
    check(targets, texts, ids, expected, rel=2e-3)


def test_distillkit_texts_of_other_lengths_name_nothing_at_their_end(texts, kept, tmp_path):
    ids, logs = kept
    compressed = [[float_bytes(row) for row in text] for text in np.diff(logs, prepend=0.0)]
    lengths = [0, *(TOKENS - number % 3 for number in range(1, 12))]
    write_distillkit(tmp_path / "cache", texts, ids, compressed, lengths=lengths)
    targets = import_set(
        "distillkit", tmp_path / "cache", tmp_path / "set",
        samples=texts, classes=WORDS, options=EXACT,
    )  # fmt: skip
    rows = targets.read(targets.positions(texts.keys))["label"]
    for number, length in enumerate(lengths):
        assert (rows.tail[number, length:] == 1).all()
        assert (rows.probabilities[number, length:] == 0).all()
        assert (rows.tail[number, :length] < 1).all()


def test_distillkit_may_say_nothing_of_the_last_token(texts, kept, tmp_path):
    ids, logs = kept
    compressed = [[float_bytes(row) for row in text[:-1]] for text in np.diff(logs, prepend=0.0)]
    write_distillkit(tmp_path / "cache", texts, ids[:, :-1], compressed)
    targets = import_set(
        "distillkit", tmp_path / "cache", tmp_path / "set",
        samples=texts, classes=WORDS, options=EXACT,
    )  # fmt: skip
    rows = targets.read(targets.positions(texts.keys))["label"]
    assert (rows.tail[:, -1] == 1).all()
    assert (rows.tail[:, :-1] < 1).all()


def test_distillkit_refuses_other_texts_and_other_settings(texts, kept, tmp_path):
    ids, logs = kept
    compressed = [[float_bytes(row) for row in text] for text in np.diff(logs, prepend=0.0)]
    write_distillkit(tmp_path / "cache", texts, ids, compressed)
    shuffled = texts.subset(torch.randperm(12, generator=torch.Generator().manual_seed(2)))

    def take(samples, **options):
        return import_set(
            "distillkit", tmp_path / "cache", tmp_path / "set",
            samples=samples, classes=WORDS, options={**EXACT, **options},
        )  # fmt: skip

    with pytest.raises(DataError, match="is another text"):
        take(shuffled)
    more = {name: torch.cat([part, part[:1] + 1]) for name, part in texts.inputs.items()}
    with pytest.raises(DataError, match="the cache has rows of 12 samples, got 13"):
        take(ArraySamples(more, {}))
    with pytest.raises(DataError, match="the cache has rows of 12 or more samples, got 11"):
        take(texts.subset(torch.arange(11)))
    with pytest.raises(OptionError, match="a row of compressed_logprobs takes 40 bytes, got 20"):
        take(texts, exact_dtype="float64")
    with pytest.raises(OptionError, match="exact_dtype: input should be 'float16'"):
        take(texts, exact_dtype="float8")
    assert take(texts).verify() == 12 * TOKENS  # what was refused left nothing in the way


def test_distillkit_of_older_versions_is_refused_by_name(texts, kept, tmp_path):
    ids, logs = kept
    compressed = [[float_bytes(row) for row in text] for text in logs]
    names = ["input_ids", "exact_values", "packed_indices"]
    write_distillkit(tmp_path / "cache", texts, ids, compressed, rename=names)
    with pytest.raises(TargetsError, match="no column bytepacked_indices, compressed_logprobs"):
        import_set(
            "distillkit", tmp_path / "cache", tmp_path / "set",
            samples=texts, classes=WORDS, options=EXACT,
        )  # fmt: skip


# ---- Megatron-LM ------------------------------------------------------------------------------


def tar_of(path, members):
    with tarfile.open(path, "w") as tar:
        for name, raw in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(raw)
            tar.addfile(info, io.BytesIO(raw))


def zstd(raw):
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as stream:
        stream.write(raw)
    return sink.getvalue().to_pybytes()


def saved(values, ids, kind):
    """What Megatron-LM saves of some micro-batches, `(tokens, samples, kept)` each."""
    buffer = io.BytesIO()
    torch.save(
        {
            "values": [torch.tensor(each).to(kind) for each in values],
            "indices_low": [torch.tensor(each & 0xFFFF).to(torch.uint16) for each in ids],
            "bit_17": [torch.tensor(each >> 16 & 1).bool() for each in ids],
        },
        buffer,
    )
    return zstd(buffer.getvalue())


def write_megatron(folder, ids, logs, *, kind="fp16", context=0, process=None):
    """Two processes, micro-batches of one, two of them an iteration, three iterations, two tars."""
    folder.mkdir()
    types = {"fp16": torch.float16, "bf16": torch.bfloat16, "fp32": torch.float32}
    meta = {"hash": "0", "saver": {"k": KEPT, "p": None, "min_k": 1, "save_dtype": kind}}
    for own in range(2) if process is None else process:
        members = {}
        for iteration in range(3):
            numbers = [4 * iteration + 2 * micro + own for micro in range(2)]
            members[f"{iteration}.pt.zst"] = saved(
                [logs[number][:, None] for number in numbers],
                [ids[number][:, None] for number in numbers],
                types[kind],
            )
        for name, part in (("1", list(members)[:2]), ("2", list(members)[2:])):
            whole = {"_meta.json": json.dumps(meta).encode()}
            whole |= {each: members[each] for each in part}
            tar_of(folder / f"cp{context}_dp{own}__{name}.tar", whole)


def take_megatron(tmp_path, samples, **more):
    return import_set(
        "megatron", tmp_path / "cache", tmp_path / "set", samples=samples, classes=WORDS, **more
    )


@pytest.mark.parametrize(("kind", "rel"), [("fp16", 5e-3), ("bf16", 4e-2), ("fp32", 1e-3)])
def test_megatron_rows_come_in_the_order_of_its_sampler(texts, kept, tmp_path, kind, rel):
    ids, logs = kept
    write_megatron(tmp_path / "cache", ids, logs, kind=kind)
    targets = take_megatron(tmp_path, texts)
    check(targets, texts, ids, np.exp(logs), rel=rel)


def test_megatron_marks_of_nothing_are_padding(texts, kept, tmp_path):
    ids, logs = (array.copy() for array in kept)
    ids[:, :, -2:], logs[:, :, -2:] = -1, -1e4
    write_megatron(tmp_path / "cache", ids, logs)
    targets = take_megatron(tmp_path, texts)
    ids[:, :, -2:] = 0
    check(targets, texts, ids, np.exp(logs), rel=5e-3)


def test_megatron_with_context_parallelism_is_refused(texts, kept, tmp_path):
    write_megatron(tmp_path / "cache", *kept, context=1)
    with pytest.raises(TargetsError, match="context parallelism"):
        take_megatron(tmp_path, texts)


def test_a_megatron_process_that_is_missing_iterations_is_found(texts, kept, tmp_path):
    write_megatron(tmp_path / "cache", *kept)
    (tmp_path / "cache" / "cp0_dp1__2.tar").unlink()
    with pytest.raises(TargetsError, match="do not hold the same iterations"):
        take_megatron(tmp_path, texts)


class _Harm:
    def __reduce__(self):
        return open, ("harmed", "w")


def test_a_megatron_member_is_never_unpickled(texts, kept, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_megatron(tmp_path / "cache", *kept)
    buffer = io.BytesIO()
    torch.save({"values": [torch.zeros(2, 1, 3)], "indices_low": [_Harm()]}, buffer)
    members = {
        "_meta.json": b'{"saver": {"k": 5, "save_dtype": "fp16"}}',
        "0.pt.zst": zstd(buffer.getvalue()),
    }
    tar_of(tmp_path / "cache" / "cp0_dp0__1.tar", members)
    with pytest.raises(TargetsError, match="is not what it must be"):
        take_megatron(tmp_path, texts)
    assert not (tmp_path / "harmed").exists()


@pytest.mark.parametrize("cut", [100, 5000])
def test_a_megatron_tar_that_was_cut_is_found(texts, kept, tmp_path, cut):
    write_megatron(tmp_path / "cache", *kept)
    tar = tmp_path / "cache" / "cp0_dp0__1.tar"
    tar.write_bytes(tar.read_bytes()[:cut])
    with pytest.raises(TargetsError):
        take_megatron(tmp_path, texts)


# ---- TinyViT ----------------------------------------------------------------------------------


def write_tinyvit(folder, ids, values, names):
    folder.mkdir()
    halves = np.array_split(np.arange(len(ids)), 2)
    for rank, part in enumerate(halves):
        with (folder / f"rank{rank}-values.bin").open("wb") as file:
            for number in part:
                file.write(np.int32(7 + number).tobytes())
                file.write(ids[number].astype("<i2").tobytes())
                file.write(values[number].astype("<f2").tobytes())
        keys = "".join(f"{names[number]}\n" for number in part)
        (folder / f"rank{rank}-keys.txt").write_text(keys)


def take_tinyvit(tmp_path, samples, classes=30):
    folder = tmp_path / "logits_top4_epoch3"
    return import_set("tinyvit", folder, tmp_path / "set", samples=samples, classes=classes)


@pytest.mark.parametrize("numbered", [True, False])
def test_tinyvit_rows_come_by_number_or_as_they_lie(images, vision, tmp_path, numbered):
    ids, values = vision
    order = np.random.default_rng(3).permutation(20)
    names = [str(number) for number in order] if numbered else [f"n01/{n}.jpg" for n in order]
    write_tinyvit(tmp_path / "logits_top4_epoch3", ids[order], values[order], names)
    samples = images if numbered else images.subset(torch.from_numpy(order))
    targets = take_tinyvit(tmp_path, samples)
    check(targets, images, ids, values, rel=2e-3)
    assert targets.manifest.settings.transform == "TinyViT's augmentation, epoch 3"


def test_tinyvit_ranks_come_by_their_number(images, vision, tmp_path):
    """Rank 2 before rank 10, which as text it is not."""
    ids, values = vision
    folder = tmp_path / "logits_top4_epoch3"
    names = [f"n01/{number}.jpg" for number in range(20)]
    write_tinyvit(folder, ids, values, names)
    for kind in ("keys.txt", "values.bin"):
        (folder / f"rank0-{kind}").rename(folder / f"rank2-{kind}")
        (folder / f"rank1-{kind}").rename(folder / f"rank10-{kind}")
    check(take_tinyvit(tmp_path, images), images, ids, values, rel=2e-3)


def test_tinyvit_rows_that_were_rounded_above_1_are_divided_by_their_sum(images, tmp_path):
    ids = np.tile(np.arange(4), (20, 1))
    values = np.tile([0.999, 0.002, 0.001, 0.0], (20, 1))
    write_tinyvit(tmp_path / "logits_top4_epoch3", ids, values, range(20))
    targets = take_tinyvit(tmp_path, images)
    check(targets, images, ids, values / 1.002, rel=2e-3)
    rows = targets.read(torch.arange(20))["label"]
    assert (rows.tail >= 0).all()


@pytest.mark.parametrize("kept", [1, 2, 3, 5, 30, 200, 1000])
@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float16, torch.float32])
def test_no_rounding_to_16_bits_sums_to_more_than_is_let_pass(kept, kind):
    generator = np.random.default_rng(kept)
    for concentration in np.logspace(-2, 1, 12):
        p = (
            generator.dirichlet(np.full(kept, concentration), 300)
            if kept > 1
            else np.ones((300, 1))
        )
        p = torch.from_numpy(np.sort(p)[:, ::-1].copy()).clamp_min(1e-30)
        steps = p.log().diff(prepend=torch.zeros(300, 1, dtype=torch.float64))
        for read in (
            p.to(kind).double(),
            p.log().to(kind).double().exp(),
            steps.to(kind).float().cumsum(-1).double().exp(),
        ):
            assert float(read.sum(-1).max()) < most_if_rounded(kept)


@pytest.mark.parametrize(
    ("harm", "named"),
    [
        (lambda folder: (folder / "rank1-keys.txt").unlink(), "rank1-keys.txt is missing"),
        (lambda folder: (folder / "rank0-values.bin").write_bytes(b"12"), "expected 20 bytes"),
        (lambda folder: [each.unlink() for each in folder.iterdir()], "holds no rank"),
    ],
)
def test_a_damaged_tinyvit_folder_is_named(images, vision, tmp_path, harm, named):
    write_tinyvit(tmp_path / "logits_top4_epoch3", *vision, range(20))
    harm(tmp_path / "logits_top4_epoch3")
    with pytest.raises(TargetsError, match=named):
        take_tinyvit(tmp_path, images)


def test_too_few_classes_and_double_ones_are_refused(images, vision, tmp_path):
    ids, values = vision
    write_tinyvit(tmp_path / "logits_top4_epoch3", ids, values, range(20))
    with pytest.raises(TargetsError, match=r"row 0 of sample 0 in .* class 2\d, got 20 classes"):
        take_tinyvit(tmp_path, images, classes=20)
    ids[3] = 7
    (tmp_path / "logits_top4_epoch3").rename(tmp_path / "before")
    write_tinyvit(tmp_path / "logits_top4_epoch3", ids, values, range(20))
    with pytest.raises(TargetsError, match=r"row 0 of sample 3 in .* names class 7 twice"):
        take_tinyvit(tmp_path, images)


# ---- all --------------------------------------------------------------------------------------


@pytest.mark.parametrize("layout", ["distillkit", "megatron", "tinyvit"])
def test_a_folder_of_something_else_is_refused(texts, tmp_path, layout):
    options = EXACT if layout == "distillkit" else {}
    with pytest.raises(TargetsError, match="Name th"):
        import_set(
            layout, tmp_path, tmp_path / "set", samples=texts, classes=WORDS, options=options
        )


def test_unknown_layouts_and_options_are_refused(texts, tmp_path):
    with pytest.raises(OptionError, match="Did you mean megatron"):
        import_set("megatro", tmp_path, tmp_path / "set", samples=texts, classes=9)
    with pytest.raises(OptionError, match="layout megatron has no options, got kk"):
        import_set(
            "megatron", tmp_path, tmp_path / "set", samples=texts, classes=9, options={"kk": 1}
        )
    with pytest.raises(OptionError, match="options of layout distillkit: d is missing"):
        import_set("distillkit", tmp_path, tmp_path / "set", samples=texts, classes=9)


def test_a_sample_that_is_given_twice_is_refused(images, vision, tmp_path):
    write_tinyvit(tmp_path / "logits_top4_epoch3", *vision, range(20))
    with pytest.raises(DataError, match="there twice"):
        take_tinyvit(tmp_path, images.subset(torch.zeros(20, dtype=torch.long)))
