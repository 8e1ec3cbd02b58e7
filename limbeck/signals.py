"""What is said about a sample: heads, their rows, and the batch that carries them.

A loss sees only these. It cannot tell a live teacher from a stored one, nor a torch module from
a table of answers.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal, NoReturn, TypeAlias

import torch
from torch import Tensor

from limbeck._devices import sent
from limbeck._errors import OptionError, TargetsError

Space = Literal["categorical", "binary", "real"]
"""How two answers of a head compare: logits over classes, one logit for each class, numbers."""

Inputs: TypeAlias = Tensor | dict[str, Tensor]
"""What a model is called with: one tensor, or the keyword arguments of a transformers model."""


@dataclass(frozen=True, kw_only=True)
class Head:
    """One named output of a model.

    Raises:
        OptionError: Some of its classes have a name, and some have none.
    """

    name: str = "label"
    """Its name: a key of a model's output where that is a dict of several heads."""
    space: Space
    """How its answers compare."""
    size: int
    """Number of classes, or of numbers: the last axis of its rows."""
    classes: tuple[str, ...] = ()
    """The names of the classes, in order; empty where they have none."""

    def __post_init__(self) -> None:
        if self.classes and len(self.classes) != self.size:
            raise OptionError(
                f"classes of head {self.name} must be {self.size} names, one for each, or none, "
                f"got {len(self.classes)}."
            )


@dataclass(frozen=True, kw_only=True)
class Dense:
    """Rows that hold every entry of a head."""

    values: Tensor
    """`(..., size)`: log-probabilities (categorical) or log-odds (binary) at `temperature`,
    or plain numbers (real)."""
    temperature: float = 1.0
    """The temperature T > 0 that `values` were taken at."""
    members: Tensor | None = None
    """`(teachers, ..., size)`: what each of several teachers said, where a loss is to weigh them;
    `values` is their mean. None where there is one, or they are weighed already."""

    @property
    def logits(self) -> Tensor:
        """`(..., size)`: what the teacher said at T = 1, up to a constant per row."""
        return self.values * self.temperature if self.temperature != 1.0 else self.values

    def of_samples(self, rows: int) -> "Dense":
        """Rows `(samples * rows, size)` as `(samples, rows, size)`."""
        members = self.members
        return replace(
            self,
            values=_grouped(self.values, rows),
            members=None
            if members is None
            else members.reshape(len(members), -1, rows, *members.shape[2:]),
        )

    def select(self, index: Tensor) -> "Dense":
        """The rows of these samples: `index` is `(batch,)` into the first axis."""
        members = None if self.members is None else self.members[:, index]
        return replace(self, values=self.values[index], members=members)

    def to(self, device: torch.device) -> "Dense":
        """The same rows on `device`, in float32."""
        members = None if self.members is None else sent(self.members, device).float()
        return replace(self, values=sent(self.values, device).float(), members=members)


