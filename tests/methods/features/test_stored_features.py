"""What is inside a teacher goes into a transfer set and comes back in its shape."""

import pytest
import torch
from torch import nn

from limbeck._errors import ModelError, ShapeError
from limbeck.methods.features import features_of, inside, stored_features
from limbeck.signals import Dense
from limbeck.targets import capture
from limbeck.teachers import Teacher
from tests.methods.features.problem import (
    IDS,
    IMAGES,
    KEPT,
    LABEL,
    SAMPLES,
    Tokens,
    images,
    teacher,
    texts,
)

PATHS = ["second", "pooled", "first"]


def test_maps_have_a_row_for_each_position_and_vectors_one():
    within = inside(teacher(), IMAGES[:2], PATHS)
    assert [(head.name, head.space, head.size) for head in within.heads] == [
        ("tap:second 6x3x3", "real", 6),
        ("tap:pooled 6", "real", 6),
        ("tap:first 5x6x6", "real", 5),
    ]
    said = within.answer(IMAGES[:4])
    assert [tuple(rows.shape) for rows in said.values()] == [(4, 9, 6), (4, 6), (4, 36, 5)]
    live = features_of(teacher(), IMAGES[:4], ["first"])["tap:first"].values
    assert torch.equal(said["tap:first 5x6x6"][1, 7], live[1, :, 1, 1])


def test_tokens_have_a_row_each():
    within = inside(teacher(Tokens), texts(range(3)).inputs, ["first"])
    (said,) = within.answer({"input_ids": IDS[:3], "attention_mask": KEPT[:3].long()}).values()
    assert said.shape == (3, 5, 5)


@pytest.mark.parametrize(("codec", "error"), [("dense32", 0.0), ("real8", 0.02)])
def test_what_was_stored_is_what_the_teacher_gives(codec, error, tmp_path):
    whose = teacher()
    stored = capture(inside(whose, IMAGES[:2], PATHS), SAMPLES, tmp_path / "set", codec=codec)
    index = torch.tensor([7, 0, 31])
    found = stored_features(stored.aligned(SAMPLES).rows(index), PATHS)
    live = features_of(whose, images(index).inputs, PATHS)
    assert found.keys() == live.keys()
    for name, rows in live.items():
        assert found[name].values.shape == rows.values.shape
        spread = float(rows.values.max() - rows.values.min())
        assert float((found[name].values - rows.values).abs().max()) <= error * spread + 1e-6


def test_other_modules_and_weights_are_another_teacher():
    first, other, wiser = (
        inside(whose, IMAGES[:2], paths)
        for whose, paths in (
            (teacher(), ["first"]),
            (teacher(), ["second"]),
            (teacher(seed=8), ["first"]),
        )
    )
    assert first.heads != other.heads
    assert first.fingerprint != wiser.fingerprint


def test_a_name_is_read_from_its_end():
    rows = {"tap:a b 2x1x2": Dense(values=torch.arange(4.0).reshape(1, 2, 2))}
    found = stored_features(rows, ["a b"])["tap:a b"].values
    assert torch.equal(found, torch.tensor([[[[0.0, 2.0]], [[1.0, 3.0]]]]))


def test_what_is_no_features_is_refused():
    def table(images):
        return images

    with pytest.raises(ModelError, match="nothing inside it can be stored"):
        inside(Teacher(table, [LABEL]), IMAGES[:2], ["first"])
    deep = nn.Sequential(nn.Unflatten(1, (1, 1, 1)), nn.Flatten(), nn.Linear(36, 3))
    with pytest.raises(ShapeError, match=r"'0' gives .* neither maps, tokens nor vectors"):
        inside(Teacher(deep, [LABEL]), IMAGES[:2], ["0"])
