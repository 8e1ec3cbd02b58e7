"""Tables: every format, what columns become, and what is refused."""

import gzip
import json

import numpy as np
import pyarrow as pa
import pytest
import torch
from pyarrow import parquet

from limbeck._errors import DataError, OptionError
from limbeck.data import load

NUM = 60
RANDOM = np.random.default_rng(0)
COLUMNS = {
    "size": RANDOM.normal(5, 3, NUM).round(3).tolist(),
    "count": RANDOM.integers(0, 9, NUM).tolist(),
    "colour": [["red", "green", "blue"][i % 3] for i in range(NUM)],
    "kind": [["cat", "dog"][i % 2] for i in range(NUM)],
    "price": RANDOM.normal(100, 9, NUM).round(2).tolist(),
}


def as_csv(columns, separator=",", header=True):
    lines = [separator.join(columns)] if header else []
    lines += [
        separator.join("" if value is None else str(value) for value in row)
        for row in zip(*columns.values(), strict=True)
    ]
    return "\n".join(lines) + "\n"


def write(folder, columns, name="rows.csv"):
    path = folder / name
    path.write_text(as_csv(columns))
    return path


def of_all_splits(data):
    """Inputs and labels of the three splits together."""
    splits = (data.train, data.validation, data.test)
    return tuple(
        torch.cat([get(split) for split in splits])
        for get in (lambda split: split.inputs, lambda split: split.labels["label"])
    )


FORMATS = {
    "rows.csv": lambda path: path.write_text(as_csv(COLUMNS)),
    "rows.csv.gz": lambda path: path.write_bytes(gzip.compress(as_csv(COLUMNS).encode())),
    "rows.tsv": lambda path: path.write_text(as_csv(COLUMNS, "\t")),
    "rows.jsonl": lambda path: path.write_text(
        "\n".join(
            json.dumps(dict(zip(COLUMNS, row, strict=True)))
            for row in zip(*COLUMNS.values(), strict=True)
        )
    ),
    "rows.parquet": lambda path: parquet.write_table(pa.table(COLUMNS), path),
}


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_gives_the_same_samples(tmp_path, name):
    write(tmp_path, COLUMNS, "reference.csv")
    expected = load("table", path=tmp_path / "reference.csv", options={"target": "kind"})
    FORMATS[name](tmp_path / name)
    data = load("table", path=tmp_path / name, options={"target": "kind"})
    assert data.train.keys.tolist() == expected.train.keys.tolist()
    assert data.test.labels["label"].tolist() == expected.test.labels["label"].tolist()
    assert data.head.classes == ("cat", "dog")


def test_numbers_are_standardised_and_categories_are_0_or_1_by_the_training_rows(tmp_path):
    path = write(tmp_path, COLUMNS)
    options = {"target": "price", "features": ["size", "colour"], "task": "regression"}
    data = load("table", path=path, options=options)
    assert [len(split) for split in (data.train, data.validation, data.test)] == [43, 5, 12]
    assert data.train.inputs.shape == (43, 4)
    assert data.train.inputs[:, 0].mean().item() == pytest.approx(0, abs=1e-6)
    assert data.train.inputs[:, 0].std(correction=0).item() == pytest.approx(1, abs=1e-6)
    assert data.test.inputs[:, 0].mean().item() != pytest.approx(0, abs=1e-3)
    # by row, found again by its price
    inputs, prices = of_all_splits(data)
    known = data.train.labels["label"][:, 0].tolist()
    sizes = [
        s for s, p in zip(COLUMNS["size"], COLUMNS["price"], strict=True) if np.float32(p) in known
    ]
    mean, deviation = np.mean(sizes), np.std(sizes)
    for row, price in zip(inputs.tolist(), prices[:, 0].tolist(), strict=True):
        at = [float(np.float32(p)) for p in COLUMNS["price"]].index(price)
        one_hot = [float(COLUMNS["colour"][at] == name) for name in ("blue", "green", "red")]
        assert row == pytest.approx([(COLUMNS["size"][at] - mean) / deviation, *one_hot], abs=1e-5)