@dataclass(frozen=True, kw_only=True)
class Sparse:
    """Rows that hold the named entries of a categorical head and the mass of all others.

    An entry of probability 0 is padding: it names nothing, whatever its id, and its class is one of
    the others.
    """

    ids: Tensor
    """`(..., kept)`: integer class ids, no class named twice in a row."""
    probabilities: Tensor
    """`(..., kept)`: their probabilities at `temperature`, 0 or more."""
    tail: Tensor
    """`(...)`: the probability of all classes that are not named. Of rows with drawn entries, which
    stand for it, this is no part: it is what `density` assumes of a row that drew none."""
    temperature: float = 1.0
    """The temperature T > 0 of the probabilities. A tail alone cannot be moved to another one."""
    tail_shape: Tensor | None = None
    """`(classes,)`, shared by all rows: log-weights, up to a constant, by which the tail spreads
    over the classes that are not named; None where nothing is known of that."""
    drawn: Tensor | None = None
    """`(..., kept)` bool: entries drawn at random, whose value stands for others that were not:
    right on average, and not the class's own probability. None where there are none."""
    own: Tensor | None = None
    """`(..., kept)`: the logarithm of the own probability of each drawn entry, which another
    temperature needs; None where it was not kept."""
    temperatures: tuple[float, ...] = ()
    """Other temperatures that the rows can be moved to."""
    log_normalisers: Tensor | None = None
    """`(..., temperatures)`: for each of these, the logarithm of the sum over all classes of what
    their probabilities become there, before they are divided by that sum."""

    @property
    def logits(self) -> NoReturn:
        """There are none: not every class was kept.

        Raises:
            TargetsError: It names what to do.
        """
        raise TargetsError(
            "sparse rows have no logits: they name a few classes, and the mass of all others. Take "
            "limbeck.losses.sparse_soft_targets(student_logits, rows), or another loss of sparse "
            "rows; or store with a codec that keeps every class, such as dense16."
        )

    def of_samples(self, rows: int) -> "Sparse":
        """Rows `(samples * rows, ...)` as `(samples, rows, ...)`."""
        return self._with_rows(lambda part: _grouped(part, rows))

    @property
    def flat(self) -> "Sparse":
        """The same rows one after the other: `(...)` is `(rows,)`."""
        leading = self.tail.dim()
        return self._with_rows(lambda part: part.reshape(self.tail.numel(), *part.shape[leading:]))

    def select(self, index: Tensor) -> "Sparse":
        """The rows of these samples: `index` is `(batch,)` into the first axis."""
        return self._with_rows(lambda part: part[index])

    def to(self, device: torch.device) -> "Sparse":
        """The same rows on `device`, ids in int64 and numbers in float32."""
        moved = self._with_rows(lambda part: sent(part, device))
        return replace(
            moved,
            ids=moved.ids.long(),
            probabilities=moved.probabilities.float(),
            tail=moved.tail.float(),
            tail_shape=None if self.tail_shape is None else sent(self.tail_shape, device),
        )

    def moved(self, temperature: float) -> "Sparse":
        r"""The same rows at another temperature, of those that were stored.

        $p_i^{T_0 / T} / Z_T$ for each named class, with $Z_T$ the stored sum over all classes. A
        drawn class was drawn with probability $p_i / v$, $v$ the value that it stands for, and then
        stands for $v p_i^{T_0 / T - 1} / Z_T$: still right on average, but the further from $T_0$,
        the more by chance. The shape of the tail is a guess: the power of the mean is not the mean
        of the powers.

        Raises:
            TargetsError: The rows do not say what they are at this temperature.
        """
        if math.isclose(temperature, self.temperature):
            return self
        near = [math.isclose(temperature, each) for each in self.temperatures]
        if self.log_normalisers is None or not any(near):
            known = ", ".join(f"{each:g}" for each in (self.temperature, *self.temperatures))
            raise TargetsError(
                f"these rows name some classes at temperature {known}, and cannot be moved to "
                f"{temperature:g}. Set distil.temperature to one of theirs, or store them again."
            )
        power = self.temperature / temperature
        sums = self.log_normalisers[..., near.index(True)].exp()[..., None]
        named = self.probabilities.pow(power)
        if self.drawn is not None and self.own is not None:
            stands_for = self.probabilities * (self.own * (power - 1)).exp()
            named = torch.where(self.drawn, stands_for, named)
        named = named / sums
        return Sparse(
            ids=self.ids,
            probabilities=named,
            tail=self.tail if self.drawn is not None else _rest(named),
            temperature=temperature,
            tail_shape=None if self.tail_shape is None else self.tail_shape * power,
            drawn=self.drawn,
        )

    @property
    def density(self) -> "Sparse":
        """Each row as a distribution: what was drawn goes back into the tail, and all sum to 1.

        For losses that are not linear in the teacher's probabilities. Rows without drawn entries
        are a distribution already.
        """
        if self.drawn is None:
            return self
        named = self.probabilities.masked_fill(self.drawn, 0.0)
        drawn = (self.probabilities - named).sum(dim=-1)  # (...)
        drawn = torch.where(drawn > 0, drawn, self.tail)
        total = named.sum(dim=-1) + drawn
        return replace(
            self,
            probabilities=named / total[..., None],
            tail=drawn / total,
            drawn=None,
            own=None,
        )

    @property
    def top(self) -> "Sparse":
        """The named entries alone, as a list of the most probable says them.

        What was drawn is in the tail, of which nothing is known but its mass.
        """
        return replace(self.density, tail_shape=None)

    def _with_rows(self, change: Callable[[Tensor], Tensor]) -> "Sparse":
        """Every part that has an entry for each row, changed."""
        return replace(
            self,
            ids=change(self.ids),
            probabilities=change(self.probabilities),
            tail=change(self.tail),
            drawn=None if self.drawn is None else change(self.drawn),
            own=None if self.own is None else change(self.own),
            log_normalisers=None if self.log_normalisers is None else change(self.log_normalisers),
        )


