"""A narrower student begins with the units of its teacher that are most active."""

import pytest
import torch
from torch import Tensor, nn

from limbeck._errors import ModelError
from limbeck.models import CNN, MLP
from limbeck.models._width_slice import width_slice


def started(student: nn.Module, teacher: nn.Module, inputs: Tensor) -> nn.Module:
    student.load_state_dict(width_slice(student, teacher, inputs).state)
    return student.eval()


def test_the_most_active_units_stay_in_their_order():
    teacher = MLP(2, [4], 1)
    first, last = teacher.layers[1], teacher.layers[3]
    with torch.no_grad():
        first.weight.copy_(torch.tensor([[1.0, 0], [0, 3.0], [0.5, 0], [0, 2.0]]))
        first.bias.zero_()
        last.weight.copy_(torch.tensor([[10.0, 20.0, 30.0, 40.0]]))
    taken = width_slice(MLP(2, [2], 1), teacher, torch.ones(5, 2))
    # After ReLU they are 1, 3, 0.5 and 2: units 1 and 3 stay.
    assert taken.state["layers.1.weight"].tolist() == [[0, 3.0], [0, 2.0]]
    assert taken.state["layers.3.weight"].tolist() == [[20.0, 40.0]]
    assert torch.equal(taken.state["layers.3.bias"], last.bias)
    assert taken.words == ["layers.1: 2 of 4 units"]


def test_a_unit_that_relu_silences_is_not_active():
    teacher = MLP(1, [2], 1)
    with torch.no_grad():
        teacher.layers[1].weight.copy_(torch.tensor([[-9.0], [1.0]]))
        teacher.layers[1].bias.zero_()
    taken = width_slice(MLP(1, [1], 1), teacher, torch.ones(3, 1))
    assert taken.state["layers.1.weight"].tolist() == [[1.0]]


def test_a_student_as_wide_says_what_its_teacher_says():
    torch.manual_seed(0)
    inputs = torch.randn(9, 3, 8, 8)
    teacher = CNN(3, [6, 4], 5).eval()
    student = started(CNN(3, [6, 4], 5), teacher, inputs)
    assert torch.equal(student(inputs), teacher(inputs))


def test_a_narrower_student_says_what_its_teacher_says_without_the_other_channels():
    torch.manual_seed(0)
    inputs = torch.rand(9, 3, 8, 8)
    teacher = CNN(3, [6], 5).eval()
    student = CNN(3, [4], 5)
    taken = width_slice(student, teacher, inputs)
    kept = [
        channel
        for channel in range(6)
        if (taken.state["head.weight"] == teacher.head.weight[:, channel, None]).all(0).any()
    ]
    assert len(kept) == 4
    silenced = CNN(3, [6], 5)
    silenced.load_state_dict(teacher.state_dict())
    with torch.no_grad():
        silenced.head.weight[:, [each for each in range(6) if each not in kept]] = 0
    student.load_state_dict(taken.state)
    torch.testing.assert_close(student.eval()(inputs), silenced.eval()(inputs))


class Separable(nn.Module):
    """Depthwise and grouped like MobileNet, and flattened."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, width, 1)
        self.depth = nn.Conv2d(width, width, 3, padding=1, groups=width)
        self.norm = nn.BatchNorm2d(width)
        self.last = nn.Linear(width * 4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.norm(self.depth(self.first(x))).relu().flatten(1))


def test_depthwise_convolutions_and_flattened_channels_are_followed():
    torch.manual_seed(1)
    inputs = torch.randn(7, 1, 2, 2)
    teacher = Separable(6).eval()
    taken = width_slice(Separable(2), teacher, inputs)
    kept = [
        channel
        for channel in range(6)
        if (taken.state["first.weight"] == teacher.first.weight[channel]).flatten(1).all(1).any()
    ]
    assert torch.equal(taken.state["depth.weight"], teacher.depth.weight[kept])
    wanted = teacher.last.weight.reshape(3, 6, 4)[:, kept].reshape(3, 8)
    assert torch.equal(taken.state["last.weight"], wanted)


class Residual(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.first, self.inner = nn.Linear(4, width), nn.Linear(width, width)
        self.last = nn.Linear(width, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        return self.last(x - 3 * self.inner(x).relu())


class Normalised(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.first, self.norm, self.last = (
            nn.Linear(4, width),
            nn.LayerNorm(width),
            nn.Linear(width, 3),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.norm(self.first(x)))


class Grouped(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.first, self.last = nn.Conv1d(4, width, 1, groups=2), nn.Linear(width, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.first(x[..., None])[..., 0])


class Idle(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.first, self.last, self.idle = nn.Linear(4, width), nn.Linear(width, 3), nn.Linear(2, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.first(x))


@pytest.mark.parametrize(
    ("student", "teacher", "said"),
    [
        (Residual(4), Residual(16), "its layers are not called one after the other"),
        (Normalised(2), Normalised(4), "the teacher's norm is a LayerNorm, and units are told"),
        (Grouped(2), Grouped(4), "the teacher's first is a Conv1d of 2 groups"),
        (Idle(2), Idle(4), "the teacher has a layer idle that it never calls"),
        (MLP(4, [2], 3), MLP(4, [4, 4], 3), "it has 2 layers with weights, and the teacher has 3"),
        (
            MLP(4, [8], 3),
            MLP(4, [6], 3),
            r"its layers\.1\.weight is \(8, 4\), and of the teacher's",
        ),
        (
            MLP(4, [2], 2),
            MLP(4, [4], 3),
            r"its layers\.3\.weight is \(2, 2\), and of the teacher's",
        ),
        (
            nn.Sequential(nn.Linear(4, 2), nn.BatchNorm1d(2), nn.Linear(2, 3)),
            MLP(4, [4, 4], 3),
            r"its 1 is a BatchNorm1d, and the teacher's layers\.3 a Linear",
        ),
    ],
)
def test_what_is_no_plain_chain_or_another_one_is_refused(student, teacher, said):
    torch.manual_seed(0)
    with pytest.raises(ModelError, match=said):
        width_slice(student, teacher, torch.randn(32, 4))


def test_the_teacher_is_left_without_hooks():
    teacher, inputs = MLP(4, [4], 3), torch.randn(5, 4)
    expected = teacher(inputs)
    width_slice(MLP(4, [2], 3), teacher, inputs)
    assert torch.equal(teacher(inputs), expected)