def test_all_columns_but_the_target_are_inputs_by_default(tmp_path):
    data = load("table", path=write(tmp_path, COLUMNS), options={"target": "price"})
    assert data.train.inputs.shape[1] == 1 + 1 + 3 + 2
    assert (data.head.space, data.head.size) == ("real", 1)


def test_a_target_is_divided_by_its_scale(tmp_path):
    path = write(tmp_path, COLUMNS)
    plain = load("table", path=path, options={"target": "price"})
    scaled = load("table", path=path, options={"target": "price", "target_scale": 50.0})
    assert torch.allclose(scaled.train.labels["label"] * 50, plain.train.labels["label"])
    assert sorted(of_all_splits(plain)[1][:, 0].tolist()) == pytest.approx(sorted(COLUMNS["price"]))


def test_several_targets_are_several_numbers(tmp_path):
    options = {"target": ["price", "size"], "features": "count"}
    data = load("table", path=write(tmp_path, COLUMNS), options=options)
    assert (data.head.space, data.head.size) == ("real", 2)
    pairs = {
        tuple(np.float32(pair)) for pair in zip(COLUMNS["price"], COLUMNS["size"], strict=True)
    }
    assert {tuple(row) for row in data.test.labels["label"].numpy()} <= pairs


def test_whole_numbers_must_be_said_to_be_classes_or_amounts(tmp_path):
    path = write(tmp_path, COLUMNS)
    with pytest.raises(OptionError, match=r"'count' holds whole numbers \(9 different\).*task = "):
        load("table", path=path, options={"target": "count"})
    classes = load("table", path=path, options={"target": "count", "task": "classification"})
    assert classes.head.classes == tuple(str(i) for i in range(9))
    amounts = load("table", path=path, options={"target": "count", "task": "regression"})
    assert (amounts.head.space, amounts.head.size) == ("real", 1)


def test_class_ids_of_numbers_follow_their_value_not_their_spelling(tmp_path):
    path = write(tmp_path, {"x": list(range(40)), "y": [[10, 9][i % 2] for i in range(40)]})
    data = load("table", path=path, options={"target": "y", "task": "classification"})
    assert data.head.classes == ("9", "10")


def test_the_order_of_classes_can_be_given(tmp_path):
    options = {"target": "kind", "classes": ["dog", "cat", "cow"], "features": ["size"]}
    data = load("table", path=write(tmp_path, COLUMNS), options=options)
    assert data.head.size == 3
    assert data.head.classes == ("dog", "cat", "cow")
    inputs, labels = of_all_splits(data)
    scale = np.argsort(np.argsort(COLUMNS["size"]))  # ranks survive standardising
    ranks = torch.argsort(torch.argsort(inputs[:, 0])).tolist()
    kinds = dict(zip(scale.tolist(), COLUMNS["kind"], strict=True))
    assert [kinds[rank] for rank in ranks] == [("dog", "cat")[label] for label in labels.tolist()]


def test_booleans_are_two_classes(tmp_path):
    path = tmp_path / "rows.parquet"
    parquet.write_table(
        pa.table({"x": list(range(40)), "y": [i % 2 == 0 for i in range(40)]}), path
    )
    data = load("table", path=path, options={"target": "y"})
    assert data.head.classes == ("False", "True")


def test_dictionaries_and_decimals_of_parquet_are_texts_and_numbers(tmp_path):
    columns = {
        "x": pa.array(COLUMNS["colour"]).dictionary_encode(),
        "n": pa.array(COLUMNS["count"]).cast(pa.decimal128(25, 2)),
        "y": pa.array(COLUMNS["kind"]).dictionary_encode(),
    }
    parquet.write_table(pa.table(columns), tmp_path / "rows.parquet")
    data = load("table", path=tmp_path / "rows.parquet", options={"target": "y"})
    assert data.train.inputs.shape[1] == 4
    assert data.head.classes == ("cat", "dog")