def _rest(named: Tensor) -> Tensor:
    """What named probabilities leave of 1; nothing where their rounding made them more."""
    return (1 - named.sum(dim=-1)).clamp_min(0.0)


def _grouped(tensor: Tensor, rows: int) -> Tensor:
    return tensor.reshape(-1, rows, *tensor.shape[1:])


Rows: TypeAlias = Dense | Sparse


@dataclass(frozen=True, kw_only=True)
class Signals:
    """What a loss sees of one model for one batch."""

    rows: Mapping[str, Rows]
    """By head. A sample has one row, `(batch, size)`, or many, `(batch, rows, size)`."""
    features: Mapping[str, Tensor] = field(default_factory=dict)
    """Named inner tensors, `(batch, ...)`."""


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Some samples of a split, as tensors."""

    inputs: Inputs
    """What the model is called with, `(batch, ...)`."""
    labels: Mapping[str, Tensor]
    """By head: `(batch,)` or `(batch, rows)` class ids, or `(batch, size)` numbers."""
    index: Tensor
    """`(batch,)`: the samples' positions in their split."""
    labelled: Tensor | None = None
    """`(batch,)` bool: the samples whose labels may be used; None when all may."""
    mask: Tensor | None = None
    """`(batch, rows)` bool: the rows that count; None when all do."""
    view: int = 0
    """The view these inputs are; 0 is the sample as it came."""

    def __len__(self) -> int:
        return int(self.index.shape[0])

    def slice(self, start: int, stop: int) -> "Batch":
        """The samples from `start` up to `stop`, as views of the same memory."""
        inputs = self.inputs
        return Batch(
            inputs={name: tensor[start:stop] for name, tensor in inputs.items()}
            if isinstance(inputs, dict)
            else inputs[start:stop],
            labels={name: tensor[start:stop] for name, tensor in self.labels.items()},
            index=self.index[start:stop],
            labelled=None if self.labelled is None else self.labelled[start:stop],
            mask=None if self.mask is None else self.mask[start:stop],
            view=self.view,
        )

    def to(self, device: torch.device) -> "Batch":
        """The same batch on `device`; `index` stays where it is."""
        inputs = self.inputs
        return Batch(
            inputs={name: sent(tensor, device) for name, tensor in inputs.items()}
            if isinstance(inputs, dict)
            else sent(inputs, device),
            labels={name: sent(tensor, device) for name, tensor in self.labels.items()},
            index=self.index,
            labelled=None if self.labelled is None else sent(self.labelled, device),
            mask=None if self.mask is None else sent(self.mask, device),
            view=self.view,
        )

    def rows_that_count(self, *, with_labels: bool) -> Tensor | None:
        """Bool `(batch,)` or `(batch, rows)`: the rows a loss averages over; None means all.

        Args:
            with_labels: True for a supervised loss, which may see labelled samples only.
        """
        if not with_labels or self.labelled is None:
            return self.mask
        if self.mask is None:
            return self.labelled
        return self.mask & self.labelled[:, None]  # (batch, rows)

    def count(self, *, with_labels: bool) -> int:
        """How much of the batch a loss averages over: samples, or rows where there is a mask."""
        counted = self.rows_that_count(with_labels=with_labels)
        return len(self) if counted is None else int(counted.sum())
