import pytest
import torch

import limbeck.targets.asking._settle_codec as settling
from limbeck._errors import OptionError, TargetsError
from limbeck.data import ArraySamples, Views
from limbeck.signals import Head
from limbeck.targets import Measured, TransferSet, capture, choose, try_codecs
from limbeck.targets.encoding._choose import bytes_per_row_of, check_choice_of_codec
from limbeck.teachers import Teacher


def tried(codec, size, kl, **options):
    return Measured(
        codec=codec,
        options=options,
        bytes_per_row=size,
        kl=kl,
        squared_error=None,
        difference=0.25 / size,
        unbiased=False,
        rows=10,
        rows_per_sample=1,
    )


SMALL, MIDDLE, LARGE = tried("a", 4.0, 1e-2), tried("b", 9.0, 1e-4), tried("c", 20.0, 1e-7)
THREE = [LARGE, SMALL, MIDDLE]


@pytest.mark.parametrize(
    ("budget", "rows", "size"),
    [
        ("16 B/row", 7, 16),
        ("2.5B/row", 7, 2.5),
        (" 1 kB / row ", 7, 1000),
        ("20 MB", 1_000_000, 20),
        ("20MB", 500_000, 40),
        ("3 GiB", 2**30, 3),
        ("1 TB", 10**12, 1),
    ],
)
def test_a_budget_is_bytes_a_row_or_in_all(budget, rows, size):
    assert bytes_per_row_of(budget, rows) == pytest.approx(size)


@pytest.mark.parametrize(
    "budget", ["", "16", "16 B/token", "-1 MB", "sixteen B", "1e3 B", "5 bits"]
)
def test_a_budget_of_something_else_is_refused(budget):
    with pytest.raises(OptionError, match=r'such as "16 B/row" or "20 MB", got'):
        bytes_per_row_of(budget, 1)


@pytest.mark.parametrize(
    ("budget", "max_kl", "taken"),
    [
        ("19 B/row", None, MIDDLE),
        ("20 B/row", None, LARGE),
        ("90 B", None, MIDDLE),  # of ten rows
        (None, 1e-2, SMALL),
        (None, 9e-3, MIDDLE),
        ("30 B/row", 1e-3, MIDDLE),
    ],
)
def test_a_budget_buys_faithfulness_and_a_bound_of_it_bytes(budget, max_kl, taken):
    assert choose(THREE, rows=10, budget=budget, max_kl=max_kl) is taken


@pytest.mark.parametrize(
    ("budget", "max_kl", "message"),
    [
        ("3 B/row", None, r'within a budget of "3 B/row", 3 B a row: the smallest, a, takes 4 B'),
        (None, 1e-9, r"within max_kl = 1e-09 nats: the nearest, c, loses 1e-07 in 20 B"),
        ("9 B/row", 1e-6, r'nats and a budget of "9 B/row": the nearest, b, loses 0\.0001 in 9 B'),
    ],
)
def test_bounds_that_no_codec_keeps_name_the_nearest(budget, max_kl, message):
    with pytest.raises(OptionError, match=message):
        choose(THREE, rows=10, budget=budget, max_kl=max_kl)


def test_numbers_have_no_kl_to_bound():
    numbers = [tried("a", 4.0, None), tried("b", 9.0, None)]
    assert choose(numbers, rows=10, budget="10 B/row", max_kl=None) is numbers[1]
    with pytest.raises(OptionError, match=r"these are numbers\. Set targets\.budget"):
        choose(numbers, rows=10, budget=None, max_kl=0.1)


@pytest.mark.parametrize(
    ("codec", "budget", "max_kl"),
    [("auto", None, None), ("dense16", "16 B/row", None), ("dense16", None, 0.1)],
)
def test_a_choice_and_its_bounds_go_together(codec, budget, max_kl):
    with pytest.raises(OptionError, match=r'codec = "auto" goes with a budget'):
        check_choice_of_codec(codec, budget, max_kl)


def test_a_bound_of_nothing_is_refused():
    with pytest.raises(OptionError, match="max_kl must be above 0"):
        check_choice_of_codec("auto", None, 0.0)


@pytest.fixture
def many():
    drawn = torch.rand(3000, 4, 4, generator=torch.Generator().manual_seed(3))
    return ArraySamples(drawn, {})


