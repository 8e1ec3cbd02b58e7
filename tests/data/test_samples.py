"""Samples: content keys, batches, subsets, and what is refused."""

import re

import numpy as np
import pytest
import torch
import xxhash
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import Dataset, IterableDataset, TensorDataset

from limbeck._errors import DataError, ShapeError
from limbeck.data import (
    ArraySamples,
    DatasetSamples,
    Samples,
    Views,
    check_split,
    content_keys,
    infer_head,
    samples,
    samples_and_heads,
)
from limbeck.signals import Head

IMAGES = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (9, 4, 5), dtype=np.uint8))
LABELS = torch.tensor([0, 1, 2, 0, 1, 2, 0, 1, 2])


class Items(Dataset):
    """A map-style dataset of a list; it counts its reads."""

    def __init__(self, items):
        self.items = items
        self.reads = 0

    def __len__(self):
        return len(self.items)

    def __getitem__(self, position):
        self.reads += 1
        return self.items[position]


def both():
    return [
        ArraySamples(IMAGES, {"label": LABELS}),
        DatasetSamples(Items([(x.numpy(), int(y)) for x, y in zip(IMAGES, LABELS, strict=True)])),
    ]


# --- keys


def test_a_key_is_the_xxhash_of_a_samples_raw_bytes():
    expected = [xxhash.xxh3_64_intdigest(image.numpy().tobytes()) for image in IMAGES]
    assert content_keys(IMAGES).tolist() == expected


@pytest.mark.parametrize("dtype", [torch.float32, torch.int64, torch.bfloat16, torch.bool])
def test_a_key_is_that_of_the_bytes_in_any_type(dtype):
    values = IMAGES.to(dtype)
    raw = [bytes(value.contiguous().view(torch.uint8).flatten().tolist()) for value in values]
    assert content_keys(values).tolist() == [xxhash.xxh3_64_intdigest(part) for part in raw]


def test_the_key_of_keyword_inputs_is_that_of_their_bytes_in_order_of_name():
    inputs = {"words": torch.arange(6).reshape(2, 3), "age": torch.tensor([7, 8])}
    expected = [
        xxhash.xxh3_64_intdigest(
            inputs["age"][i].numpy().tobytes() + inputs["words"][i].numpy().tobytes()
        )
        for i in range(2)
    ]
    assert content_keys(inputs).tolist() == expected


@given(st.permutations(range(9)), st.integers(1, 9))
def test_a_key_depends_on_neither_position_nor_batch(order, size):
    some = torch.tensor(order[:size])
    assert np.array_equal(content_keys(IMAGES[some]), content_keys(IMAGES)[some.numpy()])


@given(st.integers(0, 8), st.integers(0, 3), st.integers(0, 4), st.integers(0, 7))
def test_one_flipped_bit_changes_the_key_of_its_sample_alone(sample, row, column, bit):
    damaged = IMAGES.clone()
    damaged[sample, row, column] ^= 1 << bit
    changed = content_keys(damaged) != content_keys(IMAGES)
    assert changed.nonzero()[0].tolist() == [sample]


def test_no_samples_have_no_keys():
    assert content_keys(IMAGES[:0]).shape == (0,)


def test_both_kinds_of_samples_have_the_same_keys():
    of_arrays, of_dataset = both()
    assert np.array_equal(of_arrays.keys, of_dataset.keys)


# --- batches


@pytest.mark.parametrize("made", both(), ids=["arrays", "dataset"])
def test_images_of_8_bit_integers_come_as_floats_from_0_to_1(made):
    batch = made.fetch(torch.tensor([4, 0]))
    expected = IMAGES.numpy()[[4, 0]].astype(np.float32) / np.float32(255)
    assert np.array_equal(batch.inputs.numpy(), expected)
    assert batch.labels["label"].tolist() == [1, 0]
    assert batch.index.tolist() == [4, 0]
    assert batch.labelled is None


@pytest.mark.parametrize("made", both(), ids=["arrays", "dataset"])
def test_a_view_is_the_same_in_a_subset(made):
    made = made.with_views(Views(shift=1, flip=True))
    whole = made.fetch(torch.arange(9), view=2)
    part = made.subset(torch.tensor([7, 3])).fetch(torch.arange(2), view=2)
    assert torch.equal(part.inputs, whole.inputs[[7, 3]])
    assert not torch.equal(whole.inputs, made.fetch(torch.arange(9)).inputs)
    assert part.view == 2


