import pytest

from limbeck import _errors as errors
from limbeck._errors import LimbeckError, did_you_mean

TREE = {
    "OptionError": ValueError,
    "ShapeError": ValueError,
    "RecipeError": ValueError,
    "DataError": ValueError,
    "LossError": ValueError,
    "ModelError": ValueError,
    "TargetsError": ValueError,
    "StorageError": OSError,
    "TrainingError": RuntimeError,
    "ExtraError": ImportError,
    "Interrupted": LimbeckError,
}


@pytest.mark.parametrize("name", TREE)
def test_an_error_is_ours_and_what_python_calls_it(name):
    kind = getattr(errors, name)
    assert issubclass(kind, LimbeckError)
    assert issubclass(kind, TREE[name])


def test_the_tree_in_the_docstring_is_the_tree():
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type)]
    ours = {kind.__name__ for kind in kinds if issubclass(kind, LimbeckError)}
    assert ours == TREE.keys() | {"LimbeckError"}
    drawn = [line.split()[1] for line in errors.__doc__.splitlines() if line[:1] in "├└" and line]
    assert drawn == list(TREE)


def test_only_a_near_name_is_meant():
    assert did_you_mean("epoch", ["epochs", "seeds"]) == " Did you mean epochs?"
    assert did_you_mean("Adamw", ["Adam", "AdamW"]) == " Did you mean AdamW?"
    assert did_you_mean("epoch", {"seeds": 1}) == ""
    assert did_you_mean("epoch", []) == ""
