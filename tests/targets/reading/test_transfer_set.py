import numpy as np
import pytest
import torch

import limbeck.targets.asking._learn as learning_rows
import limbeck.targets.reading._transfer_set as transfer_set
from limbeck._errors import OptionError, TargetsError
from limbeck.data import ArraySamples
from limbeck.signals import Head
from limbeck.targets import (
    Ensemble,
    TransferSet,
    capture,
    compare,
    convert,
    data_fingerprint,
    describe,
)
from limbeck.teachers import Teacher


def test_reads_any_samples_in_any_order(stored, samples):
    targets = TransferSet(stored)
    everything = targets.read(targets.positions(samples.keys))["label"].values
    some = torch.tensor([7, 7, 3, 39])
    got = targets.read(targets.positions(samples.keys[some.numpy()]))["label"].values
    assert got.equal(everything[some])
    assert targets.aligned(samples).rows(some)["label"].values.equal(everything[some])


def test_rows_stay_in_the_stored_precision(stored, samples):
    rows = TransferSet(stored).aligned(samples).rows(torch.arange(3))["label"]
    assert rows.values.dtype == torch.float16
    assert rows.to(torch.device("cpu")).values.dtype == torch.float32


@pytest.fixture(params=["memory", "mapped", "ensemble"])
def opened(request, stored):
    """A transfer set of 40 samples, or what is read like one."""
    if request.param == "ensemble":
        return Ensemble([TransferSet(stored), TransferSet(stored)])
    return TransferSet(stored, reading=request.param)


def frozen(array):
    array.setflags(write=False)
    return array


@pytest.mark.parametrize(
    "positions",
    [
        [7, 0, 39],
        (7, 0, 39),
        np.array([7, 0, 39], dtype=np.uint8),
        frozen(np.array([7, 0, 39])),
        torch.tensor([7, 0, 39], dtype=torch.int32),
    ],
)
def test_positions_may_be_a_list_or_an_array(opened, positions):
    expected = opened.read(torch.tensor([7, 0, 39]))["label"].values
    assert opened.read(positions)["label"].values.equal(expected)
    assert opened.read(positions[:0])["label"].values.shape == (0, 5)


@pytest.mark.parametrize(
    ("positions", "got"),
    [
        ([3, -1], "-1"),
        (torch.tensor([40]), "40"),
        (np.array([2**64 - 1], dtype=np.uint64), "18446744073709551615"),
        (torch.tensor([True, False]), r"bool \(2,\)"),
        ([True] * 40, r"bool \(40,\)"),
        (torch.tensor([0.0, 1.0]), r"float32 \(2,\)"),
        (torch.tensor([[0, 1]]), r"int64 \(1, 2\)"),
        (3, r"int64 \(\)"),
    ],
)
def test_positions_that_are_none_are_refused(opened, positions, got):
    message = rf"whole numbers from 0 to 39, \(samples,\), got {got}\. Take those that"
    with pytest.raises(OptionError, match=message):
        opened.read(positions)


def test_keys_may_be_a_list(opened, samples):
    expected = opened.positions(samples.keys)
    assert opened.positions(samples.keys.tolist()).equal(expected)
    assert opened.positions([]).shape == (0,)


@pytest.mark.parametrize(
    ("change", "got"),
    [
        (lambda keys: keys.view(np.int64), r"int64 \(40,\)"),
        (lambda keys: torch.from_numpy(keys.view(np.int64)), r"int64 \(40,\)"),
        (lambda keys: keys[0], r"uint64 \(\)"),
        (lambda keys: keys.astype(float), r"float64 \(40,\)"),
        (lambda keys: keys.view(np.int64).tolist(), r"int64 \(40,\)"),
    ],
)
def test_keys_that_are_none_are_refused(opened, samples, change, got):
    message = rf"keys must be content keys, \(samples,\) uint64, got {got}\. .*view\(np.uint64\)"
    with pytest.raises(OptionError, match=message):
        opened.positions(change(samples.keys))