@pytest.mark.parametrize("made", both(), ids=["arrays", "dataset"])
def test_a_subset_keeps_what_belongs_to_its_samples(made):
    labelled = torch.arange(9) < 4
    made = made.with_labels_of(labelled).with_views(Views(flip=True))
    part = made.subset(torch.tensor([1, 8, 3])).subset(torch.tensor([1, 2]))
    assert len(part) == 2
    assert torch.equal(part.fetch(torch.arange(2)).inputs, made.fetch(torch.tensor([8, 3])).inputs)
    assert part.labels["label"].tolist() == [2, 0]
    assert part.labelled.tolist() == [False, True]
    assert part.fetch(torch.tensor([1])).labelled.tolist() == [True]
    assert np.array_equal(part.keys, made.keys[[8, 3]])
    assert np.array_equal(part.keys, content_keys(IMAGES[[8, 3]]))
    assert part.views == Views(flip=True)


@pytest.mark.parametrize("made", both(), ids=["arrays", "dataset"])
def test_both_kinds_are_samples(made):
    assert isinstance(made, Samples)


def test_the_mask_of_rows_goes_with_its_samples():
    mask = torch.tensor([[True, False], [True, True]])
    made = ArraySamples({"input_ids": mask.long()}, {"label": mask.long()}, mask=mask)
    again = made.with_views(Views()).subset(torch.tensor([1, 0]))
    assert torch.equal(again.fetch(torch.tensor([1])).mask, mask[:1])


def test_a_dataset_is_read_once_for_labels_keys_and_all_subsets():
    items = Items([(x, 0) for x in IMAGES])
    made = DatasetSamples(items)
    assert items.reads == 0
    assert len(made.keys) == len(made.labels["label"]) == 9
    part = made.subset(torch.arange(5)).with_labels_of(torch.ones(5, dtype=torch.bool))
    assert len(part.with_views(Views(shift=1)).keys) == 5
    assert items.reads == 9


def test_a_dataset_of_more_samples_than_a_block_keeps_their_order():
    values = torch.arange(600.0).reshape(600, 1)
    made = DatasetSamples(Items([(value, i) for i, value in enumerate(values)]))
    assert made.labels["label"].tolist() == list(range(600))
    assert np.array_equal(made.keys, content_keys(values))


def test_items_may_be_keyword_arguments_and_a_label():
    items = [
        {"ids": [1, 2], "mask": [True, False], "label": 3},
        {"ids": [4, 5], "mask": [True, True], "label": 0},
    ]
    batch = DatasetSamples(Items(items)).fetch(torch.arange(2))
    assert batch.inputs["ids"].tolist() == [[1, 2], [4, 5]]
    assert sorted(batch.inputs) == ["ids", "mask"]
    assert batch.labels["label"].tolist() == [3, 0]
    named = DatasetSamples(Items(items), head="topic")
    assert named.labels["topic"].tolist() == [3, 0]


def test_items_without_labels_can_be_asked_about():
    made = DatasetSamples(Items([{"ids": [1]}, {"ids": [2]}]))
    assert made.labels == {}
    assert made.fetch(torch.tensor([0])).labels == {}


def test_a_batch_of_no_samples_has_the_shapes_of_one():
    of_arrays, of_dataset = (made.fetch(torch.arange(0)) for made in both())
    assert of_dataset.inputs.shape == of_arrays.inputs.shape == (0, 4, 5)
    assert of_dataset.labels["label"].shape == of_dataset.index.shape == (0,)


# --- samples() and heads


class Wrapped:
    """Samples of somebody else's."""

    def __init__(self, inner):
        self.inner = inner

    def __len__(self):
        return len(self.inner)

    def __getattr__(self, name):
        return getattr(self.inner, name)


def test_samples_of_another_kind_stay_what_they_are():
    wrapped = Wrapped(ArraySamples(IMAGES, {"label": LABELS}))
    assert samples(wrapped) is wrapped


@pytest.mark.parametrize(
    "data",
    [
        (IMAGES.numpy(), LABELS.numpy()),
        (IMAGES, LABELS.int()),
        TensorDataset(IMAGES, LABELS),
        Items([(x, int(y)) for x, y in zip(IMAGES, LABELS, strict=True)]),
        ArraySamples(IMAGES, {"label": LABELS}),
    ],
    ids=["numpy", "torch", "TensorDataset", "Dataset", "Samples"],
)
def test_whatever_holds_inputs_and_labels_becomes_the_same_samples(data):
    made = samples(data)
    assert np.array_equal(made.keys, content_keys(IMAGES))
    assert made.labels["label"].dtype == torch.int64
    assert torch.equal(made.labels["label"], LABELS)
    assert samples(data, views=Views(shift=1)).views == Views(shift=1)


