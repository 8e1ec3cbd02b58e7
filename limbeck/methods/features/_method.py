"""What a feature method is: soft targets, and a loss of what modules inside the two models give."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from torch import Tensor, nn

from limbeck._errors import ModelError, ShapeError
from limbeck.methods._method import Described, Method
from limbeck.methods._paced import Paced
from limbeck.methods._soft_targets import soft_targets
from limbeck.methods.features._classifiers import Classifier
from limbeck.signals import Batch

Side = Literal["student", "teacher"]
Kind = Literal["maps", "tokens", "vectors"]
"""`(batch, channels, height, width)`, `(batch, tokens, features)` and `(batch, features)`."""
KINDS: dict[int, Kind] = {3: "maps", 2: "tokens", 1: "vectors"}
"""By the axes of one sample."""


@dataclass(frozen=True, kw_only=True)
class Pair:
    """A student's module and the teacher's that it is compared with, before training."""

    student: tuple[int, ...]
    """The shape of what the student's gives for one sample."""
    teacher: tuple[int, ...]
    """Of what the teacher's gives."""
    num_samples: int
    """How many samples there are to learn from."""
    student_classifier: Classifier | None = None
    """What the student answers by from these features, if the method asks for it: it learns, and is
    the student's own."""
    teacher_classifier: Classifier | None = None
    """What the teacher does."""

    @property
    def channels(self) -> tuple[int, int]:
        """The student's channels and the teacher's; of tokens and vectors their features."""
        of = {3: 0, 2: 1, 1: 0}
        return self.student[of[len(self.student)]], self.teacher[of[len(self.teacher)]]


Make = Callable[..., nn.Module]
"""Called with a sequence of `Pair`s and the options: a module that is called with the student's
features, the teacher's and the `Batch`, and gives one value per sample."""


@dataclass(frozen=True, kw_only=True)
class FeatureMethod(Described):
    """A distillation objective for features: soft targets, and a loss of taps."""

    make: Make
    """Its loss, with what that learns."""
    weight: float
    """`distil.feature_weight`, where a recipe leaves it out: the paper's, or its code's."""
    kinds: tuple[Kind, ...]
    """What its taps may give."""
    same_kind: bool = True
    """Whether both sides of a tap must be of one kind."""
    fewest_taps: int = 1
    """How many taps it needs."""
    most_taps: int | None = None
    """How many it takes; None for any number."""
    classifiers: tuple[Side, ...] = ()
    """Whose classifiers it needs: each tap of that side must be what one answers from."""
    whole_batch: bool = False
    """True for a loss that compares the samples of a batch with each other."""

    @property
    def rows(self) -> Method:
        """How the teacher's rows are learned beside its features."""
        return soft_targets

    @property
    def with_labels(self) -> bool:
        """It needs none."""
        return False

    @property
    def needs(self) -> tuple[str, ...]:
        """What must be there: "rows", "features"; "classifiers" and "whole batches" for some."""
        others = {"classifiers": bool(self.classifiers), "whole batches": self.whole_batch}
        return ("rows", "features", *(name for name, needed in others.items() if needed))

    @property
    def how_many_taps(self) -> str:
        """In words."""
        if self.fewest_taps == self.most_taps:
            return f"exactly {self.fewest_taps}"
        return "one or more" if self.fewest_taps == 1 else f"{self.fewest_taps} or more"

    @property
    def simple_loss(self) -> str:
        """That between features of one size."""
        return "the squared error of the same features"

    @property
    def takes(self) -> dict[str, str]:
        """What its taps may give, and how much they weigh."""
        return {
            "taps": f"{self.how_many_taps}, of {', '.join(self.kinds)}",
            "feature_weight": f"{self.weight:g}, if left out",
        }

    def check(self, pairs: Sequence[Pair], taps: Sequence[tuple[str, str]]) -> None:
        """Refuse features that it is not for.

        Raises:
            ShapeError: It names the tap.
            ModelError: A classifier that the method needs is not there; it names the tap.
        """
        for pair, (student, teacher) in zip(pairs, taps, strict=True):
            kinds = [KINDS.get(len(shape)) for shape in (pair.student, pair.teacher)]
            fit = all(kind in self.kinds for kind in kinds)
            if not fit or (self.same_kind and len(set(kinds)) > 1):
                alike = ", the same on both sides" if self.same_kind and len(self.kinds) > 1 else ""
                raise ShapeError(
                    f"this method's taps must give {' or '.join(self.kinds)}{alike}; for one "
                    f"sample student {student!r} gives {pair.student}, teacher {teacher!r} "
                    f"{pair.teacher}. `limbeck layers RECIPE` lists modules with their shapes."
                )
            found = {"student": pair.student_classifier, "teacher": pair.teacher_classifier}
            paths = {"student": student, "teacher": teacher}
            for side in self.classifiers:
                if found[side] is None:
                    raise ModelError(
                        f"this method needs the layer by which the {side} answers, and no linear "
                        f"layer answers from what its module {paths[side]!r} gives, as it is or "
                        "averaged over positions. Tap what the last layer reads."
                    )


class EachTap(Paced):
    """The sum of a loss over all taps.

    Args:
        parts: One module for each, called with the student's features, the teacher's and the batch.
    """

    progressive: float = 0.0
    """The share of training over which taps join, one after another: the first is there at once,
    the last from then on. At 0 all are there at once."""

    def __init__(self, parts: Sequence[nn.Module]) -> None:
        super().__init__()
        self.parts = nn.ModuleList(parts)

    @property
    def joined(self) -> int:
        """How many taps are there already."""
        last = max(len(self.parts) - 1, 1)
        return sum(self.done >= self.progressive * place / last for place in range(len(self.parts)))

    def forward(self, student: Sequence[Tensor], teacher: Sequence[Tensor], batch: Batch) -> Tensor:
        """One value per sample, `(batch,)`."""
        taps = list(zip(self.parts, student, teacher, strict=True))[: self.joined]
        values = [part(ours, theirs, batch) for part, ours, theirs in taps]
        total: Tensor = sum(values[1:], values[0])
        return total


def each(make_one: Callable[..., nn.Module]) -> Make:
    """A loss of every tap by itself, from how one of them is made: `make_one(pair, **options)`."""

    def make(pairs: Sequence[Pair], **options: Any) -> nn.Module:
        return EachTap([make_one(pair, **options) for pair in pairs])

    return make


class Plain(nn.Module):
    """A loss of features that learns nothing itself.

    Args:
        loss: Called with the student's features, the teacher's and the batch.
    """

    def __init__(self, loss: Callable[[Tensor, Tensor, Batch], Tensor]) -> None:
        super().__init__()
        self._loss = loss

    def forward(self, student: Tensor, teacher: Tensor, batch: Batch) -> Tensor:
        """One value per sample, `(batch,)`."""
        return self._loss(student, teacher, batch)


def plain(loss: Callable[..., Tensor]) -> Make:
    """A loss of every tap by itself that learns nothing.

    Args:
        loss: Called as `loss(student, teacher, batch, **options)`.
    """

    def make(pairs: Sequence[Pair], **options: Any) -> nn.Module:
        def of_one(student: Tensor, teacher: Tensor, batch: Batch) -> Tensor:
            return loss(student, teacher, batch, **options)

        return EachTap([Plain(of_one) for _ in pairs])

    return make