def test_says_how_many_samples_have_no_row(stored, samples, make):
    targets = TransferSet(stored)
    mixed = ArraySamples(torch.cat([samples.inputs[:10], make.samples(12, seed=5).inputs]), {})
    message = r"no row for 12 of 22 samples \(the first is number 10\).*Capture it again"
    with pytest.raises(TargetsError, match=message):
        targets.positions(mixed.keys)
    with pytest.raises(TargetsError, match=message):
        targets.aligned(mixed)


@pytest.mark.parametrize("view", [1, -1])
def test_says_which_views_there_are(stored, samples, view):
    with pytest.raises(TargetsError, match=rf"holds views 0\.\.0 of each sample, not view {view}"):
        TransferSet(stored).positions(samples.keys, view)


def test_keys_beyond_both_ends_are_missing(stored, samples):
    ends = np.array([0, 2**64 - 1], dtype=np.uint64)
    with pytest.raises(TargetsError, match=r"no row for 2 of 2 samples"):
        TransferSet(stored).positions(ends)


def test_expects_what_it_was_made_of(stored, teacher, samples, make):
    TransferSet(stored).expect(
        teacher=teacher.fingerprint,
        heads=[make.label],
        transform=str(samples.views),
        data=data_fingerprint(samples.keys),
        views=1,
    )


@pytest.mark.parametrize(
    ("expected", "message"),
    [
        (
            {"teacher": "0123456789abcdef"},
            r"teacher: expected 0123456789abcdef, got \w{16} \(asked\)",
        ),
        ({"transform": "flip"}, r'transform: expected "flip", got "shift=0'),
        ({"data": "ffff"}, r'data: expected "ffff", got'),
        ({"views": 3}, r"views: expected 3, got 1"),
        (
            {"heads": [Head(space="categorical", size=6)]},
            r"head label: expected categorical of size 6, got categorical of size 5",
        ),
        ({"heads": [Head(space="binary", size=5)]}, r"head label: expected binary"),
        (
            {"heads": [Head(name="kind", space="categorical", size=5)]},
            r"heads: expected kind, got label",
        ),
        (
            {"heads": [Head(space="categorical", size=5, classes=("ant", "bee", "cow", "d", "e"))]},
            r"classes of head label: expected 'cow' for class 2, got 'cat'",
        ),
        (
            {"heads": [Head(space="categorical", size=5)]},
            r"classes of head label: expected no names, got 5 names",
        ),
    ],
)
def test_names_what_is_other_than_expected(stored, expected, message):
    with pytest.raises(TargetsError, match=rf"something else: {message}.*another folder"):
        TransferSet(stored).expect(**expected)


def test_names_everything_that_differs_at_once(stored):
    with pytest.raises(TargetsError, match=r"teacher: .*; transform: "):
        TransferSet(stored).expect(teacher="0", transform="flip")


def test_the_fingerprint_of_data_forgets_order_and_repetition(samples, make):
    keys = samples.keys
    assert data_fingerprint(keys) == data_fingerprint(np.concatenate([keys[::-1], keys[:3]]))
    assert data_fingerprint(keys) != data_fingerprint(keys[1:])
    assert data_fingerprint(keys) != data_fingerprint(make.samples(seed=1).keys)


def test_printed_it_says_where_and_what_it_is(stored):
    assert repr(TransferSet(stored)) == (
        f"<TransferSet {stored}: 40 rows of label, codec dense16, T = 4>"
    )


def test_verify_decodes_every_row(stored):
    assert TransferSet(stored).verify() == 40


@pytest.mark.parametrize("codec", [{}, {"codec": "topk", "codec_options": {"k": 2}}])
def test_a_live_teacher_says_what_is_stored(teacher, samples, tmp_path, codec):
    targets = capture(teacher, samples, tmp_path, **codec)
    found = compare(targets, teacher, samples, limit=10)
    assert found.rows == 10
    assert found.difference < 1e-3
    assert found.mean_kl < 1e-3


def test_a_teacher_who_changed_its_mind_is_noticed(stored, samples, make):
    other = Teacher(make.asked(lambda x: -make.logits(x)), [make.label])
    with pytest.raises(TargetsError, match=r"not what the teacher says now: .* a difference of \d"):
        compare(TransferSet(stored), other, samples)