def test_test_and_validation_rows_may_have_files_of_their_own(tmp_path):
    path = write(tmp_path, COLUMNS)
    few = {name: values[:7] for name, values in COLUMNS.items()} | {"colour": ["pink"] * 7}
    write(tmp_path, few, "test.csv")
    write(tmp_path, few, "validation.csv")
    options = {"target": "kind", "test_path": "test.csv", "validation_path": "validation.csv"}
    data = load("table", path=path, options=options)
    assert [len(split) for split in (data.train, data.validation, data.test)] == [60, 7, 7]
    # a category that training has not seen is none of those it has
    assert data.test.inputs[:, 2:5].sum() == 0
    assert data.train.inputs[:, 2:5].sum() == 60


def test_a_header_can_be_given_and_a_separator(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text(as_csv(COLUMNS, ";", header=False))
    options = {"target": "kind", "separator": ";", "header": list(COLUMNS)}
    data = load("table", path=path, options=options)
    assert sum(len(split) for split in (data.train, data.validation, data.test)) == NUM


def test_a_field_of_a_tsv_is_never_quoted(tmp_path):
    path = tmp_path / "rows.tsv"
    path.write_text("text\tkind\n" + '"so it goes\ta\nwell " then\tb\n' * 20)
    data = load("table", path=path, options={"target": "kind", "text": "text"})
    assert '"' in data.vocabulary
    assert sum(len(split) for split in (data.train, data.validation, data.test)) == 40


# --- text


def test_a_text_column_is_words_of_the_training_rows(tmp_path):
    path = write(tmp_path, {"say": ["Good dog", "bad cat !"] * 20, "kind": ["a", "b"] * 20})
    write(tmp_path, {"say": ["good cow"] * 9, "kind": ["a"] * 9}, "test.csv")
    options = {"target": "kind", "text": "say", "test_path": "test.csv"}
    data = load("table", path=path, options=options)
    assert set(data.vocabulary) == {"<pad>", "<unknown>", "good", "dog", "bad", "cat", "!"}
    assert data.vocabulary[:2] == ("<pad>", "<unknown>")
    test = data.test.inputs
    assert test["input_ids"].tolist() == [[data.vocabulary.index("good"), 1, 0]] * 9
    assert test["attention_mask"].tolist() == [[1, 1, 0]] * 9
    assert test["input_ids"].dtype == test["attention_mask"].dtype == torch.int64


# --- missing values


def holes(**where):
    return {
        name: [None if i in where.get(name, ()) else value for i, value in enumerate(values)]
        for name, values in COLUMNS.items()
    }


def test_missing_values_are_refused_by_column(tmp_path):
    path = write(tmp_path, holes(size=range(0, 60, 2)))
    with pytest.raises(DataError, match=r"'size' of the train table has 30 .* row 0\."):
        load("table", path=path, options={"target": "kind"})


def test_dropping_leaves_the_whole_rows(tmp_path):
    path = write(tmp_path, holes(size=[3, 4], colour=[4, 5], kind=[6]))
    data = load("table", path=path, options={"target": "kind", "missing": "drop"})
    assert sum(len(split) for split in (data.train, data.validation, data.test)) == NUM - 4


def test_dropping_looks_at_the_named_columns_only(tmp_path):
    path = write(tmp_path, holes(size=range(60)))
    options = {"target": "kind", "features": ["count"], "missing": "drop"}
    assert len(load("table", path=path, options=options).test) == 12


def test_dropping_everything_is_refused(tmp_path):
    path = write(tmp_path, holes(size=range(60)))
    with pytest.raises(DataError, match="every row of the train table has a missing value"):
        load("table", path=path, options={"target": "kind", "missing": "drop"})


def test_the_mean_of_the_training_rows_fills_numbers_and_no_category_is_set(tmp_path):
    gone = range(0, 60, 5)
    path = write(tmp_path, holes(size=gone, colour=gone))
    options = {"target": "price", "features": ["size", "colour"], "missing": "mean"}
    inputs, prices = of_all_splits(load("table", path=path, options=options))
    missing = [float(np.float32(COLUMNS["price"][i])) for i in gone]
    for row, price in zip(inputs.tolist(), prices[:, 0].tolist(), strict=True):
        assert (row == [0, 0, 0, 0]) == (price in missing)


def test_nan_in_a_parquet_file_is_a_missing_value(tmp_path):
    columns = {"x": [float("nan"), *range(39)], "y": ["a", "b"] * 20}
    parquet.write_table(pa.table(columns), tmp_path / "rows.parquet")
    path = tmp_path / "rows.parquet"
    with pytest.raises(
        DataError, match=r"'x' of the train table has 1 missing values.* Fill them in"
    ):
        load("table", path=path, options={"target": "y"})
    data = load("table", path=path, options={"target": "y", "missing": "drop"})
    assert sum(len(split) for split in (data.train, data.validation, data.test)) == 39


@pytest.mark.parametrize("target", ["kind", "price"])
def test_a_missing_target_is_never_made_up(tmp_path, target):
    path = write(tmp_path, holes(**{target: [7]}))
    with pytest.raises(DataError, match=f"'{target}' of the train table has 1 .* row 7"):
        load("table", path=path, options={"target": target, "missing": "mean", "features": "size"})


# --- what is refused


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"target": "kid"}, DataError, r"no column 'kid'\. Did you mean kind\? It has size, count"),
        ({"target": "kind", "features": ["siz"]}, DataError, r"'siz'\. Did you mean size\?"),
        ({"target": "kind", "text": "colors"}, DataError, "no column 'colors'"),
        (
            {"target": "kind", "text": "size"},
            DataError,
            "'size' of the train table must hold text, got double",
        ),
        ({"target": "kind", "features": ["kind", "size"]}, OptionError, "kind is a target and"),
        ({"target": "kind", "text": "colour", "features": ["size"]}, OptionError, "got both"),
        ({"target": []}, OptionError, "target must name a column"),
        ({"target": "kind", "task": "clasification"}, OptionError, "Did you mean classification"),
        ({"target": "kind", "missing": "drops"}, OptionError, r"one of error, mean, drop, got"),
        ({"target": "kind", "task": "regression"}, DataError, "must hold numbers, got text"),
        ({"target": "price", "target_scale": 0.0}, OptionError, "target_scale must be above 0"),
        (
            {"target": ["kind", "colour"], "task": "classification"},
            OptionError,
            "classification has one target column, got kind, colour",
        ),
        ({"target": "kind", "classes": ["cat"]}, DataError, r"\(cat\), got dog in row 1"),
        ({"target": "kind", "separator": "::"}, OptionError, "separator must be one character"),
        ({"target": "kind", "text": "colour", "min_count": 0}, OptionError, "min_count must be 1"),
        ({"target": "kind", "text": "colour", "max_length": 0}, OptionError, "max_length must be"),
        ({"target": "kind", "text": "colour", "min_count": 99}, DataError, "Lower min_count"),
        ({"target": "kind", "test_path": "nowhere.csv"}, DataError, "no data at .*nowhere.csv"),
    ],
)
def test_an_option_that_does_not_fit_is_refused(tmp_path, options, error, message):
    path = write(tmp_path, COLUMNS)
    with pytest.raises(error, match=message):
        load("table", path=path, options=options)


