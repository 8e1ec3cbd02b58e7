import pytest
import torch

from limbeck._errors import ModelError, OptionError
from limbeck.models import MLP, STARTS, warm_start
from tests.pipeline.models import keras_classes


@pytest.mark.parametrize("how", STARTS)
def test_a_student_like_its_teacher_becomes_it(how):
    student, teacher, inputs = MLP(4, [3], 2), MLP(4, [3], 2), torch.randn(5, 4)
    taken = warm_start(student, teacher, how, inputs)
    assert torch.equal(student(inputs), teacher(inputs))
    assert taken.told == "23 weights of its teacher"  # 4*3+3 + 3*2+2


def test_what_was_taken_is_told():
    taken = warm_start(MLP(4, [3], 2), MLP(4, [3, 3], 2), "layers", torch.zeros(1, 4))
    assert taken.told == "23 weights of its teacher; layers: 1, 5 of 1, 3, 5"


def test_a_student_that_does_not_fit_keeps_its_own_weights():
    student = MLP(4, [3, 3], 2)
    before = {name: part.clone() for name, part in student.state_dict().items()}
    with pytest.raises(ModelError):
        warm_start(student, MLP(4, [3], 2), "layers", torch.zeros(1, 4))
    assert all(torch.equal(before[name], part) for name, part in student.state_dict().items())


def test_the_student_learns_without_the_teacher_changing():
    student, teacher = MLP(4, [3], 2), MLP(4, [3], 2)
    warm_start(student, teacher, "layers", torch.zeros(1, 4))
    with torch.no_grad():
        student.layers[1].weight.zero_()
    assert bool(teacher.layers[1].weight.any())


def test_a_keras_model_is_refused():
    with pytest.raises(ModelError, match="a Keras model has no torch modules"):
        warm_start(keras_classes(), MLP(64, [3], 10), "layers", torch.zeros(1, 8, 8))


def test_another_way_is_refused():
    with pytest.raises(OptionError, match=r"start\.how must be one of layers, width, got 'depth'"):
        warm_start(MLP(4, [3], 2), MLP(4, [3], 2), "depth", torch.zeros(1, 4))
