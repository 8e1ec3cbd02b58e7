import string
import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from limbeck._errors import OptionError, RecipeError
from limbeck.recipe import Augment, Data, Distil, Recipe, Student, Targets, Teacher, Train
from limbeck.recipe_file import parse_recipe, to_toml

SMALLEST = {
    "name": "smallest",
    "data": {"source": "digits"},
    "teacher": {"model": "mlp"},
    "students": {"small": {"model": "mlp"}},
}

texts = st.text(st.characters(codec="utf-8"), max_size=12)
numbers = st.floats(allow_nan=False, allow_infinity=False)
values = st.recursive(
    st.booleans() | st.integers(-(2**63), 2**63 - 1) | numbers | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)
options = st.dictionaries(texts, values, max_size=3)
counts = st.integers(1, 10**6)
positive = st.floats(1e-6, 1e6)
fractions = st.floats(0, 0.999)
inner_fractions = st.floats(0.001, 0.999)
trains = st.builds(
    Train,
    epochs=counts,
    batch_size=st.integers(8, 4096),
    accumulate=st.integers(1, 8),
    optimizer=texts,
    optimizer_options=options.filter(lambda given: "lr" not in given),
    learning_rate=positive,
    schedule=st.sampled_from(["cosine", "step", "constant"]),
    milestones=st.lists(fractions, max_size=3),
    warmup=fractions,
    clip=positive,
    views=st.booleans(),
    precision=st.sampled_from(["no", "bf16", "fp16"]),
    keep=st.sampled_from(["last", "best"]),
    validate_every=counts,
    log=st.sampled_from(["none", "tensorboard"]),
)
recipes = st.builds(
    Recipe,
    name=st.from_regex(r"[\w-][\w.-]{0,11}", fullmatch=True),
    description=texts,
    seeds=counts,
    data=st.builds(
        Data,
        source=texts,
        path=st.none() | texts,
        options=options,
        labelled=st.floats(0.001, 1) | counts,
        validation=inner_fractions,
        limit=st.none() | counts,
        augment=st.builds(Augment, shift=st.integers(0, 4), flip=st.booleans()),
        metric=st.none() | texts,
        seed=st.integers(0, 9),
    ),
    teacher=st.builds(Teacher, model=texts, options=options, train=trains),
    targets=st.builds(Targets, temperature=positive, codec_options=options, views=counts),
    students=st.dictionaries(
        st.text(string.ascii_letters + string.digits + "-_é", min_size=1, max_size=8),
        st.builds(Student, model=texts, options=options),
        min_size=1,
        max_size=2,
    ),
    distil=st.builds(Distil, temperature=st.none() | positive, live=st.booleans()),
    train=trains,
)


def with_(**changes):
    """The smallest recipe with sections changed."""
    return SMALLEST | changes


def fault(raw):
    """What is said of a recipe that does not hold."""
    with pytest.raises(RecipeError) as error:
        parse_recipe(raw)
    return str(error.value).removeprefix("recipe recipe: ")


@given(recipe=recipes)
def test_every_recipe_is_read_back_as_it_was_written(recipe):
    assert parse_recipe(tomllib.loads(to_toml(recipe))) == recipe


def test_what_is_left_out_has_the_documented_defaults():
    recipe = parse_recipe(SMALLEST)
    assert recipe.seeds == 5
    assert recipe.targets.temperature == 4.0
    assert recipe.data.labelled == 1.0
    assert recipe.train == Train() == recipe.teacher.train
    assert recipe.distil.soft_weight == 1.0
    average = parse_recipe(with_(distil={"ema": {}})).distil.ema
    assert average.model_dump() == {"weight": 1.0, "decay": 0.999, "ramp_up": 0.0}


def test_a_recipe_is_never_edited_in_place():
    with pytest.raises(ValidationError, match="frozen"):
        parse_recipe(SMALLEST).seeds = 3