def test_a_class_that_only_the_test_file_has_is_refused(tmp_path):
    path = write(tmp_path, COLUMNS)
    write(
        tmp_path,
        {name: [*values, values[0]] for name, values in COLUMNS.items()}
        | {"kind": [*COLUMNS["kind"], "cow"]},
        "test.csv",
    )
    with pytest.raises(
        DataError, match=r"labels of the test split .*\(cat, dog\), got cow in row 60"
    ):
        load("table", path=path, options={"target": "kind", "test_path": "test.csv"})


def test_a_column_of_numbers_that_is_text_in_the_test_file_is_refused(tmp_path):
    path = write(tmp_path, COLUMNS)
    write(tmp_path, COLUMNS | {"size": ["big"] * NUM}, "test.csv")
    with pytest.raises(DataError, match="'size' holds numbers in the train split and text in the"):
        load("table", path=path, options={"target": "kind", "test_path": "test.csv"})


def test_classes_that_are_numbers_and_text_in_the_test_file_are_refused(tmp_path):
    path = write(tmp_path, COLUMNS)
    write(tmp_path, COLUMNS | {"count": ["many"] * NUM}, "test.csv")
    options = {"target": "count", "task": "classification", "test_path": "test.csv"}
    with pytest.raises(DataError, match=r"column 'count' of the test split: .*many"):
        load("table", path=path, options=options)


