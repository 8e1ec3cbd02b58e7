"""What `limbeck tune` may change of a recipe, and between what bounds."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from limbeck.methods import find_method, fitting_methods
from limbeck.recipe import Recipe
from limbeck.signals import Dense, Head, Rows

_TEMPERATURES = (1.0, 12.0)
_MOST_FROM_LABELS = 0.9
"""The largest weight of the labels: the teacher has the rest."""
_AROUND = 4.0
"""The learning rate lies between the recipe's divided and multiplied by this."""


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """One setting of the basics."""

    method: str
    """A key of `METHODS`; with the recipe's own options if it is the recipe's, else the paper's."""
    temperature: float
    """T of the loss."""
    hard_weight: float
    """Weight of the labels, 0 to 1."""
    soft_weight: float
    """Weight of the teacher."""
    learning_rate: float
    """Its largest value."""
    epochs: int
    """How long."""

    @classmethod
    def of(cls, recipe: Recipe) -> "Candidate":
        """What a recipe says itself."""
        distil, train = recipe.distil, recipe.train
        return cls(
            method=distil.method,
            temperature=distil.temperature or recipe.targets.temperature,
            hard_weight=distil.hard_weight,
            soft_weight=distil.soft_weight,
            learning_rate=train.learning_rate,
            epochs=train.epochs,
        )

    @property
    def facts(self) -> dict[str, Any]:
        """All of it, as JSON writes it."""
        return asdict(self)

    def put_in(self, recipe: Recipe) -> Recipe:
        """The recipe with this setting in place of its own."""
        same = self.method == recipe.distil.method
        distil = recipe.distil.model_copy(
            update={
                "method": self.method,
                "options": recipe.distil.options if same else {},
                "temperature": self.temperature,
                "hard_weight": self.hard_weight,
                "soft_weight": self.soft_weight,
            }
        )
        train = recipe.train.model_copy(
            update={"learning_rate": self.learning_rate, "epochs": self.epochs}
        )
        return recipe.model_copy(update={"distil": distil, "train": train})


@dataclass(frozen=True, kw_only=True)
class SearchSpace:
    """The bounds that candidates are looked for between."""

    methods: Sequence[str]
    """Those that can learn from the stored rows of these heads."""
    temperature: tuple[float, float]
    """Least and largest; the same where rows can be read at one temperature only."""
    learning_rate: tuple[float, float]
    epochs: Sequence[int]
    """Half as long as the recipe, as long, and twice as long."""
    hard_weight: tuple[float, float] = (0.0, _MOST_FROM_LABELS)

    @classmethod
    def of(
        cls,
        recipe: Recipe,
        heads: Sequence[Head],
        rows: Mapping[str, Rows],
        *,
        every_label: bool,
    ) -> "SearchSpace":
        """What there is to choose from for a recipe whose targets are such rows.

        Args:
            recipe: Where the search begins.
            heads: What the models answer.
            rows: Some stored rows of each head.
            every_label: Whether every sample has one: a method that counts labelled samples alone
                would leave what the teacher says of the others.
        """
        own = Candidate.of(recipe)
        # A dense row holds logits, which can be read at any temperature.
        free = any(head.space != "real" for head in heads) and all(
            isinstance(part, Dense) for part in rows.values()
        )
        return cls(
            methods=[
                name
                for name in fitting_methods(recipe, heads, rows)
                if every_label or not find_method(name).with_labels
            ],
            temperature=_TEMPERATURES if free else (own.temperature, own.temperature),
            learning_rate=(own.learning_rate / _AROUND, own.learning_rate * _AROUND),
            epochs=sorted({math.ceil(own.epochs / 2), own.epochs, 2 * own.epochs}),
        )
