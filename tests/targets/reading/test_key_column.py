"""A column of keys finds the rows of a Hugging Face dataset's samples, wherever they went."""

import numpy as np
import pytest
import torch
from datasets import Array2D, Dataset, Features, Value

from limbeck import data
from limbeck._errors import DataError, TargetsError
from limbeck.signals import Head
from limbeck.targets import (
    Ensemble,
    TargetsCollator,
    add_keys,
    capture,
    split_batch,
)
from limbeck.teachers import Teacher

INPUTS = ["input_ids", "attention_mask"]
SAMPLES = 30


def answer(input_ids, attention_mask):
    return (input_ids[:, :3] * attention_mask[:, :3]).astype(np.float32) / 10


@pytest.fixture
def questions():
    drawn = torch.randint(0, 50, (SAMPLES, 6), generator=torch.Generator().manual_seed(0))
    return Dataset.from_dict(
        {
            "text": [f"question {n}" for n in range(SAMPLES)],
            "input_ids": drawn.tolist(),
            "attention_mask": (drawn > 5).long().tolist(),
            "label": [n % 3 for n in range(SAMPLES)],
        }
    )


@pytest.fixture
def targets(questions, tmp_path):
    """Captured over the columns as tensors, in another order than the dataset's."""
    inputs = questions.shuffle(seed=4).with_format("torch", columns=INPUTS)[:]
    teacher = Teacher(answer, [Head(space="categorical", size=3)])
    return capture(teacher, data.samples(inputs), tmp_path, batch_size=8, temperature=1.0)


def right(batch, targets):
    """Whether each row is what the teacher says of the inputs beside it."""
    _, taught = split_batch(batch, targets)
    said = answer(batch["input_ids"].numpy(), batch["attention_mask"].numpy())
    expected = torch.from_numpy(said).log_softmax(-1)
    torch.testing.assert_close(taught["label"].values, expected, rtol=1e-3, atol=1e-3)
    return len(expected)


def test_keys_are_those_that_the_teacher_was_asked_by(questions, targets):
    keyed = add_keys(questions, INPUTS)
    inputs = questions.with_format("torch", columns=INPUTS)[:]
    keys = np.array(keyed["limbeck_key"], dtype=np.int64).view(np.uint64)
    assert keys.tolist() == data.samples(inputs).keys.tolist()
    assert set(keys.tolist()) == set(targets.keys.tolist())
    assert (keys >= 2**63).any()  # which int64 holds as negative numbers


@pytest.mark.parametrize("format", [None, "torch", "numpy", "arrow", "pandas"])
def test_the_format_of_the_dataset_stays_and_does_not_change_a_key(questions, format):
    formatted = questions.with_format(format, columns=["label", "input_ids"] if format else None)
    keyed = add_keys(formatted, INPUTS)
    assert keyed.format["type"] == format
    plain = add_keys(questions, INPUTS)
    assert keyed.with_format(None)["limbeck_key"][:] == plain["limbeck_key"][:]
    assert keyed.column_names == [*questions.column_names, "limbeck_key"]


@pytest.mark.parametrize("format", [None, "torch", "numpy"])
def test_rows_are_found_after_shuffle_filter_select_and_map(questions, targets, format):
    moved = add_keys(questions.shuffle(seed=1).select(range(25)), INPUTS).shuffle(seed=2)
    moved = moved.filter(lambda one: one["label"] != 1).map(lambda one: {"text": one["text"] * 2})
    moved = moved.remove_columns("text").with_format(format)
    loader = torch.utils.data.DataLoader(
        moved, batch_size=4, shuffle=True, collate_fn=TargetsCollator(targets, _stacked)
    )
    assert sum(right(batch, targets) for batch in loader) == len(moved)


def _stacked(items):
    return {name: torch.tensor(np.stack([item[name] for item in items])) for name in items[0]}