def test_describes_itself_with_a_row_in_words(stored, samples):
    targets = TransferSet(stored)
    facts = describe(targets)
    assert facts["compressed by"] == "softmax at temperature 4"
    assert facts["rows"] == "40 in 1 shard"
    first = targets.read(torch.tensor([0]))["label"].values[0].float().exp()
    best = ("ant", "bee", "cat", "dog", "eel")[int(first.argmax())]
    assert facts["first row of label"].startswith(f"{best}: {float(first.max()):.3f}, ")
    assert facts["first row of label"].endswith(", ...")


@pytest.mark.parametrize("several", [False, True])
@pytest.mark.parametrize(
    ("codec", "options"),
    [("dense16", {}), ("selected", {"cost": 0.0}), ("threshold", {"tau": 0.1})],
)
def test_the_first_row_alone_is_what_it_is_among_all(
    samples, tmp_path, make, codec, options, several
):
    def captured(folder, sharp):
        def answer(sample):
            rows = np.stack([make.logits(sample), make.logits(sample + 1)])
            rows *= 9.0 if np.array_equal(sample, sharp) else 0.1
            return rows if several else rows[0]

        words = {"codec": codec, "codec_options": options, "temperature": 1.0}
        return capture(Teacher(make.asked(answer), [make.label]), samples, folder, **words)

    first = samples.keys == captured(tmp_path / "order", None).keys[0]
    targets = captured(tmp_path / "set", samples.inputs[int(first.argmax())].numpy())
    alone, among = targets.like["label"], targets.read(torch.tensor([0]))["label"]
    for name, part in vars(among).items():
        other = getattr(alone, name)
        assert other.equal(part) if isinstance(part, torch.Tensor) else other == part


def test_to_look_at_one_row_no_more_is_unpacked_than_a_block(stored, tmp_path, monkeypatch):
    def unpacked(shards, manifest):
        raise AssertionError("the whole set is unpacked")

    monkeypatch.setattr(transfer_set, "in_memory", unpacked)
    targets = TransferSet(stored)
    assert "first row of label" in describe(targets)
    assert convert(stored, tmp_path / "converted", codec="dense32").verify() == 40


def test_describes_every_kind_of_row(samples, tmp_path, make):
    heads = [Head(name="tags", space="binary", size=2), Head(name="place", space="real", size=4)]
    teacher = Teacher(
        lambda x: {"tags": x[:, 0, :2] * 0 + [[9.0, -9.0]], "place": x[:, 0] * 0 + 2.5}, heads
    )
    facts = describe(capture(teacher, samples, tmp_path / "a", temperature=1.0))
    assert facts["first row of tags"] == "class 0: 1.000, class 1: 0.000"
    assert facts["first row of place"] == "2.5, 2.5, 2.5, ..."
    assert "all others" not in facts["faithful"]
    asked = Teacher(make.asked(lambda x: np.stack([[5.0, 5, 0, 0, 0]] * 3)), [make.label])
    facts = describe(capture(asked, samples, tmp_path / "b", codec="topk", codec_options={"k": 1}))
    assert facts["codec"] == "topk (k = 1)"
    assert facts["head label"] == "categorical, size 5, 3 rows a sample"
    assert "biased. Measured over the classes that are named, and all others" in facts["faithful"]
    assert facts["first row of label"].endswith("all others: 0.650")


def test_a_number_that_was_clipped_is_seen_on_the_card(tmp_path, monkeypatch):
    monkeypatch.setattr(learning_rows, "FITTED_ROWS", 50)
    numbers = torch.linspace(-1, 1, 400)[:, None]
    numbers[399] = 3000.0  # not among those that the range is learned from
    teacher = Teacher(lambda x: x, [Head(name="place", space="real", size=1)])
    for name, data in (("all", numbers), ("without", numbers[:399])):
        made = capture(teacher, ArraySamples(data, {}), tmp_path / name, codec="real8")
        assert (made.card.largest_difference > 0.9) == (name == "all")
        said = describe(made)["faithful"]
        assert said == (
            f"to {made.card.largest_difference:.3g} of the larger of 1 and the teacher's number"
        )