def test_labels_may_come_beside_by_head_or_not_at_all():
    assert samples(IMAGES).labels == {}
    assert list(samples(IMAGES, LABELS, head="digit").labels) == ["digit"]
    both_heads = samples(IMAGES, {"a": LABELS, "b": LABELS.numpy() / 2}).labels
    assert both_heads["a"].dtype == torch.int64
    assert both_heads["b"].shape == (9, 1)


def test_doubles_become_floats_and_whole_numbers_stay():
    assert samples(np.zeros((2, 3))).inputs.dtype == torch.float32
    assert samples(np.zeros((2, 3), dtype=">f8")).inputs.dtype == torch.float32
    assert samples(np.zeros((2, 3), dtype=np.int64)).inputs.dtype == torch.int64
    assert samples(np.zeros((2, 3), dtype=np.uint16)).inputs.dtype == torch.int64
    by_name = samples({"ids": np.zeros((2, 3), dtype=np.int32), "x": np.zeros(2)}).inputs
    assert (by_name["ids"].dtype, by_name["x"].dtype) == (torch.int32, torch.float32)


@pytest.mark.parametrize(
    ("labels", "space", "size"),
    [
        (torch.tensor([0, 4, 2]), "categorical", 5),
        (torch.tensor([[0, 4], [1, 1]]), "categorical", 5),
        (torch.tensor([True, True]), "categorical", 2),
        (torch.tensor([[True, False, True]]), "binary", 3),
        (torch.tensor([0.5, 1.5]), "real", 1),
        (torch.tensor([[0.5, 1.5]]).double(), "real", 2),
    ],
)
def test_a_head_is_told_from_the_type_and_shape_of_labels(labels, space, size):
    head = infer_head(labels, name="x")
    assert (head.name, head.space, head.size) == ("x", space, size)


def test_the_names_of_classes_say_how_many_there_are():
    head = infer_head(torch.tensor([0, 1]), classes=("a", "b", "c"))
    assert (head.size, head.classes) == (3, ("a", "b", "c"))


def test_a_column_of_class_ids_is_one_class_a_sample():
    column = torch.tensor([[0], [2], [1]])
    assert samples((IMAGES[:3], column)).labels["label"].tolist() == [0, 2, 1]
    assert DatasetSamples(Items([(np.zeros(2), [2])])).labels["label"].tolist() == [2]
    assert infer_head(column).size == 3


@pytest.mark.parametrize(
    "labels",
    [
        torch.tensor([[1.0, 0.0], [0.5, 0.5]]),
        torch.tensor([[1.0, 0.0], [1.0, 1.0]]),
        torch.tensor([[1.0, 0.0], [0.0, 0.0]]),
        torch.tensor([[1.0, 0.0], [0.0, 2.0]]),
        torch.tensor([[1.0, 0.0, 0.0], [2.0, -1.0, 0.0]]),
        torch.tensor([[1.0], [1.0]]),
        torch.tensor([1.0, 0.0]),
        torch.zeros(0, 2),
    ],
)
def test_numbers_that_are_not_one_hot_are_a_regression(labels):
    _, heads = samples_and_heads((IMAGES[: len(labels)], labels))
    assert [head.space for head in heads] == ["real"]


@pytest.mark.parametrize("labels", [[1, 2, 4], [2, 2, 3], [1, 1, 1], [[1, 2], [3, 2], [1, 1]]])
def test_some_classes_may_have_no_sample(labels):
    labels = torch.tensor(labels)
    _, (head,) = samples_and_heads((IMAGES[:3], labels))
    assert head.size == int(labels.max()) + 1


# --- what is refused


@pytest.mark.parametrize("one_hot", [np.eye(3), torch.eye(3)[[0, 0, 2]], torch.eye(3).half()])
def test_one_hot_floats_are_refused_with_the_way_out(one_hot):
    told = r"got one-hot floats \(3, 3\), .* Give labels\.argmax\(1\);"
    for data in ((IMAGES[:3], one_hot), Items([(np.zeros(2), row) for row in one_hot])):
        with pytest.raises(DataError, match=told):
            samples_and_heads(data)


