"""`limbeck layers` lists what can be tapped, and proposes what is alike."""

import pytest
import torch
from torch import nn

from limbeck._errors import LimbeckError
from limbeck.data import ArraySamples
from limbeck.losses.features import linear_cka_distance
from limbeck.methods import check_features, taps_of
from limbeck.pipeline import find_layers
from limbeck.pipeline._begin import typical
from limbeck.pipeline._modules import layers_of
from limbeck.pipeline._pairs import MOST_PAIRS, propose
from limbeck.pipeline._run import run
from limbeck.signals import Batch
from limbeck.taps import tapped
from tests.pipeline.examples import small

IMAGES = torch.randn(30, 2, 8, 8, generator=torch.Generator().manual_seed(2))
BATCH = Batch(inputs=IMAGES, labels={}, index=torch.arange(30))


def stages(*channels, seed=0, inplace=False):
    torch.manual_seed(seed)
    layers, before = [], 2
    for width in channels:
        block = nn.Sequential(nn.Conv2d(before, width, 3, padding=1), nn.ReLU(inplace))
        layers += [block, nn.AvgPool2d(2)]
        before = width
    return nn.Sequential(*layers, nn.Flatten(), nn.LazyLinear(5))


def layers(model):
    model(IMAGES)
    return layers_of(model, BATCH, who="it")


def test_what_modules_are_measured_on_is_spread_evenly_over_the_samples():
    some, all_of_them = (typical(ArraySamples(torch.zeros(n, 1), {})).index for n in (1021, 5))
    assert some.tolist() == list(range(0, 1021, 4))
    assert all_of_them.tolist() == list(range(5))


def test_modules_are_listed_in_the_order_they_are_done_in_with_their_shapes():
    found = layers(stages(3, 4))
    assert [(layer.path, layer.shape) for layer in found] == [
        ("0.0", (3, 8, 8)),
        ("0", (3, 8, 8)),  # and its last part, 0.1, which gives the same
        ("1", (3, 4, 4)),
        ("2.0", (4, 4, 4)),
        ("2", (4, 4, 4)),
        ("3", (4, 2, 2)),
        ("4", (16,)),
    ]  # not 5, which is the answer
    assert [layer.parameters for layer in found[:3]] == [57, 57, 0]
    assert [layer.depth for layer in (found[0], found[3], found[-1])] == [0.0, 0.5, 1.0]


def test_what_is_changed_in_place_is_no_module_to_tap():
    model = stages(3, inplace=True)
    found = layers(model)
    assert "0.0" not in [layer.path for layer in found]
    for layer in found:
        with tapped(model, [layer.path], who="it"):
            model(IMAGES)


def test_alignment_is_one_less_the_distance_of_the_loss():
    ours, theirs = stages(3, 4), stages(5, 6, seed=1)
    (pair, *_) = propose(layers(ours), layers(theirs))
    with torch.no_grad():
        given = [nn.functional.adaptive_avg_pool2d(model[0](IMAGES), 4) for model in (ours, theirs)]
    assert (pair.student.path, pair.teacher.path) == ("0", "0")
    assert pair.alignment == pytest.approx(1 - float(linear_cka_distance(*given)[0]), abs=1e-5)


def test_a_model_is_most_like_itself():
    found = layers(stages(3, 4, 5))
    for pair in propose(found, found):
        assert pair.student.path == pair.teacher.path
        assert pair.alignment == pytest.approx(1, abs=1e-5)


def test_pairs_are_of_one_kind_and_size_go_on_in_both_and_are_not_many():
    pairs = propose(layers(stages(3, 4, 5)), layers(stages(6, 6, 6, seed=1)))
    assert 2 <= len(pairs) <= MOST_PAIRS
    for side in ("student", "teacher"):
        depths = [getattr(pair, side).depth for pair in pairs]
        assert depths == sorted(set(depths))
    for pair in pairs:
        assert len(pair.student.shape) == len(pair.teacher.shape)
        if len(pair.student.shape) == 3:
            assert pair.student.shape[1:] == pair.teacher.shape[1:]


def test_what_learns_nothing_is_not_proposed_of_a_student():
    model = nn.Sequential(nn.AvgPool2d(2), *stages(3))
    assert "0" in [layer.path for layer in layers(model)]
    assert "0" not in [pair.student.path for pair in propose(layers(model), layers(model))]


def test_of_transformers_blocks_are_proposed():
    transformers = pytest.importorskip("transformers")
    ids = torch.randint(1, 9, (20, 6), generator=torch.Generator().manual_seed(1))
    batch = Batch(inputs={"input_ids": ids}, labels={}, index=torch.arange(20))
    sides = []
    for width, depth in ((8, 2), (12, 3)):
        torch.manual_seed(0)
        sizes = {"hidden_size": width, "num_hidden_layers": depth, "intermediate_size": 16}
        config = transformers.BertConfig(vocab_size=9, num_attention_heads=2, num_labels=3, **sizes)
        model = transformers.BertForSequenceClassification(config)
        sides.append(layers_of(model, batch, who="it"))
    blocks = [f"bert.encoder.layer.{place}" for place in range(3)]
    of_tokens = [pair for pair in propose(*sides) if len(pair.student.shape) == 2]
    assert [pair.student.path for pair in of_tokens] == blocks[:2]
    assert {pair.teacher.path for pair in of_tokens} < set(blocks)


def test_where_no_kind_agrees_nothing_is_proposed():
    vectors = nn.Sequential(nn.Flatten(), nn.Linear(128, 4), nn.ReLU(), nn.Linear(4, 2))
    maps = nn.Sequential(nn.Conv2d(2, 3, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1))
    assert propose(layers(vectors), layers(maps)) == []


def test_a_run_goes_on_from_it_and_lends_it_the_trained_control(tmp_path):
    recipe = small(tmp_path, "seeds=1", "distil.method=sp")  # whose taps are looked for
    out = tmp_path / "out"
    before = find_layers(recipe, out)
    assert before.trained == {"small": False}
    (pair,) = before.proposals["small"]
    tap = f'{{student = "{pair.student.path}", teacher = "{pair.teacher.path}"}}'
    made = (out / "teacher" / "teacher.safetensors").stat().st_mtime_ns
    chosen = small(tmp_path, "seeds=1", "distil.method=sp", f"distil.taps=[{tap}]")
    weight = {"hard_weight": 0.0, "soft_weight": 1.0, "feature_weight": None}
    check_features("sp", taps_of(chosen), **weight)
    run(chosen, out)
    assert (out / "teacher" / "teacher.safetensors").stat().st_mtime_ns == made
    after = find_layers(chosen, out)
    assert after.trained == {"small": True}
    (again,) = after.proposals["small"]
    assert again.alignment > pair.alignment


def test_a_recipe_that_has_all_but_its_taps_is_looked_into(tmp_path):
    for sets in (["targets.features=true"], ["distil.live=true", "train.views=true"]):
        recipe = small(tmp_path, "seeds=1", "distil.method=sp", *sets)
        found = find_layers(recipe, tmp_path / "out")
        assert found.proposals["small"]


def test_other_parts_of_the_recipe_must_fit(tmp_path):
    with pytest.raises(LimbeckError, match="no model is called"):
        find_layers(small(tmp_path, "students.small.model=mpl"), tmp_path / "out")
    assert not (tmp_path / "out").exists()
