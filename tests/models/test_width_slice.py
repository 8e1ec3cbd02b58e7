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


@pytest.mark.parametrize(
    ("weights", "biases", "inputs", "kept"),
    [
        ([3.0, 0.0], [0.0, 1.0], [1.0, -1.0], 3.0),  # a mean size of 3 and of 1, of whatever sign
        ([1.0, 0.0], [0.0, 2.0], [0.0, 0.0, 0.0, 4.0], 0.0),  # of 1 and of 2, though 4 is largest
    ],
)
def test_a_unit_counts_by_its_mean_size(weights, biases, inputs, kept):
    teacher = nn.Sequential(nn.Linear(1, 2), nn.Linear(2, 1))
    with torch.no_grad():
        teacher[0].weight.copy_(torch.tensor(weights)[:, None])
        teacher[0].bias.copy_(torch.tensor(biases))
    student = nn.Sequential(nn.Linear(1, 1), nn.Linear(1, 1))
    taken = width_slice(student, teacher, torch.tensor(inputs)[:, None])
    assert taken.state["0.weight"].tolist() == [[kept]]


def test_a_flattened_channel_counts_by_all_its_positions():
    teacher = nn.Sequential(nn.Conv2d(1, 4, 1, bias=False), nn.Flatten(), nn.Linear(16, 3))
    with torch.no_grad():
        teacher[0].weight.copy_(torch.tensor([1.0, 2.0, 3.0, 4.0]).reshape(4, 1, 1, 1))
    student = nn.Sequential(nn.Conv2d(1, 1, 1, bias=False), nn.Flatten(), nn.Linear(4, 3))
    taken = width_slice(student, teacher, torch.ones(2, 1, 2, 2))
    assert taken.state["0.weight"].flatten().tolist() == [4.0]
    assert torch.equal(taken.state["2.weight"], teacher[2].weight[:, 12:])


def test_units_of_tokens_are_measured_over_all_tokens():
    teacher = nn.Sequential(nn.Linear(1, 3, bias=False), nn.Linear(3, 2))
    with torch.no_grad():
        teacher[0].weight.copy_(torch.tensor([[2.0], [1.0], [3.0]]))
    student = nn.Sequential(nn.Linear(1, 2, bias=False), nn.Linear(2, 2))
    taken = width_slice(student, teacher, torch.ones(4, 5, 1))
    assert taken.state["0.weight"].tolist() == [[2.0], [3.0]]
    assert torch.equal(taken.state["1.weight"], teacher[1].weight[:, [0, 2]])


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
        (nn.Flatten(), nn.Flatten(), "it has 0 layers with weights, and the teacher has 0"),
    ],
)
def test_what_is_no_plain_chain_or_another_one_is_refused(student, teacher, said):
    torch.manual_seed(0)
    with pytest.raises(ModelError, match=said):
        width_slice(student, teacher, torch.randn(32, 4))


def test_what_is_refused_does_not_hang_on_the_size_of_the_answers():
    torch.manual_seed(0)
    teacher = Residual(16)
    with torch.no_grad():
        teacher.last.weight.mul_(1e-6)
        teacher.last.bias.mul_(1e-6)
    with pytest.raises(ModelError, match="its layers are not called one after the other"):
        width_slice(Residual(4), teacher, torch.randn(32, 4))


def test_a_teacher_whose_training_broke_is_refused():
    teacher = MLP(4, [4], 3)
    torch.nn.init.constant_(teacher.layers[3].bias, torch.nan)
    with pytest.raises(ModelError, match="says something else, by nan"):
        width_slice(MLP(4, [2], 3), teacher, torch.randn(5, 4))


def test_a_teacher_in_training_is_measured_as_it_answers_later():
    torch.manual_seed(0)
    inputs = torch.rand(9, 3, 8, 8)
    teacher = CNN(3, [6], 5, dropout=0.5).train()
    before = {name: tensor.clone() for name, tensor in teacher.state_dict().items()}
    width_slice(CNN(3, [4], 5), teacher, inputs)
    assert not teacher.training
    assert all(torch.equal(before[name], part) for name, part in teacher.state_dict().items())


def test_the_student_is_not_changed():
    student = MLP(4, [2], 3)
    before = {name: tensor.clone() for name, tensor in student.state_dict().items()}
    width_slice(student, MLP(4, [4], 3), torch.randn(5, 4))
    assert student.training
    assert all(torch.equal(before[name], part) for name, part in student.state_dict().items())


def test_the_teacher_is_left_without_hooks():
    teacher, inputs = MLP(4, [4], 3), torch.randn(5, 4)
    expected = teacher(inputs)
    width_slice(MLP(4, [2], 3), teacher, inputs)
    assert torch.equal(teacher(inputs), expected)