def test_a_whole_number_of_labels_is_a_count_and_any_other_a_fraction():
    for given_, kept in ((1, 1), (1.0, 1.0), (500, 500), (0.1, 0.1)):
        labelled = parse_recipe(with_(data={"source": "digits", "labelled": given_})).data.labelled
        assert (labelled, type(labelled)) == (kept, type(kept))


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (
            with_(trian={}),
            "there is no key trian. Did you mean train? Known here: name, description, seeds, "
            "data, teacher, teachers, ensemble, assistants, targets, students, distil, train.",
        ),
        (
            with_(data={"source": "digits", "augment": {"shfit": 1}}),
            "there is no key data.augment.shfit. Did you mean shift? Known here: shift, flip, "
            "rotate, zoom.",
        ),
        (
            with_(students={"small": {"modle": "mlp"}}),
            "there is no key students.small.modle. Did you mean model? Known here: model, "
            "options, outputs, start.",
        ),
        (
            with_(students={"small": {"model": "mlp", "start": {"hwo": "layers"}}}),
            "there is no key students.small.start.hwo. Did you mean how? Known here: how, control.",
        ),
        (
            with_(distil={"xyz": 1}),
            "there is no key distil.xyz. Known here: method, options, temperature, hard_weight, "
            "soft_weight, mutual_weight, ema, branches, anneal, balance, taps, feature_weight, "
            "progressive, live, mixup, generations.",
        ),
        (with_(students={"small": {}}), "students.small.model is missing."),
        ({}, "name is missing."),
        (
            with_(train=3),
            "train: must be a section of keys (epochs, batch_size, accumulate, optimizer, ...), "
            "got 3.",
        ),
        (
            with_(distil={"taps": [["a", "b"]]}),
            "distil.taps.0: must be a section of keys (student, teacher), got ['a', 'b'].",
        ),
        (with_(name=3), "name: input should be a valid string, got 3."),
        (with_(seeds="5"), "seeds: input should be a valid integer, got '5'."),
        (with_(seeds=True), "seeds: input should be a valid integer, got True."),
        (with_(seeds=2.0), "seeds: input should be a valid integer, got 2.0."),
        (with_(seeds=0), "seeds: input should be greater than or equal to 1, got 0."),
        (
            with_(targets={"temperature": 0}),
            "targets.temperature: input should be greater than 0, got 0.",
        ),
        (
            with_(train={"clip": float("inf")}),
            "train.clip: input should be a finite number, got inf.",
        ),
        (
            with_(train={"learning_rate": float("nan")}),
            "train.learning_rate: input should be a finite number, got nan.",
        ),
        (
            with_(data={"source": "digits", "labelled": "many"}),
            "data.labelled: input should be a valid number, got 'many'.",
        ),
        (
            with_(data={"source": "digits", "test": 1.0}),
            "data.test: input should be less than 1, got 1.0.",
        ),
        (
            with_(train={"schedule": "cos"}),
            "train.schedule: input should be 'cosine', 'step' or 'constant', got 'cos'.",
        ),
        (
            with_(train={"milestones": [0.5, 2]}),
            "train.milestones.1: input should be less than 1, got 2.",
        ),
        (
            with_(train={"keep": "best", "validate_every": 0}),
            'train: keep = "best" needs validate_every of 1 or more.',
        ),
        (
            with_(train={"optimizer_options": {"lr": 1.0}}),
            "train: the learning rate is set by learning_rate, not optimizer_options.lr.",
        ),
        (
            with_(train={"batch_size": 2, "accumulate": 4}),
            "train: accumulate must not be larger than batch_size.",
        ),
        (
            with_(teacher={"model": "mlp", "seed": -1}),
            "teacher.seed: input should be greater than or equal to 0, got -1.",
        ),
        (
            with_(teacher={"model": "mlp", "seed": 10**23}),
            f"teacher.seed: input should be less than 4294967296, got {10**23}.",
        ),
        (
            with_(data={"source": "digits", "seed": 2**32}),
            "data.seed: input should be less than 4294967296, got 4294967296.",
        ),
        *(
            (
                with_(name=name),
                'name: a name must be letters, digits, "-", "_" and "." (which may not be first), '
                f"for the run's folder is called by it, got {name!r}.",
            )
            for name in ("../x", "/tmp/x", ".x", "", "a b", "x\n")
        ),
        (
            with_(students={}),
            "students: dictionary should have at least 1 item after validation, not 0, got {}.",
        ),
        (
            with_(students={"../up": {"model": "mlp"}}),
            'students: a name must be letters, digits, "-" and "_", for its files are called by '
            "it, got '../up'.",
        ),
    ],
)
def test_a_fault_is_told_in_the_recipes_own_words(raw, message):
    assert fault(raw) == message


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"epochs": 0}, "Train: epochs: input should be greater than or equal to 1, got 0."),
        ({"epochs": 2.5}, "Train: epochs: input should be a valid integer, got 2.5."),
        (
            {"schedule": "cosin"},
            "Train: schedule: input should be 'cosine', 'step' or 'constant', got 'cosin'.",
        ),
        (
            {"keep": "best", "validate_every": 0},
            'Train: keep = "best" needs validate_every of 1 or more.',
        ),
        (
            {"warmup": "0.1", "epoch": 3},
            "Train: there is no key epoch. Did you mean epochs? Known "
            f"here: {', '.join(Train.model_fields)}.",
        ),
    ],
)
def test_a_section_made_in_python_is_refused_in_the_users_words(values, message):
    with pytest.raises(OptionError) as error:
        Train(**values)
    assert str(error.value) == message


def test_a_section_within_one_is_named_from_the_outside():
    inner = {"source": "digits", "augment": {"shif": 1}}
    with pytest.raises(OptionError) as error:
        Recipe(**SMALLEST | {"data": inner})
    assert str(error.value) == (
        "Recipe: there is no key data.augment.shif. Did you mean shift? Known here: shift, flip, "
        "rotate, zoom."
    )
    with pytest.raises(RecipeError, match=r"^recipe mine: there is no key data\.augment\.shif\."):
        parse_recipe(SMALLEST | {"data": inner}, name="mine")
