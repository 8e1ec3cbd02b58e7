"""Several transfer sets of the same samples, read as one: what their teachers say together."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

import torch
import xxhash
from torch import Tensor

from limbeck._agreement import check_agreement
from limbeck._errors import OptionError, ShapeError, TargetsError
from limbeck._files import fingerprint
from limbeck.data import Samples
from limbeck.signals import Dense, Head, Rows, Sparse
from limbeck.targets.format._index import Keys, data_fingerprint
from limbeck.targets.reading._aligned import AlignedTargets
from limbeck.targets.reading._mix import mix, mixed_tail_shape
from limbeck.targets.reading._positions import Positions, checked_positions
from limbeck.targets.reading._transfer_set import TransferSet

_BLOCK = 1024


class Ensemble:
    """Several transfer sets read as one: the weighted mean of the teachers' PROBABILITIES.

    Not of their logits: a dense row is the logarithm of the mean. Numbers of real heads are
    averaged as they are. Weights are divided by their sum.

    Args:
        members: Transfer sets of the same samples, heads and temperature; codecs may differ.
        weights: `(teachers,)` for all samples, or `(samples, teachers)` for each of `samples`:
            0 leaves a teacher out, so that a row of one 1 chooses who answers. None: all alike.
        samples: Whom weights of each sample are for: all samples of the transfer sets, in the
            order of the weights.
        agreement: Whether a student's loss weighs the teachers anew at every step, so that no
            teacher's own loss rises, if that can be (AE-KD, Du et al., NeurIPS 2020). For dense
            rows, and without `weights`; what is read is the mean, with each teacher's rows beside.

    Raises:
        TargetsError: The members are not of the same samples, heads or temperature.
        OptionError: A member is no transfer set; weights are negative, or sum to 0; or `agreement`
            is not for these.
        ShapeError: There are not as many weights as teachers or samples.

    Example:
        >>> both = Ensemble([TransferSet("one"), TransferSet("two")], weights=[0.7, 0.3])
        >>> limbeck.distil(student, data, both)
    """

    def __init__(
        self,
        members: Sequence[TransferSet],
        weights: Any = None,
        *,
        samples: Samples | None = None,
        agreement: bool = False,
    ) -> None:
        if not members:
            raise OptionError("an ensemble needs one transfer set or more, got none.")
        self.members = tuple(members)
        for member in self.members:
            if not isinstance(member, TransferSet):
                raise OptionError(
                    f"an ensemble is of transfer sets, got {member!r}. Open what lies in a folder: "
                    "TransferSet(folder)."
                )
        first = self.members[0]
        for other in self.members[1:]:
            _check_alike(first, other)
        self._at = [_same_rows(first, other, self.views) for other in self.members]
        self._weights = self._weights_of(weights, samples)
        self._agreement = agreement
        if agreement and weights is not None:
            raise OptionError("agreement finds its own weights at every step. Leave weights out.")
        for member in self.members if agreement else ():
            check_agreement(member.like, stored=str(member.folder))
        self._tail_shapes = {head.name: self._tail_shape(head) for head in self.heads}

    @property
    def heads(self) -> tuple[Head, ...]:
        """What was asked."""
        return self.members[0].heads

    @property
    def temperature(self) -> float:
        """T of categorical and binary rows."""
        return self.members[0].temperature

    @property
    def views(self) -> int:
        """How many views of each sample every member has, from view 0."""
        return min(member.views for member in self.members)

    @property
    def fingerprint(self) -> str:
        """16 hex digits of the members and their weights."""
        weights = xxhash.xxh3_64_hexdigest(self._weights.numpy().tobytes())
        how = ["agreement"] if self._agreement else []
        return fingerprint([[one.fingerprint for one in self.members], weights, *how])

    @cached_property
    def like(self) -> Mapping[str, Rows]:
        """A row of each head, for what all rows share: kind, temperature, shape of the tail."""
        return self.read(torch.zeros(1, dtype=torch.int64))

    def expect(
        self,
        *,
        heads: Sequence[Head] | None = None,
        transform: str | None = None,
        data: str | None = None,
        views: int | None = None,
    ) -> None:
        """Refuse members of something else, see `TransferSet.expect`."""
        for member in self.members:
            member.expect(heads=heads, transform=transform, data=data, views=views)

    def positions(self, keys: Keys, view: int = 0) -> Tensor:
        """Where the rows of these samples are, `(samples,)` int64: in the first member.

        Raises:
            OptionError: They are no keys.
            TargetsError: Some have no row.
        """
        if view >= self.views:
            self.expect(views=view + 1)
        return self.members[0].positions(keys, view)

    def read(self, positions: Positions) -> dict[str, Rows]:
        """The rows of the teachers together at these positions, `(samples,)`, by head.

        Raises:
            OptionError: There are no such positions.
        """
        positions = torch.tensor(checked_positions(positions, len(self._at[0])))
        said = [
            member.read(at[positions]) for member, at in zip(self.members, self._at, strict=True)
        ]
        weights = self._weights
        weights = weights[positions] if weights.dim() == 2 else weights.expand(len(positions), -1)
        mixed = {
            head.name: mix(
                [rows[head.name] for rows in said], weights, head, self._tail_shapes[head.name]
            )
            for head in self.heads
        }
        if not self._agreement:
            return mixed
        return {
            name: _with_members(mean, [rows[name] for rows in said]) for name, mean in mixed.items()
        }

    def aligned(self, samples: Samples) -> AlignedTargets:
        """The rows of these samples, by their place among them, for a training loop."""
        positions = [self.positions(samples.keys, view) for view in range(self.views)]
        return AlignedTargets(positions, self.read)

    def _weights_of(self, given: Any, samples: Samples | None) -> Tensor:
        """`(teachers,)`, or `(rows, teachers)` by the first member's positions; 1 in sum."""
        teachers = len(self.members)
        weights = torch.ones(teachers) if given is None else torch.as_tensor(given).float()
        wanted = (teachers,) if samples is None else (len(samples), teachers)
        if weights.shape != wanted:
            named = "(teachers,)" if samples is None else "(samples, teachers)"
            raise ShapeError(
                f"weights must be {named} = {wanted}, got {tuple(weights.shape)}. Weights of each "
                "sample need samples=, and weights of all samples go without."
            )
        total = weights.sum(dim=-1, keepdim=True)
        if not (weights >= 0).all() or not ((total > 0) & total.isfinite()).all():
            raise OptionError(
                "weights must be 0 or more, finite, and one of each sample above 0, got "
                f"{weights.min():g} to {weights.max():g}."
            )
        if samples is None:
            return weights / total
        first = self.members[0]
        if (of := data_fingerprint(samples.keys)) != first.manifest.settings.data:
            raise TargetsError(
                f"weights must be of all samples of {first.folder} "
                f"({first.manifest.settings.data}), got those of {of}. Give the samples that the "
                "teachers were asked about; a part of them can be read later."
            )
        by_row = torch.zeros(len(self._at[0]), teachers)
        for view in range(self.views):
            by_row[first.positions(samples.keys, view)] = weights / total
        return by_row

    def _tail_shape(self, head: Head) -> Tensor | None:
        """Of the mixed rows of a head."""
        rows = [member.like[head.name] for member in self.members]
        shapes = [row.tail_shape for row in rows if isinstance(row, Sparse)]
        weights = self._weights
        mean = weights.mean(dim=0) if weights.dim() == 2 else weights
        return mixed_tail_shape(shapes, mean) if len(shapes) == len(rows) else None


