"""Recipes are found, read, changed and refused."""

import os
import tomllib

import pytest

from limbeck._errors import RecipeError
from limbeck.recipe_file import load_recipe, parse_recipe, shipped, to_toml

SMALLEST = {
    "name": "smallest",
    "data": {"source": "digits"},
    "teacher": {"model": "mlp"},
    "students": {"small": {"model": "mlp"}},
}
SHIPPED = {
    "digits",
    "digits-hurt",
    "digits-matching",
    "fashion-mnist",
    "housing",
    "mnist",
    "mnist-tree",
    "shakespeare",
    "trec6",
}


def test_the_shipped_recipes_are_the_promised_ones_and_all_load():
    names = [name for name, _ in shipped()]
    assert names == sorted(SHIPPED)
    for name in names:
        recipe = load_recipe(name)
        assert recipe.name == name
        assert recipe.description
        assert recipe.seeds >= 3
        assert parse_recipe(tomllib.loads(to_toml(recipe))) == recipe


def test_overrides_are_toml_values_or_strings():
    recipe = load_recipe(
        "digits",
        [
            "train.epochs=3",
            "data.labelled=50",
            "targets.temperature = 2",
            "data.path=/some/where",
            "data.augment.flip=true",
            "teacher.model = cnn",
            "students.small.options.hidden=[8]",
            'students.other={ model = "cnn" }',
            "targets.codec=topk",
            "targets.codec_options.k=3",
        ],
    )
    assert recipe.train.epochs == 3
    assert recipe.data.labelled == 50
    assert recipe.targets.temperature == 2.0
    assert recipe.data.path == "/some/where"
    assert recipe.data.augment.flip is True
    assert recipe.teacher.model == "cnn"
    assert recipe.students["small"].options == {"hidden": [8]}
    assert recipe.students["other"].model == "cnn"
    assert recipe.targets.codec_options == {"k": 3}


def test_the_last_override_of_a_key_counts():
    assert load_recipe("digits", ["seeds=2", "seeds=3"]).seeds == 3


@pytest.mark.parametrize("override", ["seeds", "=3", "train..epochs=3", ""])
def test_an_override_that_names_no_key_is_refused(override):
    with pytest.raises(RecipeError) as error:
        load_recipe("digits", [override])
    assert str(error.value) == f"--set takes section.key=value, got {override!r}."


@pytest.mark.parametrize(
    ("override", "message"),
    [
        (
            "train.warmup=.1",
            "train.warmup: input should be a valid number, got '.1'. TOML writes it 0.1.",
        ),
        ("data.validation=1.e-1", "TOML writes it 0.1."),
        ("seeds=05", "seeds: input should be a valid integer, got '05'. TOML writes it 5."),
        ("distil.live=True", "got 'True'. TOML writes it true."),
        ("train.warmup=much", "got 'much'."),
        ('seeds="5"', "got '5'."),
    ],
)
def test_a_number_that_is_not_toml_is_shown_as_toml_writes_it(override, message):
    with pytest.raises(RecipeError) as error:
        load_recipe("digits", [override])
    assert str(error.value).endswith(message)


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("data.options.way=nan", "data.options.way must be a finite number, got nan"),
        ("data.options.ways=[1.0, -inf]", "data.options.ways.1 must be a finite number, got -inf"),
    ],
)
def test_an_option_of_ones_own_must_be_finite_as_it_is_written_down(override, told):
    with pytest.raises(RecipeError, match=f"{told}. A text is put in quotes"):
        load_recipe("digits", [override])
    quoted = load_recipe("digits", ['data.options.way="nan"'])
    assert quoted.data.options == {"way": "nan"}


def test_what_a_search_will_write_is_not_taken_for_another_recipe(tmp_path):
    (tmp_path / "recipe.toml").write_text("")
    with pytest.raises(RecipeError, match=r"there is no .*tuned\.toml yet: `limbeck tune` writes"):
        load_recipe(str(tmp_path / "tuned.toml"))


def test_an_override_below_a_value_is_refused():
    with pytest.raises(RecipeError) as error:
        load_recipe("digits", ["train.epochs.more=3"])
    assert str(error.value) == ("--set train.epochs.more=3: epochs is a value, not a section.")


def test_an_override_of_an_unknown_key_is_refused_with_the_nearest_one():
    with pytest.raises(RecipeError, match=r"there is no key train\.epoch\. Did you mean epochs\?"):
        load_recipe("digits", ["train.epoch=3"])


def test_a_file_is_a_recipe_too(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(to_toml(parse_recipe(SMALLEST)), encoding="utf-8")
    assert load_recipe(str(path)) == parse_recipe(SMALLEST)


def test_a_folder_is_no_recipe_and_one_in_it_is_named(tmp_path):
    told = f"a recipe is a TOML file, and {tmp_path} is a folder. Name "
    for made, way_out in [
        ("notes.txt", "another path: it holds none."),
        ("recipe.toml", f"one in it, such as {tmp_path / 'recipe.toml'}."),
    ]:
        (tmp_path / made).touch()
        with pytest.raises(RecipeError) as error:
            load_recipe(str(tmp_path))
        assert str(error.value) == told + way_out


def test_an_unknown_recipe_is_refused_with_the_nearest_one():
    with pytest.raises(RecipeError) as error:
        load_recipe("digit")
    assert str(error.value) == (
        "there is no recipe file digit, and no recipe of that name comes with Limbeck. Did you "
        "mean digits? `limbeck recipes` lists those that do."
    )


def test_a_mistyped_file_is_refused_with_the_nearest_one_in_its_folder(tmp_path):
    (tmp_path / "grades.toml").touch()
    with pytest.raises(RecipeError, match=rf"Did you mean {tmp_path / 'grades.toml'}\?"):
        load_recipe(str(tmp_path / "grade.toml"))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"name = [", "is not TOML: "),
        (b"\xff\xfe", "is no text: "),
    ],
)
def test_a_file_that_is_no_recipe_is_refused(tmp_path, content, message):
    path = tmp_path / "broken.toml"
    path.write_bytes(content)
    with pytest.raises(RecipeError) as error:
        load_recipe(str(path))
    assert f"{path} {message}" in str(error.value)


def test_a_file_that_may_not_be_read_is_refused(tmp_path, monkeypatch):
    path = tmp_path / "mine.toml"
    path.write_text("", encoding="utf-8")

    def refuse(*args, **options):
        raise PermissionError(13, os.strerror(13))

    monkeypatch.setattr(type(path), "read_text", refuse)
    monkeypatch.setattr("limbeck.recipe_file.shipped", lambda: iter(()))
    with pytest.raises(RecipeError) as error:
        load_recipe(str(path))
    assert str(error.value) == f"cannot read {path}: Permission denied."