@pytest.mark.parametrize("target", ["price", "kind"])
def test_an_infinite_number_is_refused_by_row(tmp_path, target):
    path = write(tmp_path, COLUMNS | {"size": [*COLUMNS["size"][:-1], "inf"]})
    with pytest.raises(DataError, match=r"'size' of the train table has an infinite .* row 59"):
        load("table", path=path, options={"target": target})


def test_a_column_of_nothing_is_refused(tmp_path):
    path = write(tmp_path, COLUMNS | {"size": ["NA"] * NUM})
    with pytest.raises(DataError, match=r"column 'size' .*Leave it out with `features`"):
        load("table", path=path, options={"target": "kind", "missing": "mean"})


def test_too_many_categories_are_refused(tmp_path):
    columns = {"id": [f"n{i}" for i in range(3000)], "y": ["a", "b"] * 1500}
    with pytest.raises(DataError, match=r"'id' has .* different texts, more than the 1000"):
        load("table", path=write(tmp_path, columns), options={"target": "y"})


def test_a_column_without_a_value_has_no_mean(tmp_path):
    path = tmp_path / "rows.parquet"
    empty = pa.array([None] * 40, pa.float64())
    parquet.write_table(pa.table({"x": empty, "y": ["a", "b"] * 20}), path)
    with pytest.raises(DataError, match="column 'x' holds no value"):
        load("table", path=path, options={"target": "y", "missing": "mean"})


def test_numbers_too_large_to_be_standardised_are_refused(tmp_path):
    path = write(tmp_path, {"size": [1e308, 1.7e308] * 20, "price": [0.5] * 40})
    with pytest.raises(DataError, match=r"column 'size' holds numbers up to 1\.7e.308, too large"):
        load("table", path=path, options={"target": "price"})


def test_a_table_of_targets_alone_is_refused(tmp_path):
    with pytest.raises(DataError, match="no column but the target y"):
        load("table", path=write(tmp_path, {"y": ["a", "b"] * 20}), options={"target": "y"})


def test_booleans_and_huge_whole_numbers_are_numbers(tmp_path):
    path = tmp_path / "rows.parquet"
    flags, huge = [i % 2 == 0 for i in range(40)], [2**60 + i for i in range(40)]
    parquet.write_table(pa.table({"f": flags, "h": huge, "y": ["a", "b"] * 20}), path)
    data = load("table", path=path, options={"target": "y", "features": ["f", "h"]})
    # standardised: "a" is true, "b" false
    signs = data.train.inputs[:, 0] > 0
    assert torch.equal(signs, data.train.labels["label"] == 0)


