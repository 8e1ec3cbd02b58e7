import threading
import time

import numpy as np
import pytest
import torch

import limbeck.targets.encoding._encoder as encoding
from limbeck._errors import ModelError
from limbeck.signals import Head
from limbeck.targets.codecs import Threshold
from limbeck.targets.codecs._compiled import compiled
from limbeck.targets.encoding._encoder import Encoder, row_seeds
from limbeck.targets.format._manifest import HeadRecord, Settings, TeacherRecord
from tests.conftest import missing

SIZE, COUNT = 6, 44
HEADS = [Head(name=name, space="categorical", size=SIZE) for name in ("one", "other")]
CODEC = Threshold(tau=0.1)


def test_every_row_view_head_and_sample_has_a_chance_of_its_own():
    keys = np.random.default_rng(1).integers(1 << 63, size=50, dtype=np.uint64)
    seeds = [row_seeds(keys, view, 6, head) for view in range(4) for head in range(3)]
    assert len(np.unique(np.concatenate(seeds))) == 50 * 6 * 4 * 3


def test_a_rows_chance_is_the_same_in_any_company():
    keys = np.random.default_rng(0).integers(1 << 63, size=20, dtype=np.uint64)
    together = row_seeds(keys, 2, 5, 1).reshape(20, 5)
    for place in (0, 7, 19):
        assert (row_seeds(keys[place : place + 1], 2, 5, 1) == together[place]).all()


@pytest.fixture
def keys():
    return np.random.default_rng(0).integers(1 << 63, size=COUNT, dtype=np.uint64)


@pytest.fixture
def answers():
    """Of two rows a sample, by head."""
    drawn = torch.Generator().manual_seed(0)
    return {head.name: torch.randn(COUNT, 2, SIZE, generator=drawn) for head in HEADS}


@pytest.fixture
def make_encoder(answers, monkeypatch):
    """An encoder of ten samples at a time, after its codec has learned."""

    def make():
        monkeypatch.setattr(encoding, "entries_at_once", lambda device: 10 * 2 * 2 * SIZE)
        settings = Settings(
            teacher=TeacherRecord(fingerprint="0" * 16, name=""),
            data="0" * 16,
            transform="",
            views=3,
            heads=tuple(HeadRecord.of(head) for head in HEADS),
            compress="softmax",
            temperature=1.0,
            codec=CODEC.name,
            codec_options=CODEC.options,
            state="0" * 16,
        )
        states = {
            head.name: CODEC.fit([answers[head.name].flatten(0, 1).log_softmax(-1)], head)
            for head in HEADS
        }
        return Encoder(settings, {"one": 2, "other": 2}, states, samples=COUNT)

    return make


def mixed(number):
    """splitmix64, by whole numbers without an end."""
    number = (number + 0x9E3779B97F4A7C15) % 2**64
    number = (number ^ (number >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
    number = (number ^ (number >> 27)) * 0x94D049BB133111EB % 2**64
    return number ^ (number >> 31)


@pytest.mark.parametrize("view", [0, 2])
def test_the_codec_draws_by_the_seeds_that_the_format_states(
    keys, answers, make_encoder, monkeypatch, view
):
    given, encode = {"one": [], "other": []}, Threshold.encode

    def listen(self, values, head, state, seeds):
        given[head.name] += seeds.tolist()
        return encode(self, values, head, state, seeds)

    encoder = make_encoder()
    monkeypatch.setattr(Threshold, "encode", listen)
    list(encoder.encode(keys, view, answers))
    for number, head in enumerate(HEADS):
        assert given[head.name] == [
            mixed(mixed(key) ^ mixed(row + number * 2**32 + view * 2**40))
            for key in keys.tolist()
            for row in range(2)
        ]


def test_no_piece_holds_more_rows_than_a_block(keys, answers, make_encoder, monkeypatch):
    monkeypatch.setattr(encoding, "BLOCK_ROWS", 24)  # of six samples, of two rows in each head
    pieces = [columns["key"] for columns, _ in make_encoder().encode(keys, 0, answers)]
    assert [len(piece) for piece in pieces] == [6, 6, 6, 6, 6, 6, 6, 2]
    assert np.concatenate(pieces).tolist() == keys.tolist()


@pytest.fixture
def in_threads():
    """Compiled loops take pieces in three threads."""
    if compiled() is None:
        missing("numba is not installed")
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(1)


@pytest.fixture
def slow_at_first(keys, monkeypatch):
    """The first piece takes longer than the others; where each was encoded."""
    encode, threads = Encoder._encode_piece, []

    def slow(self, some, view, answers):
        threads.append(threading.current_thread())
        if some[0] == keys[0]:
            time.sleep(0.1)
        return encode(self, some, view, answers)

    monkeypatch.setattr(Encoder, "_encode_piece", slow)
    return threads


def test_threads_give_what_one_gives_all_of_it_and_in_order(
    keys, answers, make_encoder, slow_at_first, in_threads
):
    together = list(make_encoder().encode(keys, 1, answers))
    assert threading.main_thread() not in slow_at_first
    torch.set_num_threads(1)
    alone = list(make_encoder().encode(keys, 1, answers))
    assert threading.main_thread() in slow_at_first
    assert np.concatenate([columns["key"] for columns, _ in together]).tolist() == keys.tolist()
    assert [len(columns["key"]) for columns, _ in together] == [9, 9, 9, 9, 8]
    assert len(together) == len(alone)
    for (one, measured), (other, measured_alone) in zip(together, alone, strict=True):
        assert measured == measured_alone
        assert one.keys() == other.keys()
        for name in one:
            assert one[name].tolist() == other[name].tolist()


@pytest.mark.parametrize("piece", [0, 2, 4])
def test_what_goes_wrong_in_a_thread_is_raised_after_what_went_well_before(
    keys, answers, make_encoder, monkeypatch, in_threads, piece
):
    encode, found = Encoder._encode_piece, []

    def fails(self, some, view, answers):
        if some[0] == keys[9 * piece]:
            raise ModelError("it says nothing")
        return encode(self, some, view, answers)

    monkeypatch.setattr(Encoder, "_encode_piece", fails)
    pieces = make_encoder().encode(keys, 0, answers)
    with pytest.raises(ModelError, match="it says nothing"):
        found.extend(pieces)
    assert len(found) == piece
