import math

import numpy as np
import pandas as pd
import pytest
import torch

from limbeck._errors import OptionError, StorageError, TargetsError
from limbeck.data import ArraySamples
from limbeck.data._views import Views
from limbeck.signals import Dense, Head, Sparse
from limbeck.targets import TransferSet, capture, compare, convert, describe, to_parquet
from limbeck.targets.reading._mix import log_density
from limbeck.teachers import Teacher


def rows_of(targets, samples, view=0):
    return targets.read(targets.positions(samples.keys, view))["label"]


def test_from_exact_rows_it_is_what_would_have_been_captured(make, samples, tmp_path):
    teacher = Teacher(make.asked(make.logits), [make.label])
    capture(teacher, samples, tmp_path / "exact", codec="dense32")
    options = {"codec": "topk", "codec_options": {"k": 3}}
    direct = capture(teacher, samples, tmp_path / "direct", **options)
    converted = convert(tmp_path / "exact", tmp_path / "converted", **options)
    one, other = rows_of(direct, samples), rows_of(converted, samples)
    assert one.ids.equal(other.ids)
    torch.testing.assert_close(one.probabilities, other.probabilities, rtol=2**-9, atol=0)
    assert converted.verify() == 40
    assert converted.manifest.settings.teacher == direct.manifest.settings.teacher


def test_the_manifest_says_what_the_rows_went_through(make, samples, tmp_path):
    teacher = Teacher(make.asked(make.logits), [make.label])
    first = capture(teacher, samples, tmp_path / "a", codec="topk", codec_options={"k": 2})
    convert(tmp_path / "a", tmp_path / "b", codec="dense32")
    last = convert(tmp_path / "b", tmp_path / "c", codec="dense16")
    origin, card = last.manifest.settings.origin, last.card
    assert origin.path == ("topk", "dense32")
    assert origin.kl_to_teacher == first.card.kl_to_teacher
    assert origin.biased
    assert card.biased  # dense16 drops nothing, but topk did
    assert card.kl_to_teacher is card.agreement_with_teacher is card.squared_error is None
    assert 0 <= card.to_origin.kl < 1e-5
    said = describe(last)["converted from"]
    assert said.startswith("topk, dense32; KL to those rows")
    assert said.endswith("biased")


def test_a_tail_of_which_nothing_is_known_spreads_evenly(make, samples, tmp_path):
    teacher = Teacher(make.asked(make.logits), [make.label])
    sparse = capture(teacher, samples, tmp_path / "a", codec="topk", codec_options={"k": 2})
    dense = convert(tmp_path / "a", tmp_path / "b", codec="dense32")
    kept, got = rows_of(sparse, samples), rows_of(dense, samples)
    assert isinstance(got, Dense)
    for row in range(40):
        want = [float(kept.tail[row]) / 3] * 5
        for entry, value in zip(kept.ids[row].tolist(), kept.probabilities[row], strict=True):
            want[entry] = float(value)
        for entry in range(5):
            assert math.exp(got.values[row, entry]) == pytest.approx(want[entry], rel=1e-4)


def test_a_fair_draw_is_biased_once_its_distribution_is_taken(make, samples, tmp_path):
    teacher = Teacher(make.asked(make.logits), [make.label])
    drawn = capture(teacher, samples, tmp_path / "a", codec="threshold", codec_options={"tau": 0.2})
    assert not drawn.card.biased
    assert convert(tmp_path / "a", tmp_path / "b", codec="dense32").card.biased


def test_a_codec_that_was_named_was_not_chosen_by_what_the_one_before_was(make, samples, tmp_path):
    teacher = Teacher(make.asked(make.logits), [make.label])
    chosen = capture(teacher, samples, tmp_path / "a", codec="auto", max_kl=0.01)
    assert chosen.manifest.settings.chosen_by == "max_kl 0.01"
    named = convert(tmp_path / "a", tmp_path / "b", codec="dense32")
    assert named.manifest.settings.chosen_by == ""


