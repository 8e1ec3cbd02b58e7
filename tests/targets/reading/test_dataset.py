"""Samples and rows through torch's own loaders: any order, batch, share, subset, concatenation."""

import io
import math
import multiprocessing

import pytest
import torch
from accelerate import skip_first_batches
from torch.utils.data import (
    BatchSampler,
    ConcatDataset,
    DataLoader,
    DistributedSampler,
    Subset,
    TensorDataset,
)

from limbeck._errors import TargetsError
from limbeck.data import ArraySamples, Views
from limbeck.losses import sparse_soft_targets
from limbeck.signals import Dense, Head, Sparse
from limbeck.targets import (
    Ensemble,
    TargetsDataset,
    TransferSet,
    capture,
    collate,
    split_batch,
)
from limbeck.targets.reading._transfer_set import READINGS
from limbeck.teachers import Teacher

CPU = torch.device("cpu")
CODECS = {"dense": {}, "sparse": {"codec": "topk", "codec_options": {"k": 2}}}


@pytest.fixture(params=CODECS)
def targets(request, teacher, samples, tmp_path):
    return capture(teacher, samples, tmp_path / "set", batch_size=16, **CODECS[request.param])


@pytest.fixture
def labelled(samples):
    return ArraySamples(samples.inputs, {"label": torch.arange(40) % 5})


@pytest.fixture
def of_batch(targets, labelled):
    """Check that a batch holds for each sample its own rows, whatever the order."""
    rows = targets.aligned(labelled).rows(torch.arange(40))["label"].to(CPU)

    def check(batch):
        same = (batch["inputs"][:, None] == labelled.inputs).flatten(2).all(-1)
        index = same.float().argmax(1)
        assert same.any(1).all()
        assert batch["labels"].equal(index % 5)
        inputs, taught = split_batch(batch, targets)
        assert inputs.keys() == {"inputs", "labels"}
        expected, got = vars(rows.select(index)), vars(taught["label"])
        for name, part in expected.items():
            assert part.equal(got[name]) if isinstance(part, torch.Tensor) else part == got[name]
        return index.tolist()

    return check


@pytest.mark.parametrize("size", [1, 7, 16, 100])
@pytest.mark.parametrize("workers", [0, 2])
def test_a_loader_gives_every_sample_its_own_rows(targets, labelled, of_batch, size, workers):
    dataset = TargetsDataset(labelled, targets)
    for collation in (None, collate):
        loader = DataLoader(dataset, size, True, num_workers=workers, collate_fn=collation)
        assert sorted(each for batch in loader for each in of_batch(batch)) == list(range(40))


@pytest.mark.parametrize("reading", READINGS)
def test_every_way_of_reading_gives_the_same_batches(targets, labelled, of_batch, reading):
    again = TransferSet(targets.folder, reading=reading)
    loader = DataLoader(TargetsDataset(labelled, again), batch_size=9, shuffle=True)
    assert sorted(each for batch in loader for each in of_batch(batch)) == list(range(40))


@pytest.mark.parametrize("world_size", [1, 2, 3])
def test_processes_share_the_samples(targets, labelled, of_batch, world_size):
    seen = []
    dataset = TargetsDataset(labelled, targets)
    for rank in range(world_size):
        sampler = DistributedSampler(dataset, world_size, rank, seed=3, drop_last=False)
        for batch in DataLoader(dataset, batch_size=4, sampler=sampler):
            seen += of_batch(batch)
    assert len(seen) == math.ceil(40 / world_size) * world_size
    assert set(seen) == set(range(40))


def test_a_subset_and_a_concatenation_bring_their_rows(targets, labelled, of_batch):
    dataset = TargetsDataset(labelled, targets)
    some = Subset(dataset, [5, 3, 30])
    both = ConcatDataset([some, TargetsDataset(labelled.subset(torch.tensor([8, 5])), targets)])
    (batch,) = DataLoader(some, batch_size=3)
    assert of_batch(batch) == [5, 3, 30]
    (batch,) = DataLoader(both, batch_size=5, collate_fn=collate)
    assert of_batch(batch) == [5, 3, 30, 8, 5]


def test_a_list_of_places_is_a_batch_and_one_place_an_item(targets, labelled, of_batch):
    dataset = TargetsDataset(labelled, targets)
    assert of_batch(dataset[[4, 2, -1]]) == [4, 2, 39]
    assert of_batch(collate([dataset[4], dataset[torch.tensor(2)]])) == [4, 2]
    sampler = BatchSampler(range(0, 40, 3), batch_size=5, drop_last=False)
    whole = DataLoader(dataset, sampler=sampler, batch_size=None)
    assert [each for batch in whole for each in of_batch(batch)] == list(range(0, 40, 3))
    assert len(dataset) == len(list(dataset)) == 40
    for beyond in (40, -41, [0, 40]):
        with pytest.raises(IndexError, match=r"expected places among 40 samples, got -?4"):
            dataset[beyond]


