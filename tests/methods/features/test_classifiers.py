"""What answers from a module's features is found; SRRL, CAT-KD and SimKD, which need that."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from limbeck._errors import ModelError, OptionError, ShapeError
from limbeck.methods._methods import read_options
from limbeck.methods.features import FEATURE_METHODS, feature_term, features_of
from limbeck.methods.features._classifiers import classifiers_of
from limbeck.methods.features._method import Pair
from limbeck.teachers import Teacher
from tests.methods.features.problem import (
    IMAGES,
    LABEL,
    LAST,
    VECTORS,
    Maps,
    batch_for,
    images,
    made,
    student,
    teacher,
    term_of,
    values,
)


class Everywhere(nn.Module):
    """Classifies each position and averages that."""

    def __init__(self, width):
        super().__init__()
        self.first = nn.Conv2d(1, width, 3, padding=1)
        self.head = nn.Conv2d(width, 3, 1)

    def forward(self, x):
        return self.head(self.first(x).tanh()).mean((2, 3))


class Twice(nn.Module):
    """Two heads read the same features."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(1, 4, 3)
        self.one, self.other = nn.Linear(4, 3), nn.Linear(4, 2)

    def forward(self, x):
        pooled = self.first(x).mean((2, 3))
        return {"one": self.one(pooled), "other": self.other(pooled)}


def found(model, *paths):
    return classifiers_of(model, paths, IMAGES[:4], who="the student")


def test_the_layer_that_answers_from_a_map_or_its_mean_is_found():
    who = made(Maps, 4, 4)  # by its width alone the head might read `first` and `second` too
    assert found(who, "first", "second", "last", "pooled") == {"last": who.head, "pooled": who.head}
    assert who.training


def test_a_map_whose_mean_is_the_answer_needs_none():
    (classifier,) = found(Everywhere(4), "head").values()
    assert isinstance(classifier, nn.Identity)
    assert not found(Everywhere(4), "first")


def test_it_is_found_in_half_precision():
    who = student().bfloat16()
    assert classifiers_of(who, ["last"], IMAGES[:4].bfloat16(), who="it") == {"last": who.head}


def test_two_that_answer_from_one_module_are_refused():
    with pytest.raises(ModelError, match="one and other of the student both answer from what its"):
        found(Twice(), "first")


@pytest.mark.parametrize(
    ("name", "taps", "said"),
    [
        ("srrl", [("last", "second")], "the teacher answers, and .* its module 'second' gives"),
        ("catkd", [("second", "last")], "the student answers, and .* its module 'second' gives"),
        ("catkd", [("last", "first")], "the teacher answers, and .* its module 'first' gives"),
    ],
)
def test_a_tap_that_no_layer_answers_from_is_refused_by_name(name, taps, said):
    with pytest.raises(ModelError, match=said):
        term_of(name, student(), teacher(), taps=taps)


@pytest.mark.parametrize("name", ["srrl", "catkd"])
def test_stored_features_without_the_teacher_are_refused(name):
    who, whose, batch = student(), teacher(), images(range(4))
    given = [read_options(name, {}), LAST, who, batch, features_of(whose, batch.inputs, ["last"])]
    how = {"weight": None, "num_samples": 40, "seed": 0}
    feature_term(FEATURE_METHODS[name], *given, teacher=whose, **how)
    with pytest.raises(
        ModelError, match=r"stored features do not hold it. Give the teacher itself"
    ):
        feature_term(FEATURE_METHODS[name], *given, teacher=None, **how)


# ---- SRRL ---------------------------------------------------------------------------------------


def pooled(who, index=range(6)):
    """What `pooled` gives, found without a tap."""
    return last(who, index).mean((2, 3))


def last(who, index=range(6)):
    model = getattr(who, "model", who)
    first = model.first(batch_for(who, index).inputs)
    return model.second(F.avg_pool2d(first.tanh(), 2)).tanh()


@pytest.mark.parametrize("taps", [LAST, VECTORS, [("last", "pooled")]])
def test_srrl_reads_both_sides_with_the_teachers_last_layer(taps):
    who, whose = student(), teacher()
    weights = {"features_weight": 0.5, "logits_weight": 3.0}
    term = term_of("srrl", who, whose, taps=taps, **weights)
    (part,) = term.module.parts
    gap = pooled(who) @ part.connector.weight.T + part.connector.bias - pooled(whose)
    logits = torch.stack([(gap * row).sum(1) for row in whose.model.head.weight], dim=1)
    want = 0.5 * gap.square().sum(1) / 6 + 3.0 * logits.square().sum(1) / 3
    torch.testing.assert_close(values(term, who, whose, batch_for(who, range(6))), want)


