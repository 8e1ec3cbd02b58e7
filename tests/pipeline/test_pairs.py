"""Which modules are proposed to be compared, of models whose modules are made up."""

import math

import pytest
import torch

from limbeck.pipeline._modules import Layer
from limbeck.pipeline._pairs import propose

MAP, SMALL_MAP, TOKENS, VECTOR = (3, 8, 8), (3, 4, 4), (6, 5), (5,)


def layer(path, shape, depth, alike=1.0, *, is_block=False, learns=True):
    """A module whose alignment with one that is `alike` at 1 is `alike`."""
    return Layer(
        path=path,
        kind="Made",
        shape=shape,
        parameters=1,
        depth=depth,
        is_block=is_block,
        learns=learns,
        likeness=torch.tensor([alike, math.sqrt(1 - alike**2)]),
    )


def paths(student, teacher):
    return [(pair.student.path, pair.teacher.path) for pair in propose(student, teacher)]


@pytest.mark.parametrize(("alike", "chosen"), [(0.55, "far"), (0.45, "near")])
@pytest.mark.parametrize(("here", "there"), [(0.9, 0.1), (0.1, 0.9)])
def test_the_most_alike_is_taken_where_it_is_not_too_far_in_depth(here, there, alike, chosen):
    """0.8 of depth away it must be 0.4 more alike than one at the same depth, which is by 0.1."""
    teacher = [layer("far", VECTOR, there, alike), layer("near", VECTOR, here, 0.1)]
    assert paths([layer("ours", VECTOR, here)], teacher) == [("ours", chosen)]


def test_no_module_of_the_teacher_is_proposed_twice_or_before_an_earlier_one():
    student = [layer("map", MAP, 0.0), layer("later map", SMALL_MAP, 1.0)]
    teacher = [
        layer("first", SMALL_MAP, 0.5, 0.9),
        layer("second", MAP, 0.5, 1.0),
        layer("third", SMALL_MAP, 0.5, 0.1),
    ]
    assert paths(student, teacher) == [("map", "second"), ("later map", "third")]
    assert paths(student, [layer("only", MAP, 0.5)]) == [("map", "only")]


def test_of_a_stage_the_last_is_proposed_and_of_many_stages_four_the_last_among_them():
    shapes = [(channels, 4, 4) for channels in range(1, 9)]
    student = [
        layer(f"{place} {part}", shape, place / 7)
        for place, shape in enumerate(shapes)
        for part in ("begin", "end")
    ]
    found = [ours for ours, _ in paths(student, student)]
    assert found == ["1 end", "3 end", "5 end", "7 end"]


def test_maps_of_the_same_size_go_before_others_and_others_before_none():
    ours = [layer("ours", MAP, 0.5)]
    other, wider = layer("other", SMALL_MAP, 0.5, 0.9), layer("wider", (7, 8, 8), 0.5, 0.2)
    assert paths(ours, [other, wider]) == [("ours", "wider")]
    assert paths(ours, [other]) == [("ours", "other")]


def test_tokens_are_compared_with_blocks_and_with_what_there_is_where_there_are_none():
    ours = [layer("one", TOKENS, 0.0, is_block=True), layer("inner", TOKENS, 0.5)]
    ours += [layer("two", TOKENS, 1.0, is_block=True), layer("norm", TOKENS, 1.0)]
    inner, block = layer("inner", TOKENS, 0.5, 0.9), layer("block", TOKENS, 0.5, 0.2, is_block=True)
    assert paths(ours[:2], [inner, block]) == [("one", "block")]
    assert paths(ours, ours) == [("one", "one"), ("two", "two")]
    assert paths(ours[1:2], [inner]) == [("inner", "inner")]


def test_beside_blocks_of_tokens_vectors_are_proposed_as_they_are():
    student = [layer("block", TOKENS, 0.0, is_block=True), layer("pooled", VECTOR, 1.0)]
    assert paths(student, student) == [("block", "block"), ("pooled", "pooled")]


def test_what_learns_nothing_and_what_is_of_another_kind_is_left_out():
    student = [layer("frozen", MAP, 0.0, learns=False), layer("vector", VECTOR, 1.0)]
    assert paths(student, [layer("map", MAP, 0.0), layer("tokens", TOKENS, 1.0)]) == []
    assert paths(student, student) == [("vector", "vector")]
