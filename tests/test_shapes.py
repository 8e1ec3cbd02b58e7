import numpy as np
import pytest
import torch

from limbeck._errors import OptionError, ShapeError
from limbeck._shapes import check_count, check_leading_shape, check_positive, check_same_shape
from limbeck.signals import Dense


def test_equal_shapes_pass():
    check_same_shape(a=torch.zeros(2, 3), b=torch.ones(2, 3), c=torch.ones(2, 3))
    check_leading_shape(last="classes", a=torch.zeros(2, 3), b=torch.zeros(2), c=torch.zeros(2))
    check_positive(temperature=1e-9, weight=1e9)


def test_every_tensor_is_named_with_its_shape():
    with pytest.raises(ShapeError) as error:
        check_same_shape(a=torch.zeros(2), b=torch.zeros(2), c=torch.zeros(3))
    assert str(error.value) == "these must have one shape: a (2,), b (2,), c (3,)."


def test_the_one_that_does_not_fit_the_first_is_named():
    with pytest.raises(ShapeError) as error:
        check_leading_shape(last="classes", a=torch.zeros(2, 3), b=torch.zeros(2), c=torch.zeros(3))
    assert str(error.value) == (
        "c must have the shape of a without its last axis (classes): expected (2,), got (3,)."
    )


@pytest.mark.parametrize("number", [0.0, -1.0, float("inf"), float("nan")])
def test_what_is_not_above_0_is_refused_by_name(number):
    with pytest.raises(OptionError, match=r"^weight must be above 0 and finite, got "):
        check_positive(temperature=1.0, weight=number)


@pytest.mark.parametrize("number", ["2", None, [2.0], "inf"])
def test_what_is_no_number_is_refused_by_name(number):
    with pytest.raises(OptionError) as error:
        check_positive(temperature=1.0, weight=number)
    assert str(error.value) == f"weight must be above 0 and finite, got {number!r}."


@pytest.mark.parametrize("number", [0, -1, 1.0, True, "2", None, np.float64(2)])
def test_what_is_no_count_is_refused_by_name(number):
    check_count(views=1, batch_size=np.int64(512))
    with pytest.raises(OptionError) as error:
        check_count(views=1, batch_size=number)
    assert str(error.value) == f"batch_size must be a whole number, 1 or more, got {number!r}."


def test_rows_in_the_place_of_a_tensor_are_named_with_the_way_out():
    with pytest.raises(
        ShapeError, match=r"b must be a tensor, got Dense\. .*\.logits; Sparse rows"
    ):
        check_same_shape(a=torch.zeros(2), b=Dense(values=torch.zeros(2)))
