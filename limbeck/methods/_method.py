"""What a method is: a card to choose it by, options, and the losses that it calls."""

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from limbeck._agreement import agreed
from limbeck.methods._paced import Paced, PacedLoss
from limbeck.methods._terms import DISTANCE, TermLoss
from limbeck.signals import Batch, Dense, Head, Rows, Space, Sparse

NotNegative = Annotated[float, Field(ge=0)]
Positive = Annotated[float, Field(gt=0)]

Loss = Callable[..., Tensor]
"""A function of `limbeck.losses`, or one like it. Its tensors are positional, in the order of
student, teacher, labels, as far as the method needs them; its options are keywords."""


class Options(BaseModel):
    """A method's options in a recipe, `distil.options`: none, unless a subclass has fields."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        strict=True,
        allow_inf_nan=False,
        use_attribute_docstrings=True,
    )


@dataclass(frozen=True, kw_only=True)
class Paper:
    """Where a method is from."""

    authors: str
    year: int
    link: str

    @property
    def told(self) -> str:
        """In one line."""
        return f"{self.authors} ({self.year}), {self.link}"


def told_hurt(points: float | None, tried: str) -> str:
    """What `bench/methods.py` found: a loss that is no chance; nothing where it found none."""
    if points is None:
        return ""
    how = tried or "at its defaults, which were not tuned, a student of 3,600 weights"
    return f"by {points:.1f} points, {how}, on fashion-mnist (bench/methods.py)"


@dataclass(frozen=True, kw_only=True)
class Card:
    """What one wants to know before one chooses a method."""

    called: tuple[str, ...] = ()
    """What else it is called, in papers and elsewhere."""
    line: str
    """What it is."""
    paper: Paper | None = None
    """Who found it; None of a loss of the user's own."""
    formula: str
    """The loss of a row, in plain characters, with the options by their names."""
    when: str
    """When to use it, and when not."""
    setting: str = ""
    """What the paper, or its code, sets elsewhere in a recipe: temperature and weights."""
    cost: float | None = None
    """Time of its loss, forward and backward, by that of a simple one: see `Described.simple_loss`.
    Measured by `bench/costs.py`; None before it is."""
    hurt: float | None = None
    """Points by which a student lost to its control, where that was no chance: see `told_hurt`."""
    tried: str = ""
    """How it was set for that, if not at its defaults."""
    notes: str = ""
    """What else it does that a user could stumble over."""

    @property
    def cost_factor(self) -> str:
        """The cost in a word: "1.4 x"; nothing where it is not known."""
        return "" if self.cost is None else f"{self.cost:.{0 if self.cost >= 10 else 1}f} x"


@dataclass(frozen=True, kw_only=True)
class Described(ABC):
    """What can be named as `distil.method`: a card, and options."""

    card: Card
    """What one wants to know of it."""
    options: type[Options] = Options
    """Its losses' options, by their keywords."""

    @property
    @abstractmethod
    def needs(self) -> tuple[str, ...]:
        """What must be there."""

    @property
    @abstractmethod
    def takes(self) -> dict[str, str]:
        """What it is for, in words, by what that is of."""

    @property
    @abstractmethod
    def simple_loss(self) -> str:
        """What its loss takes `Card.cost` times the time of, in words."""

    @property
    def facts(self) -> dict[str, str]:
        """The card, for people: each fact by what it says."""
        card = self.card
        cost = f"its loss takes about {card.cost_factor} the time of {self.simple_loss}"
        told = {
            "also called": ", ".join(card.called),
            "paper": "" if card.paper is None else card.paper.told,
            "formula": card.formula,
            "when": card.when,
            "needs": ", ".join(self.needs),
            **self.takes,
            "cost": cost if card.cost else "",
            "hurt": told_hurt(card.hurt, card.tried),
            "in the paper": card.setting,
            "notes": card.notes,
        }
        return {what: text for what, text in told.items() if text}

    @property
    def option_rows(self) -> list[tuple[str, str, str]]:
        """Each option: its name, default as TOML writes it, if it has one, and what it is."""
        return [
            (
                name,
                "" if field.is_required() else json.dumps(field.default, default=repr),
                " ".join((field.description or "").split()),
            )
            for name, field in self.options.model_fields.items()
        ]