@pytest.mark.parametrize("one_hot", [np.eye(3, dtype=np.int64), torch.eye(3).long()[[0, 0, 2]]])
def test_one_hot_whole_numbers_are_no_classes_of_tokens(one_hot):
    with pytest.raises(DataError, match=r"got one-hot ones \(3, 3\), .* Give labels\.argmax\(1\);"):
        samples_and_heads((IMAGES[:3], one_hot))


@pytest.mark.parametrize("labels", [[[0, 1], [1, 1], [0, 1]], [[1], [0], [1]], [[1], [1], [1]]])
def test_classes_of_tokens_that_are_not_one_hot_are_taken(labels):
    _, (head,) = samples_and_heads((IMAGES[:3], torch.tensor(labels)))
    assert head.size == 2


def test_classes_that_are_counted_from_1_are_refused():
    with pytest.raises(DataError, match=r"count classes from 0, got all of 1\.\.3 .* labels - 1;"):
        samples_and_heads((IMAGES[:4], torch.tensor([2, 1, 3, 2])))


@pytest.mark.parametrize("data", [[[0.0, 1.0]], ([[0.0]], [0]), [(IMAGES, LABELS)]])
def test_lists_are_refused_with_what_to_make_of_them(data):
    with pytest.raises(DataError, match=r"got list\. Make one array of its numbers, .*Samples\(p"):
        samples(data)


def test_labels_that_count_from_1_are_told_so_where_the_head_says_how_many_there_are():
    head = infer_head(LABELS, classes=("a", "b", "c"))
    from_1 = ArraySamples(IMAGES[:3], {"label": torch.tensor([1, 2, 3])})
    with pytest.raises(DataError, match=r"got 3 at sample 2\. Classes count from 0: give labels -"):
        check_split("train", from_1, [head])


def test_objects_which_come_from_pickles_are_refused():
    with pytest.raises(DataError, match="inputs must be numbers, got an array of object"):
        samples(np.array([{"a": 1}, None], dtype=object))


def test_text_labels_are_refused_with_the_way_out():
    with pytest.raises(
        DataError, match=r"labels label must be numbers, got an array of <U3\. .*ids"
    ):
        samples((np.zeros((2, 1)), np.array(["cat", "dog"])))


def test_inputs_and_labels_of_two_lengths_are_refused():
    with pytest.raises(ShapeError, match="one length: inputs 9, labels label 3"):
        samples((IMAGES, LABELS[:3]))


def test_a_dataset_that_has_a_nan_named_input_is_refused_by_name():
    items = [{"x": [0.0, float("inf")], "label": 0}]
    with pytest.raises(DataError, match="the input x of item 0 of the dataset"):
        _ = DatasetSamples(Items(items)).labels


def test_two_sets_of_labels_are_refused():
    with pytest.raises(DataError, match="ArraySamples brings its own labels"):
        samples(ArraySamples(IMAGES, {"label": LABELS}), LABELS)


def test_something_else_is_no_data():
    with pytest.raises(DataError, match="got int"):
        samples(3)


def test_an_iterable_dataset_is_refused():
    class Stream(IterableDataset):
        def __iter__(self):
            return iter([])

    with pytest.raises(DataError, match="must have a length and items by position, got Stream"):
        samples(Stream())


def test_items_that_are_no_pairs_are_refused():
    with pytest.raises(DataError, match=r"must be \(input, label\) or a dict .* got int"):
        DatasetSamples(Items([1, 2])).fetch(torch.arange(2))


@pytest.mark.parametrize("where", [1, 256, 300])
def test_items_of_two_shapes_are_refused_even_far_apart(where):
    items = [(np.zeros(3), 0)] * 400
    items[where:] = [(np.zeros(4), 0)] * (400 - where)
    with pytest.raises(DataError, match=r"one shape in all samples, got \(3,\) and \(4,\)"):
        _ = DatasetSamples(Items(items)).keys


def test_a_dataset_that_holds_nan_is_refused_by_item():
    items = [(np.zeros(3), 0), (np.array([0, np.nan, 1]), 0)]
    with pytest.raises(DataError, match="the input of item 1 of the dataset holds a number"):
        check_split("train", DatasetSamples(Items(items)), [infer_head(LABELS)])


class Failing(Items):
    """A dataset with one item that cannot be read."""

    def __getitem__(self, position):
        if position == 3:
            raise KeyError("no picture of it.\nLook elsewhere")
        return super().__getitem__(position)


def test_what_a_dataset_raises_when_asked_for_its_length_is_said():
    class Endless(Items):
        def __len__(self):
            raise NotImplementedError("nobody knows")

    with pytest.raises(
        DataError, match=r"Endless raised NotImplementedError when .*: nobody knows"
    ):
        samples(Endless([]))


