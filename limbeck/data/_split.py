"""Which samples are for training, validation and test, and which of them show their labels."""

from collections.abc import Callable, Sized
from dataclasses import dataclass
from math import ceil
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from limbeck._errors import DataError, OptionError

Whole = TypeVar("Whole", bound=Sized)
Index = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Cut:
    """How much is cut off for validation and test, where a source does not say it itself.

    Random by `seed`, and in proportion to the classes; the only sample of a class is learned from.
    The same samples and seed give the same splits on any machine.
    """

    validation: float = 0.1
    """Fraction in (0, 1) of what is not test, to the nearest sample; or a count of 1 or more."""
    test: float = 0.2
    """Fraction in (0, 1) of all samples, rounded up; or a count of 1 or more."""
    seed: int = 0
    """Of the choice."""

    def __post_init__(self) -> None:
        for name, value in (("validation", self.validation), ("test", self.test)):
            is_count = isinstance(value, int) and not isinstance(value, bool)
            if not (value >= 1 if is_count else 0 < value < 1):
                raise OptionError(
                    f"{name} must be a fraction above 0 and below 1, or a count, got {value!r}."
                )
        if self.seed < 0:
            raise OptionError(f"seed must be 0 or more, got {self.seed}.")

    def num_test(self, num_samples: int) -> int:
        """Test samples, of all."""
        if isinstance(self.test, int):
            return self._fits("test", self.test, num_samples)
        return self._fits("test", ceil(self.test * num_samples), num_samples)

    def num_validation(self, num_samples: int) -> int:
        """Validation samples, of those that are not test."""
        if isinstance(self.validation, int):
            return self._fits("validation", self.validation, num_samples)
        return self._fits("validation", max(1, round(self.validation * num_samples)), num_samples)

    def three(
        self,
        train: Whole,
        validation: Whole | None = None,
        test: Whole | None = None,
        *,
        classes: Tensor | None,
        take: Callable[[Whole, Tensor], Whole],
    ) -> tuple[Whole, Whole, Whole]:
        """Train, validation and test; those that are None are cut off `train`.

        Args:
            train: What is cut.
            validation: Kept as it is, if there is one.
            test: Kept as it is, if there is one.
            classes: `(samples,)` class ids of `train`, to keep their proportions; or None.
            take: The samples of a split at the positions `(chosen,)`.
        """
        rest = np.arange(len(train))
        if test is None:
            rest, held = self._hold(rest, self.num_test(len(rest)), classes)
            test = take(train, torch.from_numpy(held))
        if validation is None:
            rest, held = self._hold(rest, self.num_validation(len(rest)), classes)
            validation = take(train, torch.from_numpy(held))
        if len(rest) < len(train):
            train = take(train, torch.from_numpy(rest))
        return train, validation, test

    def _hold(self, rest: Index, num_held: int, classes: Tensor | None) -> tuple[Index, Index]:
        """What stays and what is held out, each in its old order."""
        of_rest = None if classes is None else classes.numpy()[rest]
        random = np.random.default_rng([self.seed, len(rest)])
        kept = _drawn(len(rest) - num_held, len(rest), of_rest, random)
        return rest[kept], rest[~kept]

    def _fits(self, name: str, num_held: int, num_samples: int) -> int:
        if num_held >= num_samples:
            raise DataError(
                f"the {name} split would take {num_held} of {num_samples} samples and leave none "
                f"to train on. Bring more samples, or a smaller `{name}`."
            )
        return num_held


def choose_labelled(
    amount: float, num_samples: int, classes: Tensor | None, *, seed: int
) -> Tensor:
    """Which samples show their labels, `(samples,)` bool.

    In proportion to the classes (Sainte-Lague's method), and at least one of each class if the
    amount allows it. A smaller amount chooses among those that a larger one chooses.

    Args:
        amount: A fraction in (0, 1], to the nearest sample; or, as an int, a count of 2 or more.
        num_samples: Samples to choose from.
        classes: `(samples,)` class ids; None to choose without regard to them.
        seed: Of the choice.

    Raises:
        OptionError: The amount is neither.
        DataError: The amount is larger than the split.
    """
    is_count = isinstance(amount, int) and not isinstance(amount, bool)
    if not (amount >= 1 if is_count else 0 < amount <= 1) or isinstance(amount, bool):
        raise OptionError(
            f"labelled must be a fraction above 0 and up to 1.0, or a count, got {amount!r}."
        )
    if is_count and amount == 1:
        raise OptionError(
            "labelled = 1 would be a single sample. Write 1.0 for all of them, or a count of 2 or "
            "more."
        )
    count = int(amount) if is_count else max(1, round(amount * num_samples))
    if count > num_samples:
        raise DataError(
            f"labelled must be at most the {num_samples} training samples, got {count}. Ask for "
            "fewer, or for a fraction."
        )
    of_all = None if classes is None else classes.numpy()
    return torch.from_numpy(_drawn(count, num_samples, of_all, np.random.default_rng(seed)))


def _drawn(
    count: int, num_samples: int, classes: Index | None, random: np.random.Generator
) -> NDArray[np.bool_]:
    """`count` samples, in proportion to the classes: one of each, then by Sainte-Lague's method."""
    order = random.permutation(num_samples)
    if classes is not None:
        shuffled = classes[order]
        by_class = np.argsort(shuffled, kind="stable")
        _, starts, sizes = np.unique(shuffled[by_class], return_index=True, return_counts=True)
        rank = np.empty(num_samples, dtype=np.int64)  # of a sample among those of its class
        rank[by_class] = np.arange(num_samples) - np.repeat(starts, sizes)
        size = np.empty(num_samples, dtype=np.int64)
        size[by_class] = np.repeat(sizes, sizes)
        order = order[np.lexsort(((rank + 0.5) / size, rank > 0))]
    chosen = np.zeros(num_samples, dtype=np.bool_)
    chosen[order[:count]] = True
    return chosen
