r"""Soft targets of which only some classes are named; the tail closes the balance.

The classes that are not named are one bucket of exact mass, the "ghost token" of stored top-k
targets. Between these coarser distributions the KL divergence is a true one: never negative, 0 at
equality, and at most the dense one, for it says nothing of what is inside the bucket. Renormalising
the named classes instead would teach that all others are impossible.

Where the rows say how their tail spreads, the chain rule adds what is inside the bucket, and the
loss is exactly the dense one: KL(p || q) = KL(coarse) + p_R KL(p / p_R || q / q_R inside R).
"""

import torch
from torch import Tensor

from limbeck.losses._others import named_and_others
from limbeck.losses._rows import Reading, read
from limbeck.signals import Sparse


def sparse_soft_targets(student_logits: Tensor, rows: Sparse) -> Tensor:
    r"""KL divergence from what the rows say to the student, at the rows' temperature.

    With $p_i$ and $q_i$ the teacher's and the student's softened probabilities, $S$ the named
    classes and $p_R, q_R$ the mass of the others: $T^2 (\sum_{i \in S} p_i \log(p_i / q_i) +
    p_R \log(p_R / q_R))$, plus what differs among the others where the rows have a `tail_shape`.
    With one, or where every class is named, it equals `soft_targets` of the same distribution;
    else it is at most that.

    Drawn entries may be read as they are, for the gradient is linear in $p$. Their sum $m$ is 1 on
    average only, so this is the generalised divergence, $\sum p \log(p / q) - m + 1$, tail
    included: never negative, with the gradient $m q - p$.

    Holds one tensor of the logits' size, their gradient; can be differentiated once.

    Args:
        student_logits: $s$, shape `(..., classes)`.
        rows: The teacher's, of the same leading shape. No gradient flows into them.

    Returns:
        One loss per row, in nats times $T^2$, shape `(...)`.

    Raises:
        OptionError: The rows' temperature is not above 0.
        ShapeError: The shapes do not fit.

    Example:
        >>> ids, probabilities = torch.tensor([[2]]), torch.tensor([[0.5]])
        >>> rows = Sparse(ids=ids, probabilities=probabilities, tail=torch.tensor([0.5]))
        >>> sparse_soft_targets(torch.tensor([[0.1, 0.4, 0.5]]).log(), rows)
        tensor([0.])
    """
    said = read(student_logits, rows)
    log_student, inside = _student(student_logits, said, rows.temperature)
    teacher = torch.cat([said.named, said.tail[..., None]], dim=-1)  # (..., kept + 1)
    gap = teacher.clamp_min(torch.finfo(teacher.dtype).tiny).log() - log_student
    coarse = (teacher * gap.masked_fill(teacher == 0, 0.0)).sum(dim=-1)
    if said.spread is not None:
        inside = inside - said.tail * said.spread.entropy.to(inside.dtype)
    return rows.temperature**2 * (coarse - teacher.sum(dim=-1) + 1 + inside)


def sparse_soft_cross_entropy(student_logits: Tensor, rows: Sparse) -> Tensor:
    r"""Cross-entropy of the student under what the rows say, at the rows' temperature.

    $-T^2 (\sum_{i \in S} p_i \log q_i + p_R \log q_R)$, plus that among the others where the rows
    have a `tail_shape`: then it equals `soft_cross_entropy` of the same distribution. Its gradient
    is that of `sparse_soft_targets`.

    Args:
        student_logits: $s$, shape `(..., classes)`.
        rows: The teacher's, of the same leading shape; drawn entries may be read as they are. No
            gradient flows into them.

    Returns:
        One loss per row, in nats times $T^2$, shape `(...)`.

    Raises:
        OptionError: The rows' temperature is not above 0.
        ShapeError: The shapes do not fit.
    """
    said = read(student_logits, rows)
    log_student, inside = _student(student_logits, said, rows.temperature)
    teacher = torch.cat([said.named, said.tail[..., None]], dim=-1)  # (..., kept + 1)
    coarse = (teacher * log_student.masked_fill(teacher == 0, 0.0)).sum(dim=-1)
    return rows.temperature**2 * (inside - coarse)


def _student(student_logits: Tensor, said: Reading, temperature: float) -> tuple[Tensor, Tensor]:
    """The student's log-probabilities, and its cross-entropy among the others, times the tail.

    Returns:
        `(..., kept + 1)`: of the named classes and of all others; and `(...)`.
    """
    spread = said.spread
    # Without a tail there is nothing to look at: as a rule where entries were drawn.
    looks = spread is not None and bool((said.tail > 0).any())
    weights = spread.log_weights.exp() if spread is not None and looks else None
    coarse, weighted = named_and_others(student_logits, said.ids, weights, temperature=temperature)
    log_student = torch.log_softmax(coarse, dim=-1)
    if spread is None:
        return log_student, weighted
    inside = coarse[..., -1] - weighted / spread.share.to(weighted.dtype)
    return log_student, said.tail * inside.masked_fill(said.tail == 0, 0.0)
