"""Models and data of a user's own."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset, get_worker_info


def probable() -> nn.Module:
    """Gives probabilities, as many Keras models do."""
    return nn.Sequential(
        nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10), nn.Softmax(-1)
    )


def keras_classes(normalise: bool = True) -> nn.Module:
    """Answers probabilities, as the usual Keras tutorial does."""
    import keras

    layers = keras.layers
    hidden = [layers.Flatten(), layers.Dense(8, "relu")]
    if normalise:
        hidden.append(layers.BatchNormalization())
    return keras.Sequential([layers.Input((8, 8)), *hidden, layers.Dense(10, "softmax")])


def seven_classes() -> nn.Module:
    """Answers seven classes."""
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 7))


def misfit() -> nn.Module:
    """Takes samples of another shape."""
    return nn.Sequential(nn.Flatten(), nn.Linear(63, 10))


def broken() -> nn.Module:
    """Answers what is not a number."""
    return _Broken()


def detached() -> nn.Module:
    """Answers without a gradient."""
    return _Answering(lambda rows: rows.detach())


def whole_numbers() -> nn.Module:
    """Answers integers."""
    return _Answering(lambda rows: rows.long())


def second_axis() -> nn.Module:
    """Answers `(batch, 1, 10)`."""
    return _Answering(lambda rows: rows[:, None])


def one_answer() -> nn.Module:
    """Answers once for the whole batch."""
    return _Answering(lambda rows: rows.mean(0, keepdim=True))


def any_width(classes: int = 10) -> nn.Module:
    """Takes samples of any shape."""
    return nn.Sequential(nn.Flatten(), nn.AdaptiveAvgPool1d(4), nn.Linear(4, classes))


class _Answering(nn.Module):
    def __init__(self, change: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.layer = nn.Linear(64, 10)
        self.change = change

    def forward(self, inputs: Tensor) -> Tensor:
        return self.change(self.layer(inputs.flatten(1)))


class _Broken(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(64, 10)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.layer(inputs.flatten(1)) * torch.nan


def successors(characters: int = 40) -> nn.Module:
    """Scores each next character by the last one alone."""
    return _Successors(characters)


class _Successors(nn.Module):
    def __init__(self, characters: int) -> None:
        super().__init__()
        self.table = nn.Embedding(characters, characters)

    def forward(self, input_ids: Tensor) -> Tensor:
        return self.table(input_ids)


def two_signs() -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """Data: two numbers, and whether each is positive."""
    numbers = torch.randn(300, 2, generator=torch.Generator().manual_seed(5))
    return (numbers[:200], numbers[:200] > 0), (numbers[200:], numbers[200:] > 0)


def opposite_test() -> dict[str, tuple[Tensor, Tensor]]:
    """Data: the sign of a number; in the test split, and there alone, it is the other way round."""
    numbers = torch.randn(300, 1, generator=torch.Generator().manual_seed(6))
    positive = (numbers[:, 0] > 0).long()
    return {
        "train": (numbers[:150], positive[:150]),
        "validation": (numbers[150:220], positive[150:220]),
        "test": (numbers[220:], 1 - positive[220:]),
    }


def narrower_test() -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """Data: six numbers and one of three classes; the test samples have five."""
    numbers = torch.randn(100, 6, generator=torch.Generator().manual_seed(5))
    labels = torch.arange(100) % 3
    return (numbers[:80], labels[:80]), (numbers[80:, :5], labels[80:])


class Torn(Dataset[tuple[Tensor, int]]):
    def __init__(self, only_ahead: bool) -> None:
        self.only_ahead = only_ahead

    def __len__(self) -> int:
        return 60

    def __getitem__(self, position: int) -> tuple[Tensor, int]:
        if position == 41 and (get_worker_info() is not None or not self.only_ahead):
            raise OSError("page 41 is torn out")
        return torch.full((4,), float(position)), position % 3


def torn(only_ahead: bool = False) -> dict[str, Dataset[tuple[Tensor, int]]]:
    """Data of which one sample cannot be read; `only_ahead`: by a worker process."""
    test = [(torch.full((4,), -1.0 - position), position % 3) for position in range(30)]
    return {"train": Torn(only_ahead), "validation": Listed(test), "test": Listed(test)}


class Listed(Dataset[tuple[Tensor, int]]):
    def __init__(self, items: list[tuple[Tensor, int]]) -> None:
        self.items = items

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, position: int) -> tuple[Tensor, int]:
        return self.items[position]
