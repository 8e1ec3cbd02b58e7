"""Words, characters, and TREC's questions."""

import pytest
import torch

from limbeck._errors import DataError, OptionError
from limbeck.data import load
from limbeck.data._text import build_vocabulary, encode_texts, longest, words_of


def test_words_are_lower_case_and_marks_stand_alone():
    assert words_of("Who's the naïve\tKing, 1984?!") == [
        "who", "'", "s", "the", "naïve", "king", ",", "1984", "?", "!"
    ]  # fmt: skip


def test_a_vocabulary_goes_from_frequent_to_rare_then_by_alphabet():
    texts = ["b a", "c a b", "d a z"]
    assert build_vocabulary(texts, min_count=1) == ("<pad>", "<unknown>", *"abcdz")
    assert build_vocabulary(texts, min_count=2) == ("<pad>", "<unknown>", "a", "b")


def test_texts_are_padded_cut_and_masked():
    vocabulary = ("<pad>", "<unknown>", "a", "b")
    encoded = encode_texts(["a b", "b x a b", "", "<pad>"], vocabulary, length=3)
    assert encoded["input_ids"].tolist() == [[2, 3, 0], [3, 1, 2], [1, 0, 0], [1, 1, 1]]
    assert encoded["attention_mask"].tolist() == [[1, 1, 0], [1, 1, 1], [1, 0, 0], [1, 1, 1]]


def test_the_length_is_that_of_the_longest_text_up_to_a_limit():
    assert longest(["a b c", "a"], max_length=64) == 3
    assert longest(["a b c", "a"], max_length=2) == 2
    assert longest([""], max_length=2) == 1


# --- TREC


def write_trec(folder, train, test="NUM:dist How far is it ?\n"):
    (folder / "TREC.train").write_text(train, encoding="latin-1")
    (folder / "TREC.test").write_text(test, encoding="latin-1")


def test_questions_are_read_with_their_coarse_classes(tmp_path):
    lines = "DESC:manner How did it go ?\nHUM:ind Who was caf\xe9\x85man ?\n" * 10
    write_trec(tmp_path, lines)
    data = load("trec", path=tmp_path)
    assert data.head.classes == ("ABBR", "DESC", "ENTY", "HUM", "LOC", "NUM")
    assert data.test.labels["label"].tolist() == [5]
    assert len(data.train) + len(data.validation) == 20
    assert "café" in data.vocabulary
    assert "far" not in data.vocabulary
    words = [data.vocabulary[i] for i in data.test.inputs["input_ids"][0]]
    assert words == ["how", "<unknown>", "<unknown>", "it", "?"]


@pytest.mark.parametrize("line", ["DESC How ?", "DESC:manner", "", "WHY:x How ?"])
def test_a_line_of_another_form_is_refused(tmp_path, line):
    write_trec(
        tmp_path,
        "DESC:manner How did it go ?\n" * 20,
        f"NUM:dist How far ?\n{line}\nHUM:ind Who ?\n",
    )
    with pytest.raises(DataError, match=r"line 2 of .*TREC\.test|got WHY in row 1"):
        load("trec", path=tmp_path)


def test_a_missing_file_of_questions_is_named(tmp_path):
    with pytest.raises(DataError, match=r"no file .*TREC\.train, expected TREC's questions"):
        load("trec", path=tmp_path)


# --- characters

TEXT = "The quick brown fox jumps over the lazy dog. " * 20  # 900 characters


@pytest.fixture
def text_file(tmp_path):
    path = tmp_path / "input.txt"
    path.write_text(TEXT)
    return path


def decoded(data, ids):
    return "".join(data.vocabulary[i] for i in ids.flatten().tolist())


def test_windows_follow_one_another_in_the_order_of_the_text(text_file):
    data = load("characters", path=text_file, test=0.1, options={"length": 8})
    # 90 of 900 characters are test, 81 of the other 810 validation
    assert [len(s) for s in (data.train, data.validation, data.test)] == [91, 10, 11]
    assert decoded(data, data.train.inputs["input_ids"]) == TEXT[: 91 * 8]
    assert decoded(data, data.validation.inputs["input_ids"]) == TEXT[729 : 729 + 10 * 8]
    assert decoded(data, data.test.inputs["input_ids"]) == TEXT[810 : 810 + 11 * 8]


def test_labels_are_the_next_characters(text_file):
    data = load("characters", path=text_file, options={"length": 8})
    assert decoded(data, data.train.labels["label"]) == TEXT[1 : 1 + 8 * len(data.train)]
    assert data.train.labels["label"].shape == data.train.inputs["input_ids"].shape


def test_the_vocabulary_is_the_texts_characters_sorted(text_file):
    data = load("characters", path=text_file, options={"length": 8})
    assert data.vocabulary == data.head.classes == tuple(sorted(set(TEXT)))
    assert (data.head.space, data.head.size) == ("categorical", len(set(TEXT)))


def test_a_folder_means_its_input_txt(text_file):
    of_file = load("characters", path=text_file, options={"length": 8})
    of_folder = load("characters", path=text_file.parent, options={"length": 8})
    assert of_folder.train.keys.tolist() == of_file.train.keys.tolist()


def test_samples_of_rows_can_show_some_labels(text_file):
    data = load("characters", path=text_file, options={"length": 8}, labelled=0.5)
    assert int(data.train.labelled.sum()) == round(0.5 * len(data.train))


def test_characters_beyond_latin_are_characters(tmp_path):
    (tmp_path / "input.txt").write_text("åβж𝄞" * 50, encoding="utf-8")
    data = load("characters", path=tmp_path, options={"length": 4})
    assert data.vocabulary == ("å", "β", "ж", "𝄞")
    assert data.train.inputs["input_ids"][0].tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"length": 0}, OptionError, "length must be 1 character or more"),
        ({"length": 300}, DataError, "train|validation|test"),
        ({"encoding": "klingon"}, OptionError, "no encoding 'klingon'"),
    ],
)
def test_an_option_that_does_not_fit_is_refused(text_file, options, error, message):
    with pytest.raises(error, match=message):
        load("characters", path=text_file, options=options)


def test_windows_longer_than_a_split_are_refused(text_file):
    with pytest.raises(
        DataError, match=r"the validation split must have more than length = 72 .*72"
    ):
        load("characters", path=text_file, options={"length": 72})


def test_a_text_of_another_encoding_is_refused_with_the_way_out(tmp_path):
    (tmp_path / "input.txt").write_bytes(b"caf\xe9 " * 300)
    with pytest.raises(DataError, match=r"is no utf-8 text.*Set options\.encoding"):
        load("characters", path=tmp_path)
    data = load("characters", path=tmp_path, options={"encoding": "latin-1", "length": 8})
    assert "é" in data.vocabulary
    assert data.train.inputs["input_ids"].dtype == torch.int64


def test_an_empty_text_is_refused(tmp_path):
    (tmp_path / "input.txt").write_text("")
    with pytest.raises(DataError, match="is empty"):
        load("characters", path=tmp_path)