@pytest.fixture
def linear():
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(16, 5))
    model[1].weight.data *= 5
    return Teacher(model, [Head(space="categorical", size=5)])


def test_what_is_measured_is_what_storing_them_all_costs(linear, many, tmp_path):
    for one in try_codecs(linear, many, compress="softmax", temperature=2.0):
        card = capture(
            linear,
            many,
            tmp_path / one.named,
            temperature=2.0,
            codec=one.codec,
            codec_options=one.options,
        ).card
        # What is learned lies beside the shards, which are what the card counts.
        beside = sum(path.stat().st_size for path in (tmp_path / one.named).glob("state-*"))
        assert one.bytes_per_row == pytest.approx(card.bytes_per_row + beside / 3000, rel=0.05)
        if one.codec.startswith(("dense", "sqrt")):  # others learn from half as many rows
            assert one.kl == pytest.approx(card.kl_to_teacher, rel=0.1, abs=1e-9)
            assert one.squared_error == pytest.approx(card.squared_error, rel=0.1, abs=1e-9)


def test_auto_stores_with_the_codec_that_fits(linear, many, tmp_path):
    tried = try_codecs(linear, many, compress="softmax", temperature=4.0)
    by_budget = capture(linear, many, tmp_path / "a", codec="auto", budget="14 B/row")
    settings = by_budget.manifest.settings
    _, best = min((one.kl, one.codec) for one in tried if one.bytes_per_row <= 14)
    assert (settings.codec, settings.chosen_by) == (best, "budget 14 B/row")
    by_kl = capture(linear, many, tmp_path / "b", codec="auto", max_kl=1e-3)
    _, smallest = min((one.bytes_per_row, one.codec) for one in tried if one.kl <= 1e-3)
    assert by_kl.manifest.settings.codec == smallest


def test_a_budget_for_all_rows_counts_each_view(teacher, many, tmp_path, monkeypatch):
    measured = [tried("dense32", 20.0, 0.0), tried("dense16", 10.0, 1e-7), tried("sqrt8", 5.0, 0.1)]
    monkeypatch.setattr(settling, "try_codecs", lambda *_, **__: measured)
    samples = many.subset(torch.arange(40)).with_views(Views(flip=True))
    options = {"codec": "auto", "budget": "800 B"}  # 10 B for each of 40 rows in two views
    stored = capture(teacher, samples, tmp_path, views=2, **options)
    assert stored.manifest.settings.codec == "dense16"


def large(inputs):
    flat = inputs.reshape(len(inputs), -1)
    return {"place": flat[:, :4] * 1e6, "tags": flat[:, 4:6]}


PLACE, TAGS = Head(name="place", space="real", size=4), Head(name="tags", space="binary", size=2)


def test_a_codec_that_cannot_hold_the_numbers_is_not_chosen(samples, tmp_path):
    teacher = Teacher(large, [PLACE])
    tried = try_codecs(teacher, samples, compress="softmax", temperature=1.0)
    assert {one.codec for one in tried} == {"principal", "real8"}  # not dense16, nor real16
    made = capture(teacher, samples, tmp_path, codec="auto", budget="1 kB/row")
    assert made.manifest.settings.codec in ("principal", "real8")


def test_rows_that_no_codec_can_hold_are_refused_by_name(samples, tmp_path):
    message = r"none can hold the rows of place \(real\), tags \(binary\)\. Name one .*dense32"
    with pytest.raises(OptionError, match=message):
        capture(Teacher(large, [PLACE, TAGS]), samples, tmp_path, codec="auto", budget="1 kB/row")


def test_auto_goes_on_with_what_it_chose_before_and_asks_nothing_again(make, samples, tmp_path):
    asked = make.asked(make.logits)
    teacher = Teacher(asked, [make.label])
    first = capture(teacher, samples, tmp_path, codec="auto", max_kl=0.01)
    before = asked.samples
    again = capture(teacher, samples, tmp_path, codec="auto", max_kl=0.01)
    assert again.manifest == first.manifest
    assert asked.samples - before <= 8
    with pytest.raises(
        TargetsError, match=r'chosen_by: expected "max_kl 0\.02", got "max_kl 0\.01"'
    ):
        capture(teacher, samples, tmp_path, codec="auto", max_kl=0.02)
    assert TransferSet(tmp_path).manifest == first.manifest
