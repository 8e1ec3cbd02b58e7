import pytest
import torch

from limbeck._errors import OptionError, TargetsError
from limbeck.signals import Batch, Dense, Head, Signals, Sparse

CPU = torch.device("cpu")


def batch(**options):
    return Batch(
        inputs=torch.arange(8.0).reshape(4, 2),
        labels={"label": torch.arange(4)},
        index=torch.arange(10, 14),
        **options,
    )


@pytest.mark.parametrize("classes", [("ant", "bee"), ("ant", "bee", "cat", "dog")])
def test_all_classes_of_a_head_have_a_name_or_none(classes):
    message = rf"classes of head kind must be 3 names, one for each, or none, got {len(classes)}"
    with pytest.raises(OptionError, match=message):
        Head(name="kind", space="categorical", size=3, classes=classes)
    assert Head(name="kind", space="categorical", size=3).classes == ()


def test_dense_rows_give_their_logits_up_to_a_constant():
    logits = torch.randn(3, 5)
    rows = Dense(values=torch.log_softmax(logits / 4.0, -1), temperature=4.0)
    torch.testing.assert_close(torch.softmax(rows.logits, -1), torch.softmax(logits, -1))
    assert Dense(values=logits).logits is logits


def test_rows_are_selected_by_sample():
    index = torch.tensor([2, 0])
    dense = Dense(values=torch.arange(6.0).reshape(3, 2), temperature=3.0).select(index)
    assert dense.values.tolist() == [[4, 5], [0, 1]]
    assert dense.temperature == 3.0
    sparse = Sparse(
        ids=torch.tensor([[0], [1], [2]]),
        probabilities=torch.tensor([[0.5], [0.6], [0.75]]),
        tail=torch.tensor([0.5, 0.4, 0.25]),
        temperature=3.0,
    ).select(index)
    assert sparse.ids.tolist() == [[2], [0]]
    assert sparse.probabilities.tolist() == [[0.75], [0.5]]
    assert sparse.tail.tolist() == [0.25, 0.5]
    assert sparse.temperature == 3.0


def test_stored_rows_are_computed_with_in_float32_and_int64():
    dense = Dense(values=torch.zeros(2, 3, dtype=torch.float16), temperature=2.0).to(CPU)
    assert (dense.values.dtype, dense.temperature) == (torch.float32, 2.0)
    sparse = Sparse(
        ids=torch.zeros(2, 1, dtype=torch.uint8),
        probabilities=torch.zeros(2, 1, dtype=torch.float16),
        tail=torch.zeros(2, dtype=torch.float64),
        temperature=2.0,
    ).to(CPU)
    assert sparse.ids.dtype == torch.int64
    assert sparse.probabilities.dtype == sparse.tail.dtype == torch.float32
    assert sparse.temperature == 2.0


def test_signals_need_no_features():
    assert Signals(rows={}).features == {}


@pytest.mark.parametrize("as_dict", [False, True])
def test_a_slice_holds_everything_of_its_samples(as_dict):
    whole = batch(
        labelled=torch.tensor([True, False, True, False]),
        mask=torch.tensor([[True], [False], [False], [True]]),
        view=3,
    )
    if as_dict:
        whole = Batch(**vars(whole) | {"inputs": {"input_ids": whole.inputs}})
    part = whole.slice(1, 3)
    inputs = part.inputs["input_ids"] if as_dict else part.inputs
    assert inputs.tolist() == [[2, 3], [4, 5]]
    assert part.labels["label"].tolist() == [1, 2]
    assert part.index.tolist() == [11, 12]
    assert part.labelled.tolist() == [False, True]
    assert part.mask.tolist() == [[False], [False]]
    assert part.view == 3
    assert len(part) == 2


@pytest.mark.parametrize("as_dict", [False, True])
def test_a_moved_batch_is_the_same_batch(as_dict):
    whole = batch(labelled=torch.ones(4, dtype=torch.bool), mask=torch.ones(4, 1), view=2)
    if as_dict:
        whole = Batch(**vars(whole) | {"inputs": {"input_ids": whole.inputs}})
    moved = whole.to(torch.device("meta"))
    inputs = moved.inputs["input_ids"] if as_dict else moved.inputs
    devices = [inputs, moved.labels["label"], moved.labelled, moved.mask]
    assert {tensor.device.type for tensor in devices} == {"meta"}
    assert moved.index is whole.index
    assert moved.view == 2
    assert batch().to(CPU).mask is batch().to(CPU).labelled is None


def test_all_rows_count_where_nothing_says_otherwise():
    assert batch().rows_that_count(with_labels=True) is None
    assert batch().count(with_labels=True) == 4


def test_labels_count_where_they_may_be_used_and_the_mask_allows():
    labelled = torch.tensor([True, True, False, False])
    mask = torch.tensor([[True, False], [True, True], [True, True], [False, False]])
    both = batch(labelled=labelled, mask=mask)
    assert both.count(with_labels=False) == 5
    assert both.count(with_labels=True) == 3
    assert both.rows_that_count(with_labels=True).tolist() == [
        [True, False],
        [True, True],
        [False, False],
        [False, False],
    ]
    assert batch(labelled=labelled).count(with_labels=True) == 2
    assert batch(labelled=labelled).count(with_labels=False) == 4


def test_sparse_rows_say_that_they_have_no_logits():
    rows = Sparse(ids=torch.zeros(1, 1).int(), probabilities=torch.ones(1, 1), tail=torch.zeros(1))
    with pytest.raises(
        TargetsError, match=r"no logits: .*sparse_soft_targets\(student_logits, rows"
    ):
        _ = rows.logits
