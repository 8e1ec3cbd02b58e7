"""Raw rows, encoded as the training rows were."""

import json

import pyarrow as pa
import pytest
import torch

from limbeck._errors import DataError
from limbeck.data import CharacterEncoder, TableEncoder, TextEncoder, load, load_encoder

ROWS = {
    "rooms": [float(7 * i % 23) for i in range(60)],
    "age": [i % 11 if i % 10 else None for i in range(60)],
    "near": [("BAY", "OCEAN", "INLAND")[i % 3] for i in range(60)],
    "price": [1000.0 + i for i in range(60)],
}


def as_dicts(table):
    return pa.table(table).to_pylist()


@pytest.fixture
def houses(tmp_path):
    """A table with a test file of its own, and the data set that it becomes."""
    test = {name: values[:9] for name, values in ROWS.items()}
    for name, table in (("train", ROWS), ("test", test)):
        lines = [json.dumps(row) for row in as_dicts(table)]
        (tmp_path / f"{name}.jsonl").write_text("\n".join(lines), encoding="utf-8")
    options = {"target": "price", "test_path": "test.jsonl", "missing": "mean"}
    data = load("table", path=tmp_path / "train.jsonl", options=options | {"target_scale": 50.0})
    return test, data


@pytest.fixture
def questions(tmp_path):
    """A file of texts with a test file of its own, and the data set that it becomes."""
    said = [f"Who is number {('one', 'two', 'three')[i % 3]} ?" for i in range(40)]
    test = ["Who is seven ?", "", "number one or two or three or four or more"]
    for name, texts in (("train", said), ("test", test)):
        lines = [json.dumps({"say": text, "kind": "ab"[len(text) % 2]}) for text in texts]
        (tmp_path / f"{name}.jsonl").write_text("\n".join(lines), encoding="utf-8")
    options = {"target": "kind", "text": "say", "test_path": "test.jsonl", "classes": ["a", "b"]}
    return test, load("table", path=tmp_path / "train.jsonl", options=options)


def kept(encoder, folder):
    """The encoder, as it comes back from a folder."""
    assert encoder.save(folder).name == "encoder.json"
    back = load_encoder(folder)
    assert back == encoder
    return back


# ---- tables -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "form", [as_dicts, dict, pa.table, lambda rows: pa.table(rows).select(["near", "age", "rooms"])]
)
def test_raw_rows_become_what_they_were_in_training(houses, tmp_path, form):
    test, data = houses
    encode = kept(data.encoder, tmp_path / "student")
    assert torch.equal(encode(form(test)), data.test.inputs)
    assert encode.target_scale == 50.0


def test_the_numbers_are_those_of_the_formula(houses):
    _, data = houses
    train = [row["rooms"] for row in as_dicts(ROWS)]
    held = set(data.validation.labels["label"].flatten().tolist())
    known = [
        rooms
        for rooms, price in zip(train, ROWS["price"], strict=True)
        if torch.tensor(price / 50.0).item() not in held
    ]
    rooms = torch.tensor(known, dtype=torch.float64)
    z = (30.0 - rooms.mean()) / rooms.std(correction=0)
    encoded = data.encoder([{"rooms": 30, "age": None, "near": "OCEAN"}])
    assert encoded.tolist() == [[pytest.approx(float(z)), 0.0, 0.0, 0.0, 1.0]]  # sorted by name


def test_a_category_that_is_new_or_missing_is_none_of_them(houses):
    _, data = houses
    rows = [{"rooms": 1, "age": 1, "near": near} for near in ("ISLAND", None)]
    assert data.encoder(rows)[:, 2:].tolist() == [[0.0] * 3] * 2


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (
            [{"room": 1, "age": 2}],
            r"must have the column 'rooms', got room, age\. Did you mean room",
        ),
        ([{"rooms": "many", "age": 2, "near": "BAY"}], "'rooms' holds numbers in the train split"),
        ([{"rooms": float("inf"), "age": 2, "near": "BAY"}], "infinite number in row 0"),
        ([{"rooms": [1], "age": 2, "near": "BAY"}], "must hold numbers or text, got list"),
        ({"rooms": 1}, r"got dict: .* One row is a list of one dict\."),
        (7, "a pyarrow table or a data frame, got int"),
        (["BAY"], "a list of dicts, .* got list"),
    ],
)
def test_rows_that_do_not_fit_are_refused(houses, rows, message):
    with pytest.raises(DataError, match=message):
        houses[1].encoder(rows)


def test_a_missing_number_is_refused_where_training_refused_it(houses):
    encoder = houses[1].encoder.model_copy(update={"missing": "error"})
    with pytest.raises(DataError, match="column 'age' of the new table has 1 missing values"):
        encoder([{"rooms": 1, "age": None, "near": "BAY"}])


# ---- texts --------------------------------------------------------------------------------------


def test_raw_texts_become_what_they_were_in_training(questions, tmp_path):
    test, data = questions
    encode = kept(data.encoder, tmp_path)
    for rows in (test, [{"say": text} for text in test], {"say": test}):
        encoded = encode(rows)
        assert encoded.keys() == data.test.inputs.keys()
        assert all(torch.equal(encoded[name], data.test.inputs[name]) for name in encoded)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([{"said": "no"}], r"must have the column 'say', got said\. Give"),
        ([{"say": 3}], "column 'say' of the new table must hold text, got int64"),
        ([{"say": "one"}, {"say": None}], "column 'say' of the new table has 1 missing values"),
        ("one question ?", "got str"),
    ],
)
def test_what_is_no_text_is_refused(questions, rows, message):
    with pytest.raises(DataError, match=message):
        questions[1].encoder(rows)


def test_characters_have_the_ids_of_training(tmp_path):
    (tmp_path / "input.txt").write_text("to be or not to be, that is it. " * 9, encoding="utf-8")
    data = load("characters", path=tmp_path, options={"length": 8})
    encode = kept(data.encoder, tmp_path)
    windows = data.train.inputs["input_ids"][:3]
    texts = ["".join(data.vocabulary[i] for i in window) for window in windows.tolist()]
    assert torch.equal(encode(texts)["input_ids"], windows)
    with pytest.raises(DataError, match=r"of the 13 characters of the training text, got 'x'\."):
        encode(["box"])
    with pytest.raises(DataError, match="one length, got 2 and 5 characters"):
        encode(["to be", "or"])
    with pytest.raises(DataError, match=r"a list of strings, got str\. Put it in one\."):
        encode("to be")


# ---- on disk ------------------------------------------------------------------------------------


def test_where_there_is_no_encoder_it_is_said(tmp_path):
    with pytest.raises(
        DataError, match=r"there is no encoder in .*: no encoder\.json there\. A run"
    ):
        load_encoder(tmp_path)


@pytest.mark.parametrize(
    "content",
    ["{", "null", '{"kind": "else"}', '{"kind": "text", "length": 3}', '{"kind": "table"}', "\xff"],
)
def test_a_damaged_encoder_is_refused(tmp_path, content):
    (tmp_path / "encoder.json").write_text(content, encoding="latin-1")
    with pytest.raises(
        DataError, match=r"encoder\.json is damaged \(.*\)\. Run the recipe again\."
    ):
        load_encoder(tmp_path)


def test_digits_need_none():
    assert load("digits").encoder is None


def test_each_kind_is_told_apart_on_disk(tmp_path):
    for encoder in (
        TableEncoder(columns=()),
        TextEncoder(column="say", vocabulary=("<pad>", "<unknown>"), length=1),
        CharacterEncoder(characters="ab"),
    ):
        kept(encoder, tmp_path)
