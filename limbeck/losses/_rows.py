"""`Sparse` rows as a loss reads them: checked, in one precision, with a tail that has room."""

from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from limbeck._errors import OptionError, ShapeError
from limbeck._shapes import check_leading_shape, check_positive, check_same_shape
from limbeck.losses._soft_targets import at_least_float32
from limbeck.signals import Sparse

_NO_ROOM = 1e-12
"""Weight of the classes that are not named at which no tail can lie on them: it is rounding."""


@dataclass(frozen=True, kw_only=True)
class Spread:
    """How the tails lie on the classes that are not named."""

    log_weights: Tensor
    """`(classes,)` float64, of weights that sum to 1 over all classes."""
    share: Tensor
    """`(...)` float64: what the classes that a row does not name have of these weights, above 0."""
    entropy: Tensor
    """`(...)` float64: of these classes' distribution, in nats."""


@dataclass(frozen=True, kw_only=True)
class Reading:
    """What rows say, without a gradient."""

    ids: Tensor
    """`(..., kept)` int64: the named classes; `classes`, one after the last, is padding."""
    named: Tensor
    """`(..., kept)`: their probabilities, in float32 or better."""
    tail: Tensor
    """`(...)`: the probability of all others; 0 where there are none."""
    spread: Spread | None
    """None where nothing is known of that."""


def read(student_logits: Tensor, rows: Sparse) -> Reading:
    """What `rows` say to these logits, `(..., classes)`.

    Raises:
        OptionError: The rows' temperature is not above 0.
        ShapeError: The shapes do not fit.
    """
    check_positive(temperature=rows.temperature)
    check_same_shape(ids=rows.ids, probabilities=rows.probabilities)
    check_leading_shape(last="classes", student_logits=student_logits, tail=rows.tail)
    if rows.ids.shape[:-1] != rows.tail.shape:
        raise ShapeError(
            f"ids must be (..., kept) with the leading shape of tail {tuple(rows.tail.shape)}, got "
            f"{tuple(rows.ids.shape)}."
        )
    classes = student_logits.shape[-1]
    if rows.tail_shape is not None and rows.tail_shape.shape != (classes,):
        raise ShapeError(
            f"tail_shape must have one weight for each class of student_logits: expected "
            f"({classes},), got {tuple(rows.tail_shape.shape)}."
        )
    named = at_least_float32(rows.probabilities.detach())
    tail = at_least_float32(rows.tail.detach())
    if rows.drawn is not None:
        tail = torch.zeros_like(tail)  # what was drawn stands for it
    ids = rows.ids.long().masked_fill(named == 0, classes)
    spread = None
    no_room = (ids < classes).sum(dim=-1) == classes
    if rows.tail_shape is not None:
        spread, no_room = _spread(rows.tail_shape.detach(), ids)
    return Reading(ids=ids, named=named, tail=tail.masked_fill(no_room, 0.0), spread=spread)


def read_density(student_logits: Tensor, rows: Sparse) -> Reading:
    """The same, for a loss that is not linear in the teacher's probabilities.

    A tail of 0 is one too small to be stored, or a divergence from the student's side were infinite
    wherever the teacher is sure: it is the smallest number of float32 then.

    Raises:
        OptionError: Entries were drawn, or the rows' temperature is not above 0.
        ShapeError: The shapes do not fit.
    """
    if rows.drawn is not None:
        raise OptionError(
            "drawn entries are right on average only, and this loss is not linear in them. Give it "
            "rows.density, or take sparse_soft_targets."
        )
    tail = at_least_float32(rows.tail).clamp_min(torch.finfo(torch.float32).tiny)
    return read(student_logits, replace(rows, tail=tail))


def _spread(tail_shape: Tensor, ids: Tensor) -> tuple[Spread, Tensor]:
    """How the tails spread, and `(...)` bool: the rows that leave no room for one."""
    # In float64, for what is not named is all less what is named.
    log_weights = torch.log_softmax(tail_shape.double(), dim=0)
    weights = log_weights.exp()
    surprise = -weights * log_weights.masked_fill(weights == 0, 0.0)  # (classes,)
    share = 1 - F.pad(weights, (0, 1))[ids].sum(dim=-1)  # (...)
    no_room = share < _NO_ROOM
    share = share.masked_fill(no_room, 1.0)
    entropy = (surprise.sum() - F.pad(surprise, (0, 1))[ids].sum(dim=-1)) / share + share.log()
    return Spread(log_weights=log_weights, share=share, entropy=entropy), no_room
