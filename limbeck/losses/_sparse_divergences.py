"""The other divergences, from `Sparse` rows.

Each is its dense loss, on what both sides say of the same outcomes: the named classes and one for
all others, or every class where the rows say how their tail spreads. With all others as one it is
never above the dense loss of the rows that were stored, for merging outcomes only loses
differences; `decoupled_soft_targets`, which divides by what is left beside the label, may be, and
so may `alpha_beta` where its powers do not sum to 1.

None of them is linear in the teacher's probabilities, so drawn entries are refused: take
`rows.density`. With a `tail_shape` they look at every class, some rows at a time, and can be
differentiated once: beside the logits they hold one tensor of their shape, the gradient in float32
or better, and the backward pass allocates the one that it returns.
"""

from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from limbeck._shapes import check_leading_shape
from limbeck.losses._alpha_beta import alpha_beta
from limbeck.losses._by_blocks import by_blocks
from limbeck.losses._decoupled import decoupled_soft_targets
from limbeck.losses._divergences import (
    jensen_shannon,
    reverse_kl,
    skew_kl,
    skew_reverse_kl,
    total_variation,
)
from limbeck.losses._others import named_and_others
from limbeck.losses._rows import Reading, read_density
from limbeck.losses._soft_targets import at_least_float32
from limbeck.signals import Sparse


def sparse_reverse_kl(student_logits: Tensor, rows: Sparse) -> Tensor:
    """`reverse_kl` of what the rows say, at their temperature.

    Args:
        student_logits: Shape `(..., classes)`.
        rows: The teacher's, of the same leading shape. No gradient flows into them.

    Returns:
        One loss per row, in nats times T², shape `(...)`.

    Raises:
        OptionError: Entries were drawn, or the rows' temperature is not above 0.
        ShapeError: The shapes do not fit.
    """
    return _of_density(reverse_kl, student_logits, rows)


def sparse_jensen_shannon(
    student_logits: Tensor, rows: Sparse, *, teacher_share: float = 0.5
) -> Tensor:
    """`jensen_shannon` of what the rows say, at their temperature.

    Args:
        student_logits: Shape `(..., classes)`.
        rows: The teacher's, of the same leading shape. No gradient flows into them.
        teacher_share: Above 0 and below 1, as in `jensen_shannon`.

    Returns:
        One loss per row, in nats times T², shape `(...)`.

    Raises:
        OptionError: An option is out of its range, entries were drawn, or the rows' temperature is
            not above 0.
        ShapeError: The shapes do not fit.
    """
    loss = partial(jensen_shannon, teacher_share=teacher_share)
    return _of_density(loss, student_logits, rows)


def sparse_skew_kl(student_logits: Tensor, rows: Sparse, *, skew: float = 0.1) -> Tensor:
    """`skew_kl` of what the rows say, at their temperature.

    Args:
        student_logits: Shape `(..., classes)`.
        rows: The teacher's, of the same leading shape. No gradient flows into them.
        skew: From 0 to below 1, as in `skew_kl`.

    Returns:
        One loss per row, in nats times T², shape `(...)`.

    Raises:
        OptionError: An option is out of its range, entries were drawn, or the rows' temperature is
            not above 0.
        ShapeError: The shapes do not fit.
    """
    loss = partial(skew_kl, skew=skew)
    return _of_density(loss, student_logits, rows)


def sparse_skew_reverse_kl(student_logits: Tensor, rows: Sparse, *, skew: float = 0.1) -> Tensor:
    """`skew_reverse_kl` of what the rows say, at their temperature.

    Args:
        student_logits: Shape `(..., classes)`.
        rows: The teacher's, of the same leading shape. No gradient flows into them.
        skew: From 0 to below 1, as in `skew_reverse_kl`.

    Returns:
        One loss per row, in nats times T², shape `(...)`.

    Raises:
        OptionError: An option is out of its range, entries were drawn, or the rows' temperature is
            not above 0.
        ShapeError: The shapes do not fit.
    """
    loss = partial(skew_reverse_kl, skew=skew)
    return _of_density(loss, student_logits, rows)


def sparse_total_variation(student_logits: Tensor, rows: Sparse) -> Tensor:
    """`total_variation` of what the rows say, at their temperature.

    Args:
        student_logits: Shape `(..., classes)`.
        rows: The teacher's, of the same leading shape. No gradient flows into them.

    Returns:
        One loss per row, shape `(...)`.

    Raises:
        OptionError: Entries were drawn, or the rows' temperature is not above 0.
        ShapeError: The shapes do not fit.
    """
    return _of_density(total_variation, student_logits, rows)


