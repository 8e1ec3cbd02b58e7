"""The competitors written anew take the bytes that are said of them, and read what they wrote."""

import numpy as np
import pytest
import torch

from bench._competitors import (
    COMPETITORS,
    FKD,
    Dense16,
    DistillKit,
    MaxText,
    Megatron,
    RandomSampling,
    TinyViT,
    raw_bytes,
    zstd_bytes,
)
from bench._fidelity import Fidelity, densify
from limbeck.signals import Sparse


def some_rows(rows: int, classes: int, seed: int = 0) -> np.ndarray:
    """Peaked distributions, float32."""
    logits = 2.5 * np.random.default_rng(seed).standard_normal((rows, classes))
    p = np.exp(logits - logits.max(axis=1, keepdims=True))
    return (p / p.sum(axis=1, keepdims=True)).astype(np.float32)


def rng() -> np.random.Generator:
    return np.random.default_rng(1)


@pytest.mark.parametrize(
    ("competitor", "classes", "wanted"),
    [
        (Dense16(), 1000, 2000),
        (FKD(), 1000, 40),
        (TinyViT(kept=10), 1000, 44),
        (TinyViT(kept=100), 32_768, 404),
        (TinyViT(kept=100), 151_936, 604),
        (DistillKit(), 32_768, 296),
        (DistillKit(), 65_536, 312),
        (DistillKit(), 131_072, 328),
        (DistillKit(), 151_936, 344),
        (DistillKit(kept=50, exact=1, degree=1), 32_768, 108),
        (DistillKit(kept=50, exact=1, degree=1), 65_536, 114),
        (DistillKit(kept=50, exact=1, degree=1), 151_936, 127),
        (Megatron(kept=128), 32_768, 640),
    ],
)
def test_a_row_takes_the_bytes_that_the_description_counts(competitor, classes, wanted) -> None:
    assert raw_bytes(competitor.encode(some_rows(3, classes), rng())) == 3 * wanted


def test_maxtext_writes_an_id_as_a_varint() -> None:
    rows = np.full((1, 40_000), 1e-9, np.float32)
    rows[0, [5, 300, 39_000]] = (0.5, 0.3, 0.2)
    columns = MaxText(kept=3).encode(rows, rng())
    # 39,000 = 0b10_0110000_1011000 in three groups of seven, the low one first.
    assert columns["ids"].tolist() == [5, 0x80 | 44, 2, 0x80 | 0b1011000, 0x80 | 0b0110000, 0b10]
    assert raw_bytes(columns) == 3 * 4 + 1 + 2 + 3


def test_rs_kd_takes_three_bytes_for_each_class_drawn_and_one_for_each_row() -> None:
    sampling = RandomSampling(draws=16)
    columns = sampling.encode(some_rows(50, 1000), rng())
    kept = int((sampling.decode(columns, 1000).probabilities > 0).sum())
    assert raw_bytes(columns) == 3 * kept + 50


def test_rs_kd_is_right_on_average() -> None:
    p = some_rows(2, 20, seed=3)
    trials, draws = 4000, 16
    many = np.repeat(p, trials, axis=0)
    sampling = RandomSampling(draws=draws)
    read = densify(sampling.decode(sampling.encode(many, rng()), 20), 20)
    mean = read.view(2, trials, 20).mean(dim=1).numpy()
    deviation = np.sqrt(p * (1 - p) / draws / trials)
    assert (np.abs(mean - p) <= 4 * deviation).all()


def test_rs_kd_keeps_counts_that_do_not_fit_one_entry() -> None:
    classes = 151_936  # 18 bits for the id leave 6: up to 64
    p = np.zeros((2, classes), np.float32)
    p[0, 150_000] = 1.0
    p[1, [7, 9]] = (0.5, 0.5)
    sampling = RandomSampling(draws=200)
    columns = sampling.encode(p, rng())
    read = densify(sampling.decode(columns, classes), classes)
    assert read[0, 150_000] == pytest.approx(1.0)
    assert read.sum(dim=-1).tolist() == pytest.approx([1.0, 1.0])
    assert columns["lengths"][0] == 4  # 64 + 64 + 64 + 8


@pytest.mark.parametrize("competitor", COMPETITORS, ids=lambda each: each.name)
@pytest.mark.parametrize("classes", [300, 131_073])
def test_the_largest_entries_come_back(competitor, classes) -> None:
    p = some_rows(4, classes)
    p[:, -1] = 0.6  # an id that needs every bit
    p /= p.sum(axis=1, keepdims=True)
    read = densify(competitor.decode(competitor.encode(p, rng()), classes), classes)
    assert read.argmax(dim=-1).tolist() == [classes - 1] * 4
    assert read.sum(dim=-1).tolist() == pytest.approx([1.0] * 4, abs=2e-3)