def test_torchs_collation_is_what_others_are_collated_by(questions, targets):
    items = add_keys(questions, INPUTS).with_format("torch")
    batch = TargetsCollator(targets)([items[3], items[8]])
    assert batch["text"] == ["question 3", "question 8"]
    assert batch["label"].tolist() == [0, 2]
    assert "limbeck_key" not in batch
    assert right(batch, targets) == 2


def test_a_collator_pads_as_transformers_does(questions, targets):
    from transformers import default_data_collator

    items = add_keys(questions.remove_columns("text"), INPUTS)
    batch = TargetsCollator(targets, default_data_collator)([items[1], items[4]])
    assert batch["labels"].tolist() == [1, 1]
    assert right(batch, targets) == 2


def test_several_teachers_answer_by_one_column(questions, targets):
    items = add_keys(questions, INPUTS).with_format("torch")
    both = Ensemble([targets, targets])
    assert right(TargetsCollator(both)([items[3], items[8]]), both) == 2


def test_images_and_numbers_have_keys_too(tmp_path):
    pixels = np.random.default_rng(0).random((12, 2, 3))
    features = Features({"image": Array2D((2, 3), "float64"), "size": Value("int32")})
    images = Dataset.from_dict({"image": pixels, "size": range(12)}, features=features)
    keyed = add_keys(images, ["image", "size"], column="where")
    inputs = {"image": torch.from_numpy(pixels), "size": torch.arange(12)}
    keys = np.array(keyed["where"], dtype=np.int64).view(np.uint64)
    assert keys.tolist() == data.samples(inputs).keys.tolist()


def test_an_empty_dataset_has_an_empty_column(questions):
    assert add_keys(questions.select([]), INPUTS)["limbeck_key"][:] == []


def test_columns_that_are_not_there_are_named(questions):
    with pytest.raises(DataError, match=r"a Dataset without token_ids\. It has text, input_ids"):
        add_keys(questions, ["token_ids", "label"])
    with pytest.raises(DataError, match=r"got a dict without input_ids.*give each split"):
        add_keys({"train": questions}, ["input_ids"])
    with pytest.raises(DataError, match=r"has a column 'label' already"):
        add_keys(questions, INPUTS, column="label")


@pytest.mark.parametrize("texts", [[[1, 2], [3]], [[1, 2]] * 1024 + [[1, 2, 3]]])
def test_texts_must_be_padded_to_one_length(texts):
    ragged = Dataset.from_dict({"input_ids": texts})
    with pytest.raises(DataError, match=r"input_ids must hold numbers, in one shape.*Pad texts"):
        add_keys(ragged, ["input_ids"])


def test_words_are_no_inputs(questions):
    with pytest.raises(DataError, match=r"text must hold numbers"):
        add_keys(questions, ["text"])


def test_a_sample_without_a_key_is_refused_with_the_way_out(questions, targets):
    with pytest.raises(TargetsError, match=r"'limbeck_key', got text.*remove_unused_columns=False"):
        TargetsCollator(targets)([questions[0]])


def test_a_sample_that_the_teacher_was_not_asked_about_is_refused(questions, targets):
    other = questions.map(lambda one: {"input_ids": [n + 1 for n in one["input_ids"]]})
    with pytest.raises(TargetsError, match=r"no row for 1 of 1 samples"):
        TargetsCollator(targets)([add_keys(other, INPUTS)[0]])


def test_a_collator_reads_the_view_that_it_is_told(tmp_path):
    pixels = torch.rand(12, 4, 4, generator=torch.Generator().manual_seed(0))
    samples = data.samples(pixels, views=data.Views(shift=1))
    teacher = Teacher(lambda images: images[:, 0], [Head(space="categorical", size=4)])
    targets = capture(teacher, samples, tmp_path, views=2, temperature=1.0)
    items = add_keys(Dataset.from_dict({"image": pixels.tolist()}), ["image"])
    for view in (0, 1):
        rows = targets.aligned(samples).rows(torch.tensor([3, 8]), view)["label"].values.float()
        batch = TargetsCollator(targets, _stacked, view=view)([items[3], items[8]])
        assert batch["teacher_label_values"].equal(rows)