def test_a_batch_takes_one_look_up(targets, labelled, monkeypatch):
    dataset = TargetsDataset(labelled, targets)
    looked = []
    read = dataset._aligned._read
    monkeypatch.setattr(dataset._aligned, "_read", lambda at: looked.append(len(at)) or read(at))
    for collation in (None, collate):
        looked.clear()
        assert len(list(DataLoader(dataset, batch_size=16, collate_fn=collation))) == 3
        assert looked == [16, 16, 8]


@pytest.mark.parametrize("workers", [0, 2])
def test_an_epoch_goes_on_in_its_midst_with_the_same_batches(targets, labelled, workers):
    def epoch():
        order = torch.Generator().manual_seed(7)
        dataset = TargetsDataset(labelled, targets)
        return DataLoader(dataset, 6, shuffle=True, generator=order, num_workers=workers)

    whole = list(epoch())
    for done in (1, 4, 6):
        rest = list(skip_first_batches(epoch(), done))
        assert len(rest) == len(whole) - done
        for batch, same in zip(rest, whole[done:], strict=True):
            assert all(batch[name].equal(part) for name, part in same.items())


def _first_batch(dataset, queue):
    queue.put({name: part.tolist() for name, part in dataset[[3, 1]].items()})


@pytest.mark.parametrize("reading", READINGS)
def test_a_process_that_is_spawned_opens_the_transfer_set_itself(targets, labelled, reading):
    dataset = TargetsDataset(labelled, TransferSet(targets.folder, reading=reading))
    expected = {name: part.tolist() for name, part in dataset[[3, 1]].items()}
    spawn = multiprocessing.get_context("spawn")
    queue = spawn.Queue()
    process = spawn.Process(target=_first_batch, args=(dataset, queue))
    process.start()
    assert queue.get(timeout=120) == expected
    process.join()


def sent(value):
    """How many bytes go to another process, and what arrives there."""
    from multiprocessing.reduction import ForkingPickler

    parcel = ForkingPickler.dumps(value)
    return len(parcel), ForkingPickler.loads(io.BytesIO(parcel).getvalue())


def test_what_is_sent_of_a_transfer_set_is_where_it_lies(targets, samples):
    targets.read(torch.arange(40))
    size, again = sent(targets)
    assert size < 500
    assert again.fingerprint == targets.fingerprint
    both = Ensemble([targets, targets])
    rows = sent(both)[1].read(torch.arange(40))["label"]
    expected = both.read(torch.arange(40))["label"]
    parts = [(vars(rows)[name], part) for name, part in vars(expected).items()]
    assert all(one.equal(two) for one, two in parts if isinstance(two, torch.Tensor))


def test_a_transfer_set_that_was_replaced_is_not_sent(stored, make, samples):
    import shutil

    function, (_, reading, fingerprint) = TransferSet(stored).__reduce__()
    shutil.rmtree(stored)
    capture(Teacher(make.asked(lambda x: -make.logits(x)), [make.label]), samples, stored)
    with pytest.raises(TargetsError, match=r"was replaced while it was read: expected \w{16}"):
        function(stored, reading, fingerprint)


def test_labels_that_may_not_be_used_are_hidden(targets, labelled):
    shown = torch.arange(40) < 10
    dataset = TargetsDataset(labelled.with_labels_of(shown), targets)
    assert dataset[torch.arange(40)]["labels"].tolist() == [
        *(n % 5 for n in range(10)),
        *[-100] * 30,
    ]
    numbers = ArraySamples(labelled.inputs, {"label": torch.ones(40, 2)}, labelled=shown)
    hidden = TargetsDataset(numbers, targets)[torch.arange(40)]["labels"]
    assert hidden[:10].equal(torch.ones(10, 2))
    assert hidden[10:].isnan().all()


@pytest.fixture
def tokens(make, tmp_path):
    """Samples of keyword arguments, two heads, three rows each, of which some do not count."""
    heads = [Head(name=name, space="categorical", size=4) for name in ("one", "two")]
    inputs = {"input_ids": torch.arange(24).reshape(8, 3), "extra": torch.rand(8, 2)}
    labels = {name: torch.full((8, 3), k) for k, name in enumerate(("one", "two"))}
    samples = ArraySamples(inputs, labels, mask=torch.arange(24).reshape(8, 3) % 3 > 0)

    def answer(input_ids, extra):
        logits = input_ids[..., None] * torch.ones(4).numpy()
        return {"one": logits, "two": -logits}

    return samples, capture(Teacher(answer, heads), samples, tmp_path / "tokens")