@pytest.mark.parametrize("index", [torch.arange(9), torch.tensor([3])])
def test_what_a_dataset_raises_is_said_with_its_class_and_the_sample(index):
    made = DatasetSamples(Failing([(x, 0) for x in IMAGES]))
    with pytest.raises(DataError) as error:
        made.fetch(index)
    assert re.fullmatch(
        r"the dataset Failing raised KeyError at sample 3 at test_samples\.py, line \d+: 'no "
        r"picture of it\.\\nLook elsewhere'\. Mend its __getitem__, or leave that sample out\.",
        str(error.value),
    )
    assert isinstance(error.value.__cause__, KeyError)


def test_the_sample_is_numbered_as_the_dataset_does_in_a_subset_too():
    made = DatasetSamples(Failing([(x, 0) for x in IMAGES])).subset(torch.tensor([5, 3]))
    with pytest.raises(DataError, match="at sample 3 at "):
        made.fetch(torch.tensor([1]))


@pytest.mark.parametrize(
    ("odd", "message"),
    [
        ({"ids": [1], "label": 0}, "a dict with the keys ids, label, topic at sample 0 and a dict"),
        ((np.zeros(1), 0), r"topic at sample 0 and \(input, label\) at sample 1\. Mend its"),
        (None, "NoneType at sample 1"),
    ],
)
def test_items_of_two_forms_are_refused_by_sample(odd, message):
    with pytest.raises(DataError, match=message):
        _ = DatasetSamples(Items([{"ids": [1], "label": 0, "topic": 1}, odd])).labels


def test_an_item_whose_parts_have_several_shapes_is_refused():
    with pytest.raises(DataError, match=r"inputs must be one array of numbers: .* Pad or cut"):
        _ = DatasetSamples(Items([([[1.0], [1.0, 2.0]], 0)])).labels


CLASSES = Head(space="categorical", size=3)
NUMBERS = Head(space="real", size=1)
ZEROS = torch.zeros(3, 2)


@pytest.mark.parametrize(
    ("split", "head", "message"),
    [
        (ArraySamples(ZEROS[:0], {"label": LABELS[:0]}), CLASSES, "the test split is empty"),
        (ArraySamples(ZEROS, {}), CLASSES, "no labels for head label"),
        (
            ArraySamples(ZEROS, {"label": torch.tensor([0, 1, 3])}),
            CLASSES,
            r"test split must be 0\.\.2 for head label \(3 classes\), got 3 at sample 2",
        ),
        (
            ArraySamples(ZEROS, {"label": torch.tensor([[0, 1], [0, 0], [-1, 0]])}),
            CLASSES,
            "got -1 at sample 2",
        ),
        (
            ArraySamples(ZEROS, {"label": torch.tensor([0, 0, 0])}),
            Head(space="categorical", size=1),
            "must have 2 classes or more, got 1",
        ),
        (
            ArraySamples(ZEROS, {"label": torch.tensor([[0.0], [float("nan")], [1.0]])}),
            NUMBERS,
            "the label of test sample 1 is not finite",
        ),
        (
            ArraySamples(ZEROS, {"label": torch.zeros(3, 2)}),
            NUMBERS,
            r"must have 1 numbers a sample for head label, got the shape \(3, 2\)",
        ),
        (
            ArraySamples(ZEROS, {"label": torch.tensor([[0.0], [1.0], [2.0]])}),
            Head(space="binary", size=1),
            r"must be 0 or 1 for each class, got \[2\.0\] at test sample 2",
        ),
        (
            ArraySamples(ZEROS / 0, {"label": torch.tensor([0, 1, 2])}),
            CLASSES,
            "the input of test sample 0 holds a number that is not finite",
        ),
        (
            ArraySamples({"x": ZEROS / 0}, {"label": torch.tensor([0, 1, 2])}),
            CLASSES,
            "the input x of test sample 0",
        ),
    ],
)
def test_a_split_that_nothing_can_be_learned_from_is_refused_by_name(split, head, message):
    with pytest.raises(DataError, match=message):
        check_split("test", split, [head])


def test_training_samples_may_have_no_labels():
    check_split("train", ArraySamples(ZEROS, {}), [CLASSES], labels=False)
    with pytest.raises(DataError, match="the train split has no labels for head label, and"):
        check_split("train", ArraySamples(ZEROS, {}), [CLASSES])
