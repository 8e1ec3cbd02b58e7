"""Answers are as large as memory takes, whatever the batch."""

import numpy as np
import pytest
import torch

import limbeck.targets.asking._answers as asking
import limbeck.targets.asking._capture as capturing
from limbeck.data import ArraySamples
from limbeck.signals import Head
from limbeck.targets import capture
from limbeck.teachers import Teacher

SIZE, LENGTH, COUNT = 5, 6, 40


class Tagger:
    """Says `rows` rows of each text, and remembers about how many it was asked at once."""

    __qualname__ = "tagger"

    def __init__(self, rows=LENGTH):
        self.rows = rows
        self.asked = []

    def __call__(self, input_ids):
        self.asked.append(len(input_ids))
        ids = np.repeat(input_ids[:, :1], self.rows, axis=1).astype(np.float32)
        return np.sin(ids[..., None] * np.arange(1, SIZE + 1))


@pytest.fixture
def texts():
    """Ids without labels: nothing says how many rows a text has."""
    drawn = torch.Generator().manual_seed(0)
    return ArraySamples({"input_ids": torch.randint(0, 1000, (COUNT, LENGTH), generator=drawn)}, {})


@pytest.fixture
def room_for(monkeypatch):
    """Let the answers about so many texts be held at once."""

    def give(samples, rows=LENGTH):
        monkeypatch.setattr(asking, "AT_ONCE", samples * rows * SIZE)

    return give


def asked_at_once(tagger, texts, folder, codec="dense16"):
    teacher = Teacher(tagger, [Head(space="categorical", size=SIZE)])
    made = capture(teacher, texts, folder, codec=codec, batch_size=32)
    assert made.verify() == COUNT * tagger.rows
    return tagger.asked


@pytest.mark.parametrize("codec", ["dense16", "selected"])
@pytest.mark.parametrize("samples", [1, 3, 7])
def test_no_answer_is_larger_than_its_room(texts, tmp_path, room_for, samples, codec):
    room_for(samples)
    asked = asked_at_once(Tagger(), texts, tmp_path, codec)
    assert max(asked) <= samples
    assert sum(asked) == COUNT


def test_a_batch_is_asked_about_whole_where_there_is_room(texts, tmp_path, room_for):
    room_for(32)
    assert asked_at_once(Tagger(), texts, tmp_path) == [32, 8]


def test_what_has_more_numbers_than_there_is_room_for_is_asked_alone(texts, tmp_path, room_for):
    room_for(0.5)
    assert asked_at_once(Tagger(), texts, tmp_path) == [1] * COUNT


def test_the_first_answer_tells_how_large_the_others_will_be(texts, tmp_path, room_for):
    """More rows than an input has numbers are seen at once; of one row whole batches are asked."""
    room_for(4)
    assert asked_at_once(Tagger(4 * LENGTH), texts, tmp_path / "many")[:3] == [4, 1, 1]
    asked = asked_at_once(Tagger(1), texts, tmp_path / "one")
    assert (asked[0], max(asked)) == (4, 14)  # 32 in parts of 4, 14 and 14


@pytest.mark.parametrize(
    ("labels", "samples"), [(torch.zeros(COUNT), 12), (torch.zeros(COUNT, 4), 3)]
)
def test_processes_share_batches_of_what_the_labels_say_has_room(
    tmp_path, monkeypatch, labels, samples
):
    shared, ask_here = [], capturing.ENGINES["here"]

    def ask(work, place, batches, processes, progress):
        shared.extend(batches)
        ask_here(work, place, shared, processes, progress)

    monkeypatch.setitem(capturing.ENGINES, "here", ask)
    monkeypatch.setattr(capturing, "AT_ONCE", 12 * SIZE)
    said = ArraySamples(torch.arange(4.0 * COUNT).view(COUNT, 4), {"label": labels.long()})
    model = torch.nn.Linear(4, SIZE)
    if labels.dim() > 1:
        model = torch.nn.Sequential(torch.nn.Unflatten(1, (4, 1)), torch.nn.Linear(1, SIZE))
    capture(Teacher(model, [Head(space="categorical", size=SIZE)]), said, tmp_path)
    assert {len(index) for index, _ in shared[:-1]} == {samples}