def test_keyword_arguments_heads_and_masks_go_along(tokens):
    samples, targets = tokens
    batch = TargetsDataset(samples, targets)[[2, 5]]
    inputs, taught = split_batch(batch, targets)
    assert inputs.keys() == {"input_ids", "extra", "labels_one", "labels_two", "mask"}
    assert inputs["input_ids"].tolist() == [[6, 7, 8], [15, 16, 17]]
    assert inputs["labels_one"].tolist() == [[-100, 0, 0]] * 2
    assert inputs["mask"].tolist() == [[False, True, True]] * 2
    assert taught.keys() == {"one", "two"}
    assert taught["one"].values.shape == (2, 3, 4)
    assert taught["one"].temperature == 4.0


def test_a_torch_dataset_and_a_pair_of_arrays_are_samples_too(targets, labelled, of_batch):
    pair = (labelled.inputs, labelled.labels["label"])
    assert of_batch(TargetsDataset(pair, targets)[[6, 1]]) == [6, 1]
    assert of_batch(TargetsDataset(TensorDataset(*pair), targets)[[6, 1]]) == [6, 1]


def test_a_view_has_its_own_inputs_and_rows(teacher, samples, tmp_path):
    moved = samples.with_views(Views(shift=1))
    targets = capture(teacher, moved, tmp_path, views=2)
    batch = TargetsDataset(moved, targets, view=1)[[3, 9]]
    index = torch.tensor([3, 9])
    assert batch["inputs"].equal(moved.fetch(index, 1).inputs)
    rows = targets.aligned(moved).rows(index, 1)["label"].values.float()
    assert batch["teacher_label_values"].equal(rows)
    with pytest.raises(TargetsError, match="views: expected 3, got 2"):
        TargetsDataset(moved, targets, view=2)
    with pytest.raises(TargetsError, match="transform: expected"):
        TargetsDataset(samples, targets)


def test_a_batch_without_rows_says_how_they_get_there(targets):
    with pytest.raises(TargetsError, match=r"teacher_label_\w+, got inputs.*remove_unused_columns"):
        split_batch({"inputs": torch.zeros(2)}, targets)


class _Ragged:
    """Rows of which each names as many classes as its position says."""

    heads = (Head(space="categorical", size=9),)

    @property
    def like(self):
        return self.read(torch.tensor([1]))

    def read(self, positions):
        longest = int(positions.max())
        ids = torch.arange(longest).expand(len(positions), -1)
        named = (ids < positions[:, None]).float() / 10
        shape = torch.arange(9.0)
        rows = Sparse(ids=ids, probabilities=named, tail=1 - named.sum(-1), tail_shape=shape)
        return {"label": rows, "place": Dense(values=positions[:, None].float())}


def test_sparse_rows_that_differ_in_length_are_padded_with_nothing():
    from limbeck.targets.reading._batch import as_tensors

    items = []
    for length in (2, 4, 0):
        parts = as_tensors(_Ragged().read(torch.tensor([length])))
        items.append({name: part[0] for name, part in parts.items()})
    batch = collate(items)
    rows = split_batch(batch, _Ragged())[1]["label"]
    assert rows.ids.shape == rows.probabilities.shape == (3, 4)
    assert (rows.probabilities > 0).sum(-1).tolist() == [2, 4, 0]
    torch.testing.assert_close(rows.tail, torch.tensor([0.8, 0.6, 1.0]))
    assert rows.tail_shape.equal(torch.arange(9.0))
    assert batch["teacher_place_values"].tolist() == [[2.0], [4.0], [0.0]]


def test_rows_of_a_batch_move_to_another_temperature_like_those_of_the_set(
    teacher, samples, tmp_path
):
    options = {"tau": 0.2, "temperatures": [2.0]}
    targets = capture(
        teacher, samples, tmp_path, temperature=1.0, codec="threshold", codec_options=options
    )
    expected = targets.aligned(samples).rows(torch.arange(40))["label"].moved(2.0)
    logits = torch.randn(40, 5)
    dataset = TargetsDataset(samples, targets)
    for batch in DataLoader(dataset, batch_size=8, collate_fn=lambda items: collate(list(items))):
        index = (batch["inputs"][:, None] == samples.inputs).flatten(2).all(-1).float().argmax(1)
        rows = split_batch(batch, targets)[1]["label"].moved(2.0)
        torch.testing.assert_close(
            sparse_soft_targets(logits[index], rows),
            sparse_soft_targets(logits[index], expected.select(index)),
        )


def test_rows_are_where_the_batch_was_moved_to():
    from limbeck.targets.reading._batch import as_tensors

    moved = as_tensors(_Ragged().read(torch.tensor([2, 4])))
    rows = split_batch({name: part.to("meta") for name, part in moved.items()}, _Ragged())[1]
    parts = [part for part in vars(rows["label"]).values() if isinstance(part, torch.Tensor)]
    assert [part.device.type for part in parts] == ["meta"] * 4