def most_confident(members: Sequence[TransferSet], samples: Samples) -> Tensor:
    """`(samples, teachers)`: weight 1 for the teacher whose first choice is the most probable.

    That of the first head, in view 0, on average over the rows of a sample; of equals the first.
    These are the weights of an `Ensemble` in which one teacher answers for each sample.

    Raises:
        OptionError: The head is not categorical.
    """
    head = members[0].heads[0]
    if head.space != "categorical":
        raise OptionError(
            f"the most confident of several is for categorical heads, got head {head.name}, "
            f"which is {head.space}. Give weights of your own."
        )
    confidence = torch.empty(len(samples), len(members))
    for number, member in enumerate(members):
        positions = member.positions(samples.keys)
        for start in range(0, len(samples), _BLOCK):
            rows = member.read(positions[start : start + _BLOCK])[head.name]
            best = _best(rows)
            confidence[start : start + _BLOCK, number] = best.reshape(len(best), -1).mean(dim=1)
    chosen = torch.nn.functional.one_hot(confidence.argmax(dim=1), len(members))
    return chosen.float()


def _best(rows: Rows) -> Tensor:
    """`(samples, ...)`: the probability of each row's first choice."""
    named = rows.to(torch.device("cpu"))
    if isinstance(named, Sparse):
        return named.probabilities.amax(dim=-1)
    return torch.softmax(named.values, dim=-1).amax(dim=-1)


def _with_members(mixed: Rows, said: Sequence[Rows]) -> Rows:
    """The mean of dense rows, with each teacher's own beside."""
    assert isinstance(mixed, Dense), "the constructor refuses others"
    each = [row.to(torch.device("cpu")).values for row in said if isinstance(row, Dense)]
    return replace(mixed, members=torch.stack(each))


def _check_alike(first: TransferSet, other: TransferSet) -> None:
    """Refuse members that cannot be read as one, by name."""
    other.expect(heads=first.heads)
    one, two = first.manifest.settings, other.manifest.settings
    found: Mapping[str, tuple[object, object]] = {
        "temperature": (one.temperature, two.temperature),
        "samples": (one.data, two.data),
        "views": (one.transform, two.transform),
        "rows of a sample": (first.manifest.rows_per_sample, other.manifest.rows_per_sample),
    }
    differing = [f"{what} {a} and {b}" for what, (a, b) in found.items() if a != b]
    if differing:
        raise TargetsError(
            f"transfer sets that are read as one must be alike, but {first.folder} and "
            f"{other.folder} have {'; '.join(differing)}. Capture one of them again."
        )


def _same_rows(first: TransferSet, other: TransferSet, views: int) -> Tensor:
    """By position in `first`, where the same sample's row of the same view is in `other`."""
    keys = first.keys
    found = torch.zeros(len(keys) * first.views, dtype=torch.int64)
    for view in range(views):
        found[first.positions(keys, view)] = other.positions(keys, view)
    return found