def test_srrl_keeps_a_copy_of_the_last_layer_that_does_not_learn():
    whose = teacher()
    (part,) = term_of("srrl", student(), whose).module.parts
    assert "teacher_weight" in dict(part.named_buffers())
    assert part.teacher_weight is not whose.model.head.weight
    assert part.teacher_weight.data_ptr() != whose.model.head.weight.data_ptr()


def test_srrl_of_class_maps_compares_them_as_they_are():
    whose = Teacher(made(Everywhere, 5), [LABEL])
    (part,) = term_of("srrl", student(), whose, taps=[("last", "head")]).module.parts
    assert torch.equal(part.teacher_weight, torch.eye(3))


def test_srrl_without_a_weight_is_refused():
    with pytest.raises(OptionError, match="features_weight or logits_weight must be above 0"):
        read_options("srrl", {"features_weight": 0.0, "logits_weight": 0.0})


# ---- CAT-KD -------------------------------------------------------------------------------------


def class_maps(who):
    model = getattr(who, "model", who)
    maps = torch.einsum("kc,nchw->nkhw", model.head.weight, last(who))
    return maps + model.head.bias[:, None, None]


def test_catkd_compares_class_maps_that_the_last_layers_give():
    who, whose = student(), teacher()
    ours, theirs = class_maps(who), class_maps(whose)
    torch.testing.assert_close(ours.mean((2, 3)), who(IMAGES[:6]))
    for resolution in (1, 3):
        term = term_of("catkd", who, whose, resolution=resolution)
        gap = ours - theirs if resolution == 3 else (ours - theirs).mean((2, 3), keepdim=True)
        want = gap.square().mean((1, 2, 3))
        torch.testing.assert_close(values(term, who, whose, batch_for(who, range(6))), want)


def test_catkd_teaches_the_students_own_last_layer_and_no_copy_of_it():
    who, whose = student(), teacher()
    term = term_of("catkd", who, whose)
    assert not list(term.module.parameters())
    values(term, who, whose, batch_for(who, range(6))).sum().backward()
    assert who.head.weight.grad.any()
    assert who.head.bias.grad.any()
    before = values(term, who, whose, batch_for(who, range(6)))
    with torch.no_grad():
        who.head.weight.mul_(2)
    assert not torch.equal(values(term, who, whose, batch_for(who, range(6))), before)


def test_catkd_takes_class_maps_as_they_are():
    who, whose = made(Everywhere, 4), Teacher(made(Everywhere, 5, seed=9), [LABEL])
    term = term_of("catkd", who, whose, taps=[("head", "head")], batch=images(range(4)))
    ours, theirs = (model.head(model.first(IMAGES[:6]).tanh()) for model in (who, whose.model))
    want = F.avg_pool2d(ours - theirs, 3).square().mean((1, 2, 3))
    torch.testing.assert_close(values(term, who, whose, images(range(6))), want)


# ---- SimKD --------------------------------------------------------------------------------------


def test_simkd_is_hints_without_a_projection_beside_the_student():
    who, whose = made(Maps, 5, 6), teacher()
    term = term_of("simkd", who, whose, taps=LAST)
    assert not list(term.module.parameters())
    want = (last(who) - last(whose)).square().mean((1, 2, 3))
    torch.testing.assert_close(values(term, who, whose, batch_for(who, range(6))), want)


def test_simkd_is_refused_a_student_of_another_width():
    pair = Pair(student=(4, 3, 3), teacher=(6, 3, 3), num_samples=9)
    with pytest.raises(ShapeError, match="the student's tap gives 4 channels, the teacher's 6"):
        FEATURE_METHODS["simkd"].make([pair])
    tokens = Pair(student=(7, 6), teacher=(5, 6), num_samples=9)
    FEATURE_METHODS["simkd"].make([tokens])


def test_equal_features_give_the_teachers_answers():
    who, whose = made(Maps, 5, 6), teacher()
    who.load_state_dict(whose.model.state_dict())
    term = term_of("simkd", who, whose, taps=LAST)
    assert not values(term, who, whose, batch_for(who, range(6))).any()
    torch.testing.assert_close(who(IMAGES[:6]), whose.logits(IMAGES[:6])["label"])