def sparse_alpha_beta(
    student_logits: Tensor,
    rows: Sparse,
    *,
    teacher_power: float = 0.8,
    student_power: float = 0.3,
) -> Tensor:
    """`alpha_beta` of what the rows say, at their temperature.

    Args:
        student_logits: Shape `(..., classes)`.
        rows: The teacher's, of the same leading shape. No gradient flows into them.
        teacher_power: 0 or more, as in `alpha_beta`.
        student_power: 0 or more, as in `alpha_beta`.

    Returns:
        One loss per row, times T², shape `(...)`.

    Raises:
        OptionError: An option is out of its range, entries were drawn, or the rows' temperature is
            not above 0.
        ShapeError: The shapes do not fit.
    """
    loss = partial(alpha_beta, teacher_power=teacher_power, student_power=student_power)
    return _of_density(loss, student_logits, rows)


def sparse_decoupled_soft_targets(
    student_logits: Tensor,
    rows: Sparse,
    labels: Tensor,
    *,
    target_weight: float = 1.0,
    others_weight: float = 8.0,
) -> Tensor:
    """`decoupled_soft_targets` of what the rows say, at their temperature.

    A label that is not named is in the bucket of all others where the rows have no `tail_shape`:
    then the bucket stands in its place.

    Args:
        student_logits: Shape `(..., classes)`.
        rows: The teacher's, of the same leading shape. No gradient flows into them.
        labels: In 0..classes - 1, shape `(...)`, int64.
        target_weight: 0 or more, as in `decoupled_soft_targets`.
        others_weight: 0 or more, as in `decoupled_soft_targets`.

    Returns:
        One loss per row, in nats times T², shape `(...)`.

    Raises:
        OptionError: Entries were drawn, or the rows' temperature is not above 0.
        ShapeError: The shapes do not fit.
    """
    check_leading_shape(last="classes", student_logits=student_logits, labels=labels)
    loss = partial(
        decoupled_soft_targets,
        target_weight=target_weight,
        others_weight=others_weight,
        temperature=1.0,
    )
    if rows.tail_shape is None:
        named = (rows.ids == labels[..., None]) & (rows.probabilities > 0)  # (..., kept)
        # The last outcome, all others, where none is the label's.
        labels = F.pad(named.int(), (0, 1), value=1).argmax(dim=-1)
    return _of_density(loss, student_logits, rows, labels)


def _of_density(
    loss: Callable[..., Tensor], student_logits: Tensor, rows: Sparse, *labels: Tensor
) -> Tensor:
    """T² times a dense loss, at T = 1, of what both sides say of the same outcomes.

    Args:
        loss: From logits and log-probabilities, `(..., outcomes)`, and labels.
        student_logits: `(..., classes)`.
        rows: The teacher's.
        labels: `(...)` outcomes, for a loss of labels.
    """
    said = read_density(student_logits, rows)
    spread, temperature = said.spread, rows.temperature
    if spread is None:
        student, teacher = _outcomes(student_logits, rows, said)
        return temperature**2 * loss(student, teacher, *labels)

    def of_every_class(
        logits: Tensor, ids: Tensor, named: Tensor, of_tail: Tensor, *labels: Tensor
    ) -> Tensor:
        every = of_tail[:, None] + spread.log_weights.to(of_tail.dtype)
        # Padding is named one class after the last.
        every = F.pad(every, (0, 1)).scatter_(-1, ids, named.log())[:, :-1]
        return loss(at_least_float32(logits) / temperature, every, *labels)

    of_tail = said.tail.log() - spread.share.log().to(said.tail.dtype)  # (...)
    values = by_blocks(of_every_class, student_logits, said.ids, said.named, of_tail, *labels)
    return temperature**2 * values


def _outcomes(student_logits: Tensor, rows: Sparse, said: Reading) -> tuple[Tensor, Tensor]:
    """The student's logits at T, and the teacher's log-probabilities, `(..., kept + 1)` each.

    They are of the named classes, and of all others as one.
    """
    student, _ = named_and_others(student_logits, said.ids, None, temperature=rows.temperature)
    # A tail that was stored as 0 is none to a student that excludes all other classes as well.
    none = (student.detach()[..., -1] == -torch.inf) & (rows.tail == 0)
    tail = said.tail.masked_fill(none, 0.0)
    return student, torch.cat([said.named, tail[..., None]], dim=-1).log()