def test_every_head_view_and_row_goes_along(tmp_path):
    heads = [
        Head(name="kind", space="categorical", size=3),
        Head(name="tags", space="binary", size=2),
        Head(name="place", space="real", size=4),
    ]

    def answer(inputs):  # (batch, 2, 4, 4) to two rows a sample
        flat = inputs.reshape(len(inputs), 2, -1)
        return {"kind": flat[..., :3] * 9, "tags": flat[..., 3:5] * 9, "place": flat[..., 5:9]}

    inputs = torch.rand(30, 2, 4, 4, generator=torch.Generator().manual_seed(3))
    samples = ArraySamples(inputs, {}, views=Views(flip=True))
    one = capture(Teacher(answer, heads), samples, tmp_path / "a", codec="dense32", views=2)
    other = convert(tmp_path / "a", tmp_path / "b", codec="dense16")
    for view in range(2):
        was, got = (each.read(each.positions(samples.keys, view)) for each in (one, other))
        for head in heads:
            assert got[head.name].temperature == was[head.name].temperature
            torch.testing.assert_close(
                got[head.name].values.float(), was[head.name].values, rtol=2**-10, atol=2**-12
            )


def test_what_a_codec_learns_it_learns_anew(make, samples, tmp_path, learning):
    capture(Teacher(make.asked(make.logits), [make.label]), samples, tmp_path / "a")
    made = convert(tmp_path / "a", tmp_path / "b", codec=learning)
    was = rows_of(TransferSet(tmp_path / "a"), samples).values.float()
    torch.testing.assert_close(made.states["label"]["mean"], was.mean(0), rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(rows_of(made, samples).values, was, rtol=1e-3, atol=1e-3)


def test_a_live_teacher_is_not_compared_with_what_it_never_said(make, samples, tmp_path):
    teacher = Teacher(make.asked(make.logits), [make.label])
    capture(teacher, samples, tmp_path / "a")
    made = convert(tmp_path / "a", tmp_path / "b", codec="dense32")
    with pytest.raises(TargetsError, match="never asked of the teacher"):
        compare(made, teacher, samples)
    with pytest.raises(TargetsError, match="origin: expected null"):
        capture(teacher, samples, tmp_path / "b", codec="dense32")


def test_cut_off_it_begins_anew_and_something_else_is_left_alone(make, samples, tmp_path):
    teacher = Teacher(make.asked(make.logits), [make.label])
    capture(teacher, samples, tmp_path / "a")
    made = convert(tmp_path / "a", tmp_path / "b", codec="dense32")
    (tmp_path / "b" / "manifest.json").unlink()
    assert convert(tmp_path / "a", tmp_path / "b", codec="dense32").manifest == made.manifest
    with pytest.raises(TargetsError, match="holds a transfer set already"):
        convert(tmp_path / "a", tmp_path / "b", codec="dense32")
    (tmp_path / "b" / "manifest.json").unlink()
    with pytest.raises(TargetsError, match="codec: expected"):
        convert(tmp_path / "a", tmp_path / "b", codec="dense16")


def test_a_codec_that_cannot_hold_them_is_refused_first(make, samples, tmp_path):
    capture(Teacher(make.asked(make.logits), [make.label]), samples, tmp_path / "a")
    with pytest.raises(OptionError):
        convert(tmp_path / "a", tmp_path / "b", codec="topk", codec_options={"k": 6})
    assert not (tmp_path / "b").exists()


def test_parquet_is_read_by_pandas_row_by_row(make, samples, tmp_path):
    stored = capture(Teacher(make.asked(make.logits), [make.label]), samples, tmp_path / "a")
    assert to_parquet(tmp_path / "a", tmp_path / "rows.parquet") == 40
    table = pd.read_parquet(tmp_path / "rows.parquet")
    assert list(table.columns) == ["key", "view", "label.values"]
    assert table["key"].dtype == np.uint64
    by_key = table.set_index("key").loc[samples.keys, "label.values"]
    want = rows_of(stored, samples).values.numpy()
    assert np.array_equal(np.stack(by_key.to_list()), want)


@pytest.mark.parametrize("taken", ["manifest.json", "rows.parquet"])
def test_parquet_is_written_over_nothing(make, samples, tmp_path, taken):
    capture(Teacher(make.asked(make.logits), [make.label]), samples, tmp_path / "a")
    file = tmp_path / "a" / taken
    before = file.read_bytes() if file.exists() else b"mine"
    file.write_bytes(before)
    with pytest.raises(StorageError, match=f"{taken} is there already. Choose another name"):
        to_parquet(tmp_path / "a", file)
    assert file.read_bytes() == before


def test_parquet_goes_to_a_path(stored, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(
        OptionError, match=r"must be a path on this machine, got memory://x/y\.parq"
    ):
        to_parquet(stored, "memory://x/y.parquet")
    assert list(tmp_path.iterdir()) == [stored]


def test_parquet_of_sparse_rows_and_several_rows_a_sample(make, samples, tmp_path):
    def answer(x):  # (4, 5): a row for each line of the sample
        return np.stack([make.logits(line) for line in x])

    options = {"codec": "topk", "codec_options": {"k": 2}}
    stored = capture(Teacher(make.asked(answer), [make.label]), samples, tmp_path / "a", **options)
    to_parquet(tmp_path / "a", tmp_path / "rows.parquet")
    table = pd.read_parquet(tmp_path / "rows.parquet").set_index("key").loc[samples.keys]
    want = rows_of(stored, samples)
    assert isinstance(want, Sparse)
    got = np.stack([np.stack(list(rows)) for rows in table["label.ids"]])
    assert np.array_equal(got, want.ids.numpy())
    tails = np.stack([np.asarray(rows) for rows in table["label.tail"]])
    assert np.array_equal(tails, want.tail.numpy())


PADDED = Head(space="categorical", size=16)
PADS = {
    "dense16": {},
    "dense32": {},
    "sqrt8": {},
    "selected": {},
    "threshold": {"tau": 0.05},
    "principal": {"components": 8},
}


@pytest.mark.parametrize("second", PADS)
@pytest.mark.parametrize("first", PADS)
def test_classes_that_a_vocabulary_is_padded_with_get_no_mass(tmp_path, first, second):
    samples = ArraySamples(torch.randn(100, 4, generator=torch.Generator().manual_seed(0)), {})
    weights = 2 * np.random.default_rng(0).normal(size=(4, 13))

    def answer(inputs):
        padding = np.full((len(inputs), 3), -np.inf)
        return np.concatenate([inputs @ weights, padding], axis=1).astype(np.float32)

    teacher = Teacher(answer, [PADDED])
    settings = {"codec": first, "codec_options": PADS[first], "temperature": 1.0}
    capture(teacher, samples, tmp_path / "a", **settings)
    made = convert(tmp_path / "a", tmp_path / "b", codec=second, codec_options=PADS[second])
    rows = rows_of(made, samples)
    if isinstance(rows, Dense):
        p = rows.values.float().softmax(dim=-1)
    else:
        p = log_density(rows.to(torch.device("cpu")).density, 16).exp()
    assert float(p[:, -3:].max()) == 0
    assert float(p[:, :-3].sum(-1).min()) == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("codec", ["real8", "principal"])
def test_a_codec_learns_from_some_rows_however_many_a_sample_has(tmp_path, codec, monkeypatch):
    monkeypatch.setattr("limbeck.targets._convert.FITTED_ROWS", 8)
    numbers = Head(space="real", size=2)
    options = {"components": 2} if codec == "principal" else {}
    for seed in range(12):  # the keys of some samples are all odd to what is looked for
        drawn = torch.rand(6, 4, generator=torch.Generator().manual_seed(seed))
        samples = ArraySamples(drawn, {})
        teacher = Teacher(lambda x: np.stack([x[:, :2], x[:, 2:]] * 20, axis=1), [numbers])
        folder = tmp_path / str(seed)
        was = rows_of(capture(teacher, samples, folder / "a", codec="real16"), samples)
        made = convert(folder / "a", folder / "b", codec=codec, codec_options=options)
        got = rows_of(made, samples)
        torch.testing.assert_close(got.values, was.values.float(), rtol=0, atol=0.06)