@dataclass(frozen=True, kw_only=True)
class Method(Described):
    """A distillation objective for rows: one loss, in the form that the rows at hand need."""

    dense: Mapping[Space, Loss]
    """By the spaces of heads it is for: a loss of logits, or numbers, called with `temperature`
    and the options."""
    sparse: Loss | None = None
    """A loss of `Sparse` rows, called with the options; None if it needs every class."""
    from_teacher: bool = True
    """False for a loss that learns from labels alone."""
    with_labels: bool = False
    """True for a loss that needs labels, and so counts labelled samples only."""
    whole_batch: bool = False
    """True for a loss that compares the rows of a batch with each other."""
    counted_only: bool = False
    """True for a loss that is not to be given rows that do not count, as one of whole batches."""
    learns: type[Paced] | None = None
    """For a loss that learns something itself: made with the options for each learner, and called
    in place of the one of `dense`."""
    promises: frozenset[str] = DISTANCE
    """What `limbeck doctor` measures of the loss."""

    @property
    def spaces(self) -> tuple[Space, ...]:
        """The heads that it is for."""
        return tuple(self.dense)

    @property
    def needs(self) -> tuple[str, ...]:
        """What must be there: of "rows", "dense rows", "labels" and "whole batches"."""
        asked = {
            "rows": self.from_teacher and self.sparse is not None,
            "dense rows": self.from_teacher and self.sparse is None,
            "labels": self.with_labels,
            "whole batches": self.whole_batch,
        }
        return tuple(name for name, needed in asked.items() if needed)

    @property
    def simple_loss(self) -> str:
        """That towards labels."""
        return "cross-entropy of the same rows, 4096 of 1000 classes"

    @property
    def takes(self) -> dict[str, str]:
        """The spaces of its heads."""
        return {"heads": ", ".join(self.spaces)}

    def loss(self, head: Head, *, temperature: float, options: Options) -> TermLoss:
        """The loss of a head's rows."""
        set_to = options.model_dump()
        if self.learns is not None:
            learned = self.learns(**set_to)
            return PacedLoss(learned, partial(self._towards, head, temperature=temperature))
        dense = partial(self.dense[head.space], temperature=temperature, **set_to)
        sparse = None if self.sparse is None else partial(self.sparse, **set_to)
        return self._towards(head, dense, sparse, temperature=temperature)

    def _towards(
        self, head: Head, dense: Loss, sparse: Loss | None = None, *, temperature: float
    ) -> TermLoss:
        """A loss of the rows at hand from a loss of tensors."""

        def towards_teacher(student: Tensor, teacher: Rows | None, batch: Batch) -> Tensor:
            labels = [batch.labels[head.name]] if self.with_labels else []
            others = labels
            if self.from_teacher:
                assert teacher is not None, "a method that needs rows is only asked with them"
                if isinstance(teacher, Dense) and teacher.members is not None:
                    counts = batch.rows_that_count(with_labels=False)
                    teacher = agreed(teacher, student, head.space, counts)
                if isinstance(teacher, Sparse):
                    assert sparse is not None, "check_rows refuses these rows"
                    return sparse(student, teacher.moved(temperature), *labels)
                said = teacher.values if head.space == "real" else teacher.logits
                others = [said, *labels]
            counts = batch.rows_that_count(with_labels=self.with_labels)
            if (self.whole_batch or self.counted_only) and counts is not None:
                return _of_those_that_count(dense, counts, student, *others)
            return dense(student, *others)

        return towards_teacher


def _of_those_that_count(loss: Loss, counts: Tensor, student: Tensor, *others: Tensor) -> Tensor:
    """Values, of rows that no other row is compared with if it does not count."""
    found = loss(student[counts], *(other[counts] for other in others))
    values = found.new_zeros(student.shape[:-1])
    values[counts] = found
    return values


def without_temperature(loss: Loss) -> Loss:
    """A loss that has no temperature, called with one."""

    def loss_at_any(*tensors: Tensor, temperature: float, **options: object) -> Tensor:
        return loss(*tensors, **options)

    return loss_at_any


def of_density(loss: Loss) -> Loss:
    """A loss of `Sparse` rows that is not linear in them: what was drawn goes into the tail."""

    def loss_of_density(
        student: Tensor, rows: Sparse, *labels: Tensor, **options: object
    ) -> Tensor:
        return loss(student, rows.density, *labels, **options)

    return loss_of_density


def one_above_zero(**weights: float) -> None:
    """Refuse weights that leave nothing of a loss.

    Raises:
        ValueError: All are 0.
    """
    if not any(weights.values()):
        raise ValueError(f"{' or '.join(weights)} must be above 0")
