"""The one way in: paths, limits, labels, views, options, and every source's name."""

import inspect

import numpy as np
import pytest
import torch

from limbeck._errors import DataError, OptionError, ShapeError
from limbeck.data import SOURCES, Views, content_keys, load


@pytest.fixture
def rows(tmp_path):
    """A table of 40 rows, at work/rows.csv."""
    path = tmp_path / "work" / "rows.csv"
    path.parent.mkdir()
    lines = [f"{i},{i * i},{'ab'[i % 4 == 0]}" for i in range(40)]
    path.write_text("\n".join(["x,y,kind", *lines]))
    return path


OPTIONS = {"target": "kind"}


def test_the_embedded_digits_have_the_sizes_of_the_recipe():
    data = load("digits", validation=0.2, test=0.3)
    assert (len(data.train), len(data.validation), len(data.test)) == (1006, 251, 540)
    assert data.head.classes == tuple("0123456789")
    inputs = data.test.fetch(torch.arange(540)).inputs
    assert inputs.shape == (540, 8, 8)
    assert inputs.dtype == torch.float32
    assert (float(inputs.min()), float(inputs.max())) == (0, 1)
    # stratified: every digit is a tenth of the test split, as of the whole
    assert torch.bincount(data.test.labels["label"]).tolist() == pytest.approx([54] * 10, abs=2)


def test_the_digits_are_those_that_scikit_learn_loads():
    from sklearn.datasets import load_digits

    data, given = load("digits"), load_digits()
    splits = (data.train, data.validation, data.test)
    ours = [
        (*image.flatten().tolist(), label)
        for split in splits
        for image, label in zip(
            (split.fetch(torch.arange(len(split))).inputs * 16).round().int(),
            split.labels["label"].tolist(),
            strict=True,
        )
    ]
    theirs = np.column_stack([given.data, given.target]).astype(int).tolist()
    assert sorted(ours) == sorted(map(tuple, theirs))


def test_no_digit_is_in_two_splits():
    data = load("digits")
    train, validation, test = (
        set(split.keys.tolist()) for split in (data.train, data.validation, data.test)
    )
    assert not train & validation
    assert not train & test
    assert not validation & test


def test_digits_take_no_path(rows):
    with pytest.raises(OptionError, match="digits is embedded and takes no path"):
        load("digits", path=rows)


@pytest.mark.parametrize("how", ["absolute", "below the working folder", "below LIMBECK_DATA"])
def test_a_path_is_found(rows, monkeypatch, tmp_path, how):
    monkeypatch.delenv("LIMBECK_DATA", raising=False)
    monkeypatch.chdir(tmp_path)
    path = {"absolute": str(rows), "below the working folder": "work/rows.csv"}.get(how, "rows.csv")
    if how == "below LIMBECK_DATA":
        monkeypatch.setenv("LIMBECK_DATA", str(rows.parent))
    assert len(load("table", path=path, options=OPTIONS).test) == 8


def test_a_path_that_is_nowhere_says_where_it_was_looked_for(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LIMBECK_DATA", "/far/away")
    with pytest.raises(DataError) as error:
        load("idx", path="mnist")
    assert f"no data at {tmp_path}/mnist nor at /far/away/mnist." in str(error.value)
    assert str(error.value).endswith("LIMBECK_DATA to the folder that holds it.")


@pytest.mark.parametrize("source", ["idx", "table", "trec", "characters", "image_folder", "hf"])
def test_a_source_that_needs_a_path_says_so(source):
    options = {"target": "x"} if source in ("table", "hf") else {}
    with pytest.raises(DataError, match=r"needs a (path|folder).* Set data\.path"):
        load(source, options=options)


def test_a_pickle_is_refused(tmp_path):
    path = tmp_path / "data.pkl"
    path.write_bytes(b"\x80\x04N.")
    with pytest.raises(DataError, match="looks like a pickle, which can run code"):
        load("table", path=path, options=OPTIONS)


def test_an_unknown_source_names_the_nearest():
    with pytest.raises(OptionError, match=r"no source is called 'digit'\. Did you mean digits\?"):
        load("digit")


def test_an_unknown_option_names_the_nearest(rows):
    with pytest.raises(OptionError, match=r"no option 'tarjet'\. Did you mean target\? It takes"):
        load("table", path=rows, options={"tarjet": "kind"})
    with pytest.raises(OptionError, match=r"source digits has no option 'size'\. It takes none\."):
        load("digits", options={"size": 3})


def test_a_missing_option_is_named(rows):
    with pytest.raises(OptionError, match="source table needs the option target"):
        load("table", path=rows)


@pytest.mark.parametrize("name", SOURCES)
def test_every_option_of_every_source_is_described(name):
    documented = inspect.getdoc(SOURCES[name])
    for option in list(inspect.signature(SOURCES[name]).parameters)[2:]:
        assert f"{option}:" in documented


def test_limit_takes_some_training_samples_and_leaves_the_rest_as_it_was(rows):
    whole = load("table", path=rows, options=OPTIONS)
    some = load("table", path=rows, options=OPTIONS, limit=6)
    assert len(some.train) == 6
    assert set(some.train.keys.tolist()) < set(whole.train.keys.tolist())
    assert some.test.keys.tolist() == whole.test.keys.tolist()
    assert some.validation.keys.tolist() == whole.validation.keys.tolist()
    again = load("table", path=rows, options=OPTIONS, limit=6)
    assert again.train.keys.tolist() == some.train.keys.tolist()
    assert len(load("table", path=rows, options=OPTIONS, limit=10**6).train) == len(whole.train)


def test_a_limit_below_1_is_refused(rows):
    with pytest.raises(OptionError, match="limit must be 1 sample or more, got 0"):
        load("table", path=rows, options=OPTIONS, limit=0)


def test_all_labels_show_by_default():
    assert load("digits").train.labelled is None


@pytest.mark.parametrize(("amount", "count"), [(0.1, 101), (10, 10), (37, 37), (2, 2)])
def test_labelled_says_how_many_labels_show(amount, count):
    data = load("digits", validation=0.2, test=0.3, labelled=amount)
    labelled = data.train.labelled
    assert int(labelled.sum()) == count
    assert len(data.train) == 1006
    assert data.validation.labelled is None
    if count >= 10:
        assert len(data.train.labels["label"][labelled].unique()) == 10


def test_labelled_counts_the_samples_that_the_limit_leaves():
    with pytest.raises(DataError, match="labelled must be at most the 20 training samples, got 21"):
        load("digits", limit=20, labelled=21)


def test_views_are_of_training_samples():
    views = Views(shift=1)
    data = load("digits", views=views)
    assert data.train.views == views
    assert data.test.views == Views()


def test_views_of_what_is_no_image_are_refused_before_anything_runs(rows):
    with pytest.raises(ShapeError, match="Leave out `augment` for these inputs"):
        load("table", path=rows, options=OPTIONS, views=Views(shift=1))


def test_fractions_out_of_range_are_refused():
    with pytest.raises(OptionError, match="validation must be a fraction"):
        load("digits", validation=0)


def test_keys_of_a_loaded_split_are_those_of_its_raw_inputs():
    data = load("digits")
    assert data.train.keys.tolist() == content_keys(data.train.inputs).tolist()