@pytest.mark.parametrize(
    ("competitor", "kept"),
    [
        (FKD(), 5),
        (TinyViT(kept=10), 10),
        (Megatron(kept=20), 20),
        (MaxText(kept=20), 20),
        (DistillKit(kept=20, exact=20, degree=0), 20),
    ],
    ids=lambda each: str(getattr(each, "name", each)),
)
def test_what_is_kept_exactly_agrees_with_a_plain_reading(competitor, kept) -> None:
    p = some_rows(5, 200)
    read = densify(competitor.decode(competitor.encode(p, rng()), 200), 200).numpy()
    for row, got in zip(p.astype(np.float64), read, strict=True):
        top = np.argsort(-row)[:kept]
        if competitor.name.startswith(("FKD", "TinyViT")):
            plain = np.full(200, (1 - row[top].sum()) / (200 - kept))
            plain[top] = row[top]
        else:
            plain = np.zeros(200)
            plain[top] = row[top] / row[top].sum()
        np.testing.assert_allclose(got, plain, rtol=0.03, atol=2e-5)


def test_distillkits_curve_gives_back_what_lies_on_it() -> None:
    rank = np.arange(64) / 63
    logs = -1.0 - 3 * rank - 4 * np.sqrt(rank)
    p = np.zeros((1, 500))
    p[0, 100:164] = np.exp(logs) / np.exp(logs).sum() * 0.9
    p[0, 164:] = 0.1 / 336 * 1e-3
    kit = DistillKit(kept=64, exact=1, degree=1, uniform=True)
    read = densify(kit.decode(kit.encode(p.astype(np.float32), rng()), 500), 500).numpy()
    np.testing.assert_allclose(read[0, 101:164], p[0, 101:164], rtol=1e-3)


def test_tinyvit_shows_negative_probabilities_where_rounding_sums_to_more_than_one() -> None:
    p = np.zeros((1, 100), np.float32)
    p[0, :10] = np.float32(0.1)  # fp16 has no 0.1: 10 times its neighbour is 0.99976
    p[0, 0] = 0.1004  # rounds up by more than the others lose
    competitor = TinyViT(kept=10)
    tail = 1 - p[0, :10].astype(np.float16).astype(np.float64).sum()
    assert tail < 0
    read = densify(competitor.decode(competitor.encode(p, rng()), 100), 100)
    assert read[0, 50] == pytest.approx(tail / 90)


def test_zstd_never_takes_much_more_than_the_bytes_as_they_are() -> None:
    columns = Megatron(kept=20).encode(some_rows(200, 300), rng())
    assert zstd_bytes(columns) < raw_bytes(columns)


def test_fidelity_agrees_with_a_plain_reference() -> None:
    p, t = some_rows(6, 30, seed=1).astype(np.float64), some_rows(6, 30, seed=2).astype(np.float64)
    fidelity = Fidelity()
    for part in (slice(0, 4), slice(4, 6)):
        rows = Sparse(
            ids=torch.arange(30).expand(len(p[part]), 30),
            probabilities=torch.from_numpy(t[part]),
            tail=torch.zeros(len(p[part])),
        )
        fidelity.add(p[part], rows)
    p /= p.sum(axis=1, keepdims=True)
    assert fidelity.rows == 6
    assert fidelity.means == pytest.approx(
        {
            "kl": (p * np.log(p / t)).sum(axis=1).mean(),
            "finite_kl": (p * np.log(p / t)).sum(axis=1).mean(),
            "squared_error": ((t - p) ** 2).sum(axis=1).mean(),
            "l1": np.abs(t - p).sum(axis=1).mean(),
            "agreement": (t.argmax(axis=1) == p.argmax(axis=1)).mean(),
            "infinite_kl": 0.0,
        }
    )


def test_kl_is_infinite_where_the_decoded_row_leaves_mass_out() -> None:
    fidelity = Fidelity()
    p = some_rows(4, 30)
    fidelity.add(p[:1], FKD().decode(FKD().encode(p[:1], rng()), 30))
    alone = fidelity.means["kl"]
    fidelity.add(p[1:], Megatron(kept=5).decode(Megatron(kept=5).encode(p[1:], rng()), 30))
    assert fidelity.means["kl"] == float("inf")
    assert fidelity.means["infinite_kl"] == 0.75
    assert fidelity.means["finite_kl"] == alone < float("inf")


def test_a_tail_goes_by_its_shape_to_the_classes_that_are_not_named() -> None:
    rows = Sparse(
        ids=torch.tensor([[2, 0]]),
        probabilities=torch.tensor([[0.7, 0.0]]),  # a probability of 0 names nothing
        tail=torch.tensor([0.3]),
        tail_shape=torch.log(torch.tensor([2.0, 1.0, 5.0])),
    )
    assert densify(rows, 3)[0].tolist() == pytest.approx([0.2, 0.1, 0.7])
