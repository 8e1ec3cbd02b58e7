"""What cannot be trained is refused before anything is."""

import re

import pytest

import limbeck
from limbeck._errors import ModelError, ShapeError, TargetsError
from tests.pipeline.examples import small


@pytest.mark.parametrize(
    ("part", "who"), [("teacher", "the teacher"), ("students.small", "student small")]
)
@pytest.mark.parametrize(
    ("model", "error", "said"),
    [
        ("detached", ModelError, "the hard loss of {who} is detached"),
        ("broken", ModelError, "answer of {who} for head label is not finite before"),
        ("whole_numbers", ModelError, "must answer with floating point numbers for head label"),
        ("second_axis", ShapeError, r"{who} must answer \(8, 10\) .* got \(8, 1, 10\)"),
        ("one_answer", ShapeError, r"{who} must answer \(8, 10\) .* got \(1, 10\)"),
    ],
)
def test_a_model_that_cannot_learn_is_refused_before_anything_is_trained(
    model, error, said, part, who, tmp_path
):
    recipe = small(tmp_path, f"{part}.model=tests.pipeline.models:{model}", f"{part}.options={{}}")
    with pytest.raises(error, match=said.format(who=who)):
        limbeck.run(recipe, tmp_path / "run")
    assert not list(tmp_path.glob("run/**/*.safetensors"))


def test_test_samples_of_another_shape_are_refused_before_anything_is_trained(tmp_path):
    own = ("data.source=tests.pipeline.models:narrower_test", "data.limit=60")
    said = "{}, on test samples, cannot be called with the inputs (8, 5) float32"
    with pytest.raises(ModelError, match=re.escape(said.format("the teacher"))):
        limbeck.run(small(tmp_path, *own), tmp_path / "run")
    wide = "tests.pipeline.models:any_width"
    own += (f"teacher.model={wide}", "teacher.options={ classes = 3 }")
    with pytest.raises(ModelError, match=re.escape(said.format("student small"))):
        limbeck.run(small(tmp_path, *own), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_set_whose_codec_cannot_be_taken_is_refused_before_anything_is_trained(tmp_path):
    recipe = small(tmp_path, f"targets.like={tmp_path / 'none'}")
    with pytest.raises(TargetsError, match="no such folder"):
        limbeck.run(recipe, tmp_path / "run")
    assert not list(tmp_path.glob("run/**/*.safetensors"))
