"""Who learns in a pass, and what a pass leaves."""

from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass, field, replace

from torch import nn

from limbeck._errors import OptionError
from limbeck._lookup import check_choice
from limbeck._outputs import OUTPUTS
from limbeck.methods import Objective, Term, learns_from
from limbeck.signals import Batch, Rows

Teach = Callable[[Batch], Mapping[str, Rows]]
"""What the teacher says of a batch, from the transfer set or live: a loss cannot tell."""


@dataclass(frozen=True, kw_only=True)
class Learner:
    """One model that learns in a pass."""

    name: str
    """What it is called in messages and logs."""
    model: nn.Module
    """It is changed in place."""
    objective: Objective
    """What it learns from."""
    outputs: str = "logits"
    """"logits", or "probabilities", whose logarithms are its logits."""

    balance: int | None = None
    """Every how many steps the losses are weighed anew by their gradients; None for never."""

    def __post_init__(self) -> None:
        check_choice("outputs", self.outputs, OUTPUTS)
        if self.balance is not None and self.balance < 1:
            raise OptionError(f"balance must be 1 or more steps, got {self.balance}.")
        # What a loss learns is this learner's own, whoever else has the same objective.
        own = tuple(
            replace(term, loss=deepcopy(term.loss))
            if isinstance(term, Term) and term.module is not None
            else term
            for term in self.objective
        )
        object.__setattr__(self, "objective", own)

    @property
    def taps(self) -> list[str]:
        """The modules inside the model that its objective looks at, by path."""
        return sorted({path for term in self.objective for path in term.student_taps})

    @property
    def has_peers(self) -> bool:
        """Whether it learns from the other students of its pass, and they from it."""
        return any(learns_from("peers", term) for term in self.objective)

    @property
    def decay(self) -> float | None:
        """Of the moving average of its weights, where it learns from that."""
        decays = [term.decay for term in self.objective if isinstance(term, Term)]
        return next((decay for decay in decays if decay is not None), None)

    @property
    def beside(self) -> nn.ModuleList:
        """What learns beside the model, and is not kept: projections, memories, branches."""
        modules = [term.module for term in self.objective if term.module is not None]
        return nn.ModuleList(dict.fromkeys(modules))  # branches are of several terms


@dataclass(frozen=True, kw_only=True)
class History:
    """How one model's training went, epoch by epoch."""

    loss: list[float] = field(default_factory=list)
    """Mean weighted loss of each epoch."""
    terms: dict[str, list[float]] = field(default_factory=dict)
    """Mean of each term, unweighted."""
    validation: list[float | None] = field(default_factory=list)
    """Validation score after each epoch; None where it was not measured."""


@dataclass(frozen=True, kw_only=True)
class Fitted:
    """What a pass leaves beside the changed models."""

    histories: dict[str, History]
    """By learner."""
    seconds: float
    """Time spent, over all the times that the pass was continued."""
    samples_seen: int
    """How many samples each learner saw, repeats included."""