def test_a_column_of_lists_is_refused(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text('{"x": [1, 2], "y": "a"}\n{"x": [1], "y": "b"}\n' * 10)
    with pytest.raises(
        DataError, match="'x' of the train split must hold numbers or text, got list"
    ):
        load("table", path=path, options={"target": "y"})


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("rows.csv", b"", r"cannot read .*rows\.csv"),
        ("rows.csv", b"a,b\n", "has no rows"),
        ("rows.csv", b"a,a\n1,2\n", "two columns of .* are called 'a'"),
        ("rows.csv", b"a,b\n1,2\n1,2,3\n", "cannot read"),
        ("rows.csv.gz", b"no gzip", "cannot read"),
        ("rows.csv.gz", gzip.compress(b"a,b\n1,x\n" * 4000, mtime=0)[:-30], "cannot read"),
        ("rows.jsonl", b"{nothing", "cannot read"),
        ("rows.parquet", b"PAR1 and no more", "cannot read"),
        ("rows.npy", b"", r"must end with one of \.csv, \.tsv, .* got \.npy"),
        ("rows", b"", "got no suffix"),
    ],
)
def test_a_damaged_file_is_refused_by_name(tmp_path, name, content, message):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(DataError, match=message) as error:
        load("table", path=path, options={"target": "a"})
    assert name in str(error.value)


def test_a_folder_is_no_table(tmp_path):
    with pytest.raises(DataError, match="expected a table"):
        load("table", path=tmp_path, options={"target": "a"})


@pytest.mark.parametrize("name", ["rows.csv", "rows.tsv"])
def test_data_in_place_of_a_header_are_told_as_such(tmp_path, name):
    path = tmp_path / name
    path.write_text(as_csv(COLUMNS, "\t" if name.endswith("tsv") else ",", header=False))
    first = ", ".join(str(values[0]) for values in COLUMNS.values())
    told = rf"no column 'kind'\..* Its first line was taken for the header: {first}\. .*header\.$"
    with pytest.raises(DataError, match=told):
        load("table", path=path, options={"target": "kind"})


def test_data_in_place_of_a_header_may_name_two_columns_alike(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text("1,1,cat\n2,1,dog\n")
    with pytest.raises(
        DataError, match=r"called '1'\. Rename one\. Its first line .* options.head"
    ):
        load("table", path=path, options={"target": "kind"})


def test_a_table_whose_format_names_its_columns_is_not_asked_for_a_header(tmp_path):
    path = tmp_path / "rows.parquet"
    parquet.write_table(pa.table(COLUMNS), path)
    with pytest.raises(DataError, match=r"no column 'king'.* It has size, .* features or text\.$"):
        load("table", path=path, options={"target": "king"})


def test_a_header_is_for_files_without_one(tmp_path):
    path = tmp_path / "rows.parquet"
    parquet.write_table(pa.table(COLUMNS), path)
    with pytest.raises(OptionError, match=r"are for \.csv and \.tsv files, got rows\.parquet"):
        load("table", path=path, options={"target": "kind", "header": ["a"]})


@pytest.mark.parametrize(
    ("name", "text", "options"),
    [
        ("rows.csv", "name,kind\n1,café\n2,b\n", {"target": "kind"}),
        ("rows.tsv", "name\tkind\n1\tcafé\n2\tb\n", {"target": "kind"}),
        ("rows.csv", "name,kind\ncafé,1\nb,0\n", {"target": "kind", "text": "name"}),
        ("rows.csv", "naïvé,kind\n1,a\n2,b\n", {"target": "kind"}),
        ("rows.jsonl", '{"x": 1, "kind": "café"}\n{"x": 2, "kind": "b"}\n', {"target": "kind"}),
    ],
)
def test_a_text_that_is_not_utf_8_is_said_to_be_none(tmp_path, name, text, options):
    path = tmp_path / name
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(DataError) as error:
        load("table", path=path, options=options)
    assert str(error.value).startswith(f"{path} must be UTF-8 text, got b'\\x")
    assert "iconv -f latin1 -t utf8" in str(error.value)


def test_a_message_of_a_library_ends_with_one_full_stop(tmp_path):
    path = tmp_path / "rows.parquet"
    path.write_bytes(b"no parquet file at all")
    with pytest.raises(DataError, match=r"[^.]\. Mend or fetch the file again\.$"):
        load("table", path=path, options={"target": "kind"})
