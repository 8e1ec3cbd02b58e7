"""The picture of a soft decision tree says what the result files say."""

import base64
import io
import re

import numpy as np
from PIL import Image

from limbeck.report import write_page
from limbeck.report._palette import DARK, LIGHT
from limbeck.report._tree import tree_picture
from limbeck.results import read_results, write_results
from tests.report import examples


def pixels(png):
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(png))))


def rgb(colour):
    return [int(colour[start : start + 2], 16) for start in (1, 3, 5)]


def test_a_filter_has_a_colour_for_each_side_as_solid_as_a_weight_is_large():
    found = examples.tree()
    picture = tree_picture(found)
    values = np.frombuffer(base64.b64decode(found.nodes[5].filter), dtype=np.int8)
    values = values.reshape(28, 28).astype(int)
    for png, colours in (
        (picture.rows[2].filters[2].light, LIGHT),
        (picture.rows[2].filters[2].dark, DARK),
    ):
        seen = pixels(png)
        assert (seen[values > 0][:, :3] == rgb(colours["student"])).all()
        assert (seen[values < 0][:, :3] == rgb(colours["teacher"])).all()
        assert (seen[..., 3] == np.minimum(255, 2 * abs(values))).all()


def test_a_branch_is_as_broad_as_the_share_that_takes_it():
    found = examples.tree()
    picture = tree_picture(found)
    assert [len(row.filters) for row in picture.rows] == [1, 2, 4, 8]
    for row, first in zip(picture.rows, (0, 1, 3, 7), strict=True):
        assert len(row.branches) == 2 * len(row.filters)
        for place, branch in enumerate(row.branches):
            node = found.nodes[first + place // 2]
            share = node.reached * (node.right if place % 2 else 1 - node.right)
            assert abs(branch.width - (1 + 13 * share)) < 0.01
    assert picture.rows[1].branches[2].curve == "M75 0C75 11 62.5 9 62.5 20"


def test_a_step_says_which_side_and_how_sure():
    sure = ["99\u00a0%", "90\u00a0%", "62\u00a0%", "48\u00a0%", "97\u00a0%"]
    for path, right in zip(tree_picture(examples.tree()).paths, (True, False), strict=True):
        assert [(step.right, step.sure) for step in path.steps] == [(right, one) for one in sure]
        side = "right" if right else "left"
        assert [step.filter.note for step in path.steps] == [f"{side}, {one}" for one in sure]


def test_a_leaf_shows_every_class_and_names_the_most_probable():
    found = examples.tree()
    for leaf, said in zip(tree_picture(found).leaves, found.leaves, strict=True):
        assert len(leaf.bars) == 10
        assert said.probabilities[leaf.most] == max(said.probabilities)
        assert leaf.name == str(leaf.most)


def source(folder, report, details):
    write_results(folder, report, details)
    assert read_results(folder)[1].tree == details.tree
    return write_page(folder).read_text(encoding="utf-8")


def test_the_page_has_a_picture_for_each_node_and_bars_for_each_leaf(tmp_path):
    report, details = examples.soft_tree()
    text = source(tmp_path, report, details)
    assert text.count("<picture") == 15 + 2 * 5
    assert text.count('class="bars"') == 16 + 2
    assert "After 5 decisions a leaf is reached; the first 4 are" in text
    assert len(re.findall(r'<path d="M[^"]*" stroke-width', text)) == 2 + 4 + 8 + 16


def test_other_students_have_no_tree(tmp_path):
    assert 'id="tree"' not in source(tmp_path, *examples.helped_images())


def test_class_names_make_no_tag(tmp_path):
    classes = [f"{examples.HOSTILE}{digit}" for digit in range(10)]
    text = source(tmp_path, *examples.soft_tree(classes))
    assert examples.HOSTILE not in text
    assert text.count("&lt;script&gt;alert(1)&lt;/script&gt;") >= 18
